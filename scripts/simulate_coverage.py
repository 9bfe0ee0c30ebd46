"""Coverage of the intervals of `sf.fit` on simulated runs.

    python scripts/simulate_coverage.py --runs 400 --out coverage.json
    python scripts/simulate_coverage.py --read coverage.json --page docs/calibration.md

The strata are declared below, before anything is run. Each simulates runs from a known law with
known noise, fits them with the defaults and counts how often 90% intervals contain the truth: the
limit, the curve (within the data, at its end, and at 1.5 and 3 times the tokens seen), new
measurements there (with the residuals continued), the budget of a target met at twice the tokens
seen, and the budget of a target beyond the limit, whose true value is infinite.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sparsefit import laws
from sparsefit.estimation.points import Points
from sparsefit.fitting import RunData, fit_run


@dataclass(frozen=True)
class Stratum:
    """One kind of simulated run; fractions and billions of tokens.

    `kappa` is the number of e-foldings of Eq. 4's excess within the data, `drop` the excess at the
    first point, `ratio` the last D over the first, `warmup` the number of early points that are
    displaced by a share of the drop that fades linearly. `departure` is the share of the drop by
    which the first point lies above the law; .4 of it is left at each further checkpoint.
    Checkpoints are evenly spaced in `spacing` (tokens, log tokens); `rho` is the residuals'
    correlation over one `memory` (a checkpoint, or a median gap in tokens).
    """

    name: str
    law: str = "logspace_power"
    limit: float = 0.07
    drop: float = 0.04
    alpha: float = 0.5
    kappa: float = 2.5
    points: int = 30
    ratio: float = 30.0
    noise: float = 0.0005
    rho: float = 0.0
    spread: float = 0.0
    warmup: int = 0
    departure: float = 0.0
    identified: bool = True
    spacing: str = "tokens"
    memory: str = "checkpoints"


_RELU = Stratum("relu")
_SILU = Stratum("silu", law="vanilla_power", limit=0.39, drop=0.08, alpha=0.7, noise=0.001)
_RELU_LOG = replace(_RELU, spacing="log")
_SILU_LOG = replace(_SILU, spacing="log")
STRATA = (
    replace(_RELU, name="relu base"),
    replace(_RELU, name="relu limit near zero", limit=0.005, drop=0.1, kappa=1.5, identified=False),
    replace(_RELU, name="relu limit far", limit=0.04, drop=0.07, kappa=0.8, identified=False),
    replace(_RELU, name="relu fast", alpha=1.2, kappa=4.0),
    replace(_RELU, name="relu power law edge", alpha=0.03, kappa=1.5),
    replace(_RELU, name="relu noisy", noise=0.002, identified=False),
    replace(_RELU, name="relu quiet", noise=0.0001),
    replace(_RELU, name="relu autocorrelated", rho=0.6),
    replace(_RELU, name="relu spread falls", spread=0.7),
    replace(_RELU, name="relu both", rho=0.5, spread=0.5),
    replace(_RELU, name="relu warm-up", warmup=4),
    replace(_RELU, name="relu few points", points=12),
    replace(_RELU, name="relu short run", points=15, ratio=8.0, kappa=1.2, identified=False),
    replace(_SILU, name="silu base"),
    replace(_SILU, name="silu slow", limit=0.45, drop=0.12, alpha=0.2),
    replace(_SILU, name="silu noisy", noise=0.004),
    replace(_SILU, name="silu autocorrelated", rho=0.6),
    replace(_SILU, name="silu spread falls", spread=0.7),
    replace(_SILU, name="silu warm-up", warmup=4),
    replace(_SILU, name="silu short run", points=12, ratio=8.0),
    replace(_RELU_LOG, name="relu log"),
    replace(_RELU_LOG, name="relu log autocorrelated", rho=0.6),
    replace(_RELU_LOG, name="relu log in tokens", rho=0.6, memory="tokens"),
    replace(_RELU_LOG, name="relu log wide", rho=0.6, ratio=100.0, points=40),
    replace(_RELU_LOG, name="relu log fast", rho=0.6, ratio=100.0, alpha=1.2, kappa=4.0),
    replace(_RELU_LOG, name="relu log warm-up", warmup=4),
    replace(_SILU_LOG, name="silu log"),
    replace(_SILU_LOG, name="silu log autocorrelated", rho=0.6),
    replace(_SILU_LOG, name="silu log in tokens", rho=0.6, memory="tokens"),
    replace(_SILU_LOG, name="silu log wide", rho=0.6, ratio=100.0, points=40),
    replace(_SILU_LOG, name="silu log warm-up", warmup=4),
    replace(_RELU, name="relu six points", points=6, identified=False),
    replace(_SILU, name="silu six points", points=6),
    replace(_RELU, name="relu correlation .8", rho=0.8),
    replace(_SILU, name="silu correlation .8", rho=0.8),
    replace(_RELU, name="relu fading start", departure=-0.3),
    replace(_SILU, name="silu fading start", departure=0.5, alpha=1.0),
    replace(_RELU, name="relu limit zero", limit=0.0, drop=0.1, kappa=1.5, identified=False),
    replace(_RELU, name="relu limit .002", limit=0.002, drop=0.1, kappa=1.5, identified=False),
)
HORIZONS = (1.1, 1.5, 3.0)


@dataclass(frozen=True)
class Simulated:
    """A simulated run with its future."""

    d: np.ndarray
    y: np.ndarray
    future: np.ndarray
    new: np.ndarray
    theta: np.ndarray


def simulate(stratum: Stratum, rng: np.random.Generator) -> Simulated:
    """Simulate one run, its residuals continued at the horizons."""
    law = laws.get(stratum.law)
    log = stratum.spacing == "log"
    d = (np.geomspace if log else np.linspace)(1.0, stratum.ratio, stratum.points)
    span = (float(d[0]), float(d[-1]))
    shape = [stratum.alpha, stratum.kappa][: law.n_shape]
    theta = law.to_theta(np.array(shape), stratum.drop, stratum.limit, span)
    future = d[-1] * np.array(HORIZONS)
    everywhere = np.concatenate([d, future])
    if log and stratum.memory == "checkpoints":
        gap = np.diff(np.log(everywhere)) / np.log(d[1] / d[0])
    else:
        gap = np.diff(everywhere) / np.median(np.diff(d))
    shock = rng.standard_normal(everywhere.size)
    residual = shock.copy()
    for i in range(1, everywhere.size):
        carry = stratum.rho ** gap[i - 1] if stratum.rho else 0.0
        residual[i] = carry * residual[i - 1] + np.sqrt(1 - carry**2) * shock[i]
    scale = stratum.noise * (everywhere / d[-1]) ** -stratum.spread
    y = law.value(everywhere, theta) + residual * scale
    if stratum.warmup:
        fade = 1.0 - np.arange(stratum.warmup) / stratum.warmup
        size = 0.3 if law.sign > 0 else 0.18
        y[: stratum.warmup] -= size * stratum.drop * fade
    y[: d.size] += stratum.departure * stratum.drop * 0.4 ** np.arange(d.size)
    n = d.size
    return Simulated(d, y[:n], future, y[n:], theta)


def one_run(stratum: Stratum, seed: int) -> dict[str, float]:
    """Simulate and fit one run; which intervals contain the truth."""
    law = laws.get(stratum.law)
    run = simulate(stratum, np.random.default_rng([seed, STRATA.index(stratum)]))
    data = RunData(
        "simulated",
        pd.DataFrame({"run": "simulated", "tokens": run.d * 1e9, "activation_ratio": run.y}),
        Points(run.d, run.y),
        None,
        None,
    )
    started = time.process_time()
    fit = fit_run(data, law, "auto", "activation_ratio", False, seed, size=1000)
    limit = fit.limit()
    seconds = time.process_time() - started
    inside = np.concatenate([[run.d[run.d.size // 2], run.d[-1]], run.future])
    band = fit.forecast(inside * 1e9)
    truth = law.value(inside, run.theta)
    covered = (band["curve_lower"] <= truth) & (truth <= band["curve_upper"])
    new = (band["obs_lower"][2:] <= run.new) & (run.new <= band["obs_upper"][2:])
    target = float(law.value([2 * run.d[-1]], run.theta)[0])
    budget = fit.tokens_to(activation_ratio=target)
    beyond = stratum.limit - law.sign * 0.02 * stratum.drop
    # Below a limit of zero there is nothing to ask for.
    never = (
        {"budget never": bool(np.isinf(fit.tokens_to(activation_ratio=beyond).upper))}
        if beyond > 0
        else {}
    )
    return {
        "limit": limit.lower <= stratum.limit <= limit.upper,
        "curve middle": bool(covered[0]),
        "curve end": bool(covered[1]),
        "curve 1.5x": bool(covered[3]),
        "curve 3x": bool(covered[4]),
        "new 1.1x": bool(new.iloc[0]),
        "new 1.5x": bool(new.iloc[1]),
        "new 3x": bool(new.iloc[2]),
        "budget": budget.lower <= 2e9 * run.d[-1] <= budget.upper,
        **never,
        "identified": limit.identified == "yes",
        "limit width": limit.upper - limit.lower,
        "warm-up dropped": fit.n_warmup,
        "notes": int(fit.misfit),
        "cpu s": seconds,
    }


def run_stratum(stratum: Stratum, runs: int, seed: int, jobs: int) -> dict[str, float]:
    """Mean of each entry of `one_run` over simulated runs."""
    seeds = range(seed, seed + runs)
    if jobs > 1:
        with ProcessPoolExecutor(jobs) as pool:
            rows = list(pool.map(one_run, [stratum] * runs, seeds, chunksize=8))
    else:
        rows = [one_run(stratum, s) for s in seeds]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


SHOWN = (
    "limit",
    "curve middle",
    "curve end",
    "curve 1.5x",
    "curve 3x",
    "new 1.5x",
    "budget",
    "budget never",
    "identified",
    "limit width",
)
BEGIN, END = "<!-- table: scripts/simulate_coverage.py -->", "<!-- end of table -->"


def markdown(document: dict[str, Any]) -> str:
    """The table of docs/calibration.md; strata whose limit is identified by design in bold."""
    lines = ["| stratum | " + " | ".join(SHOWN) + " |", "|---" * (len(SHOWN) + 1) + "|"]
    for name, found in document["strata"].items():
        title = f"**{name}**" if found["identified by design"] else name
        digits = [4 if column == "limit width" else 3 for column in SHOWN]
        cells = [
            f"{found[column]:.{n}f}" if column in found else ""
            for column, n in zip(SHOWN, digits, strict=True)
        ]
        lines.append("| " + " | ".join([title, *cells]) + " |")
    return "\n".join(lines)


def update(page: Path, document: dict[str, Any]) -> None:
    """Replace the table between the two markers of a page."""
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    table = f"{before}{BEGIN}\n\n{markdown(document)}\n\n{END}{after}"
    page.write_text(table, encoding="utf-8")


def main() -> int:
    """Run the strata and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400, help="simulated runs a stratum")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="names of strata")
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--read", type=Path, help="figures of an earlier run, nothing is simulated")
    parser.add_argument("--page", type=Path, help="page whose table is replaced")
    arguments = parser.parse_args()
    if arguments.read:
        document = json.loads(arguments.read.read_text(encoding="utf-8"))
        print(markdown(document))
        if arguments.page:
            update(arguments.page, document)
        return 0
    results: dict[str, dict[str, Any]] = {}
    document = {"runs": arguments.runs, "seed": arguments.seed, "strata": results}
    for stratum in STRATA:
        if arguments.only and stratum.name not in arguments.only:
            continue
        found = run_stratum(stratum, arguments.runs, arguments.seed, arguments.jobs)
        results[stratum.name] = {"identified by design": stratum.identified, **found}
        if len(results) == 1:
            names = list(found)
            print(f"{'stratum':<22}" + "".join(f"{name:>13}" for name in names))
        figures = "".join(f"{found.get(name, np.nan):>13.3f}" for name in names)
        print(f"{stratum.name:<22}{figures}", flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(document, indent=1) + "\n")
    if arguments.page:
        update(arguments.page, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
