"""How near estimates of the limit come to the truth, on the strata of `simulate_coverage.py`.

    python scripts/limit_estimates.py --runs 60

Prints the mean absolute error, in percentage points, of the median that `Fit.limit` reports and of
the least-squares limit in `Fit.params`, by stratum.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd
from simulate_coverage import STRATA, Stratum, simulate

from sparsefit import laws
from sparsefit.estimation.points import Points
from sparsefit.fitting import RunData, fit_run


def errors(stratum: Stratum, seed: int) -> tuple[float, float]:
    """Error of the median and of the least-squares limit of one simulated run, fractions."""
    run = simulate(stratum, np.random.default_rng([seed, STRATA.index(stratum)]))
    frame = pd.DataFrame({"run": "simulated", "tokens": run.d * 1e9, "activation_ratio": run.y})
    data = RunData("simulated", frame, Points(run.d, run.y), None, None)
    law = laws.get(stratum.law)
    fit = fit_run(data, law, "auto", "activation_ratio", False, seed, size=1000)
    estimates = np.array([fit.limit().estimate, fit.params.iloc[-1]])
    median, least_squares = np.abs(estimates - stratum.limit)
    return float(median), float(least_squares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=60, help="runs a stratum (default 60)")
    parser.add_argument("--seed", type=int, default=30_000, help="seed of the first run")
    parser.add_argument("--only", nargs="+", metavar="STRATUM", help="these strata")
    args = parser.parse_args()
    chosen = [s for s in STRATA if args.only is None or s.name in args.only]
    print("| stratum | median | least squares |\n|---|---|---|")
    rows = []
    for stratum in chosen:
        seeds = range(args.seed, args.seed + args.runs)
        rows.append(np.mean([errors(stratum, seed) for seed in seeds], axis=0))
        title = f"**{stratum.name}**" if stratum.identified else stratum.name
        print(f"| {title} | {100 * rows[-1][0]:.3f} | {100 * rows[-1][1]:.3f} |", flush=True)
    ratios = np.array([row[0] / row[1] for row in rows])
    print(f"\nmedian over least squares: geometric mean {np.exp(np.log(ratios).mean()):.2f}")


if __name__ == "__main__":
    main()
