"""Pooling and calibration by other runs on simulated families of runs over scales.

    python scripts/backtest_families.py --methods fit_bayes fit_bayes_pooled fit best --families 6

A family is three runs of rising size that share a trend, scatter about it and share what their
residuals look like (`sparsefit.backtesting.simulate_scales`). For each departure from the law,
`--families` families are drawn, half falling (Eq. 4), half rising (Eq. 5). Methods see smaller runs
in full. Errors are in percent of the range of each run, so that no family outweighs the others.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

import sparsefit as sf
from sparsefit.backtesting.rolling import BUCKETS
from sparsefit.backtesting.simulate_scales import DEPARTURES, draw_family, simulate_family
from sparsefit.backtesting.text import align, number

SIZES = (1e8, 3e8, 9e8)


def family(departure: str, index: int, seed: int) -> pd.DataFrame:
    """One family as a table, the same for the same arguments."""
    rng = np.random.default_rng([seed, DEPARTURES.index(departure), index])
    shared = draw_family(bool(index % 2), departure, rng)
    return simulate_family(shared, f"{departure}{index}", rng, SIZES)


def scored(table: pd.DataFrame, methods: list[str], jobs: int) -> pd.DataFrame:
    """Scores of every forecast point, errors over the range of their run."""
    points = sf.backtest(table, methods, jobs=jobs).points
    ratios = table.groupby("run")["activation_ratio"]
    span = points["run"].map(ratios.max() - ratios.min())
    # Scores are in percentage points; these are in percent of the range.
    for name in ("abs_error", "crps", "width90"):
        points[name] = points[name] / span
    return points


def means(points: pd.DataFrame, by: str) -> pd.DataFrame:
    """Mean over points of a cell, then over cells."""
    names = ["abs_error", "crps", "covered90", "width90"]
    numeric = points.astype({"covered90": float})
    keys = list(dict.fromkeys([by, "method", "run", "cut"]))
    cells = numeric.groupby(keys, sort=False)[names].mean().reset_index()
    return cells.groupby([by, "method"], sort=False)[names].mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["fit_bayes", "fit_bayes_pooled"])
    parser.add_argument("--departures", nargs="+", default=list(DEPARTURES), choices=DEPARTURES)
    parser.add_argument("--families", type=int, default=6, help="families a departure")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    arguments = parser.parse_args()
    parts = []
    for departure in arguments.departures:
        for index in range(arguments.families):
            table = family(departure, index, arguments.seed)
            found = scored(table, arguments.methods, arguments.jobs)
            smallest = table["run"].iloc[0]
            found["runs"] = np.where(found["run"] == smallest, "no smaller run", "smaller runs")
            parts.append(found.assign(departure=departure))
        print(f"{departure}: done", flush=True)
    points = pd.concat(parts, ignore_index=True)
    points["kind"] = np.where(points["departure"] == "none", "on the law", "off the law")
    for by in ("departure", "kind", "runs", "cut"):
        table = means(points, by).reset_index()
        header = [by, "method", "error", "CRPS", "cover 90%", "width 90%", *BUCKETS]
        cover = points.groupby([by, "method", "bucket"])["covered90"].mean()
        rows = []
        for _, row in table.iterrows():
            buckets = [
                number(cover.get((row[by], row["method"], bucket), np.nan), 2) for bucket in BUCKETS
            ]
            scores = [number(row[name], 2) for name in ("abs_error", "crps")]
            cells = [number(row["covered90"], 2), number(row["width90"], 1)]
            rows.append([str(row[by]), row["method"], *scores, *cells, *buckets])
        print("\n".join(["", *align(header, rows)]))


if __name__ == "__main__":
    main()
