"""Processor time of `sf.fit_bayes`, each engine in a fresh process, and of further fits in it.

Goals: default engine at most 2 CPU s in a fresh process beyond imports and .3 CPU s a further fit;
``engine="nuts"`` under 20 CPU s in a fresh process, imports and compiling included. Times are those
of a busy machine if it is busy: the smallest of several repeats counts.

    python benchmarks/bayes_cost.py --repeats 3 --nuts
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys

# What the fit itself imports counts as imports, which is why the imports are listed here.
_CODE = """
import json, sys, time
import numpy, pandas, scipy.linalg, scipy.optimize, scipy.special, scipy.stats, lmfit
import sparsefit as sf
sf.fit_bayes, sf.datasets
table = sf.datasets.load("reference_scales")
engine = sys.argv[1]
imports = time.process_time()
out = []
for run in ("0.11m_relu_s0", "0.06m_relu_s0", "0.06m_silu_s0", "0.11m_silu_s0"):
    part = table[table["run"] == run]
    start = time.process_time()
    fit = sf.fit_bayes(part, engine=engine, draws=4000)
    sampling = fit.posterior.sampling
    out.append({"run": run, "cpu_s": time.process_time() - start, "ess": sampling.ess,
                "khat": sampling.khat, "rhat": sampling.rhat, "divergences": sampling.divergences})
    if engine == "nuts" and len(out) == 2:
        break
print(json.dumps({"imports_cpu_s": imports, "fits": out, "total_cpu_s": time.process_time()}))
"""


def process(engine: str) -> dict[str, object]:
    """Times of one fresh process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _CODE, engine],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--nuts", action="store_true", help="also time engine='nuts', once")
    arguments = parser.parse_args()
    found = [process("importance") for _ in range(arguments.repeats)]
    fits = [run["fits"] for run in found]
    first = min(float(run[0]["cpu_s"]) for run in fits)  # type: ignore[index]
    later = {
        rows[0]["run"]: min(float(row["cpu_s"]) for row in rows)
        for rows in zip(*(run[1:] for run in fits), strict=True)  # type: ignore[index]
    }
    ess = min(float(row["ess"]) for run in fits for row in run)  # type: ignore[attr-defined]
    report: dict[str, object] = {
        "fresh_process_beyond_imports_cpu_s": round(first, 3),
        "further_fits_cpu_s": {name: round(value, 3) for name, value in later.items()},
        "smallest_ess": round(ess),
        "met": first < 2.0 and max(later.values()) <= 0.3 and ess >= 2000,
    }
    if arguments.nuts:
        report["nuts"] = process("nuts")
    print(json.dumps(report, indent=1))
    return 0 if report["met"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
