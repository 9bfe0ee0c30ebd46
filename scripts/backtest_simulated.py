"""Coverage and error of forecasting methods on simulated runs, stratum by stratum.

    python scripts/backtest_simulated.py --methods fit lm_multistart --runs 40

The strata (`sparsefit.backtesting.simulate.STRATA`) vary one thing each: law, autocorrelation, a
spread that falls with D, warm-up, how far the run has gone towards its limit, noise.
"""

from __future__ import annotations

import argparse

import numpy as np

import sparsefit as sf
from sparsefit.backtesting.simulate import STRATA, simulate_runs
from sparsefit.backtesting.text import align, number, with_range


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["log_linear", "lm_multistart"])
    parser.add_argument("--cuts", nargs="+", type=float, default=[0.3, 0.5, 0.7])
    parser.add_argument("--runs", type=int, default=40, help="runs a stratum")
    parser.add_argument("--only", default="", help="strata whose name contains this")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    header = ["stratum", "method", "MAE", "CRPS", "cover 50%", "cover 90%", "cover 90% >2.2"]
    header += ["budget 90%", "failed"]
    rows = []
    for index, stratum in enumerate(STRATA):
        if arguments.only not in stratum.name:
            continue
        table = simulate_runs(
            stratum, arguments.runs, rng=np.random.default_rng([arguments.seed, index])
        )
        result = sf.backtest(
            table, arguments.methods, arguments.cuts, rng=arguments.seed, jobs=arguments.jobs
        )
        far = result.table("bucket").query("bucket == '>2.2'").set_index("method")
        for _, row in result.table().iterrows():
            rows.append(
                [
                    stratum.name,
                    row["method"],
                    number(row["mae"]),
                    number(row["crps"]),
                    *(with_range(row, name) for name in ("covered50", "covered90")),
                    # Few runs or late cuts may leave nothing that far ahead.
                    with_range(far.loc[row["method"]], "covered90")
                    if row["method"] in far.index
                    else "-",
                    with_range(row, "budget90"),
                    str(row["failed"]),
                ]
            )
        print(f"{stratum.name}: done", flush=True)
    print("\n".join(align(header, rows)))


if __name__ == "__main__":
    main()
