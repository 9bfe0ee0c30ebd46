"""Compare the default engine of `sf.fit_bayes` with No-U-Turn sampling, series by series.

    python scripts/bayes_vs_nuts.py FILE [FILE ...] --draws 20000

Prints, for the limit, alpha and the forecast at three times the data: the difference of the medians
in posterior standard deviations, and where the default engine's 5% and 95% points lie in NUTS's
distribution (0.05 and 0.95 are exact). Then the checks and the CPU time of both.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd

import sparsefit as sf
from sparsefit.bayes.result import BayesFit


def quantities(fit: BayesFit) -> dict[str, np.ndarray]:
    draws = fit.averaged.draws
    return {
        "limit": draws.limit,
        "alpha": draws.shape[:, 0],
        "forecast x3": draws.curve(fit.law, np.array([3.0 * draws.span[1]]))[:, 0],
    }


def compare(table: pd.DataFrame, draws: int, seed: int) -> list[dict[str, object]]:
    found, seconds = {}, {}
    for engine, size in (("importance", 4000), ("nuts", draws)):
        start = time.process_time()
        found[engine] = sf.fit_bayes(table, engine=engine, rng=seed, draws=size)
        seconds[engine] = time.process_time() - start
    ours, theirs = quantities(found["importance"]), quantities(found["nuts"])
    checks, reference = (found[e].posterior.sampling for e in ("importance", "nuts"))
    rows = []
    for name, values in ours.items():
        nuts = theirs[name]
        low, high = np.quantile(values, [0.05, 0.95])
        rows.append(
            {
                "run": found["nuts"].run,
                "quantity": name,
                "median_shift_sd": (np.median(values) - np.median(nuts)) / nuts.std(),
                "nuts_at_5": np.mean(nuts < low),
                "nuts_at_95": np.mean(nuts < high),
                "khat": checks.khat,
                "ess": checks.ess,
                "cpu": seconds["importance"],
                "nuts_rhat": reference.rhat,
                "nuts_ess": reference.ess,
                "divergences": reference.divergences,
                "nuts_cpu": seconds["nuts"],
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="measurement tables or the authors' JSON files")
    parser.add_argument("--draws", type=int, default=20000, help="NUTS draws over four chains")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="CSV file to write")
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    for file in arguments.files:
        table = sf.read_table(file)
        for _, part in table.groupby("run", sort=False):
            new = compare(part, arguments.draws, arguments.seed)
            rows.extend(new)
            print(
                pd.DataFrame(new).to_string(index=False, float_format="{:.3f}".format), flush=True
            )
    table = pd.DataFrame(rows)
    if arguments.out:
        table.to_csv(arguments.out, index=False)
    inside = (
        (table["median_shift_sd"].abs() <= 0.15)
        & table["nuts_at_5"].between(0.035, 0.065)
        & table["nuts_at_95"].between(0.935, 0.965)
    )
    print(f"{inside.sum()} of {len(table)} comparisons within .15 sd and .015 of the tails")


if __name__ == "__main__":
    main()
