"""Mean scores of forecasts: within a cell, then over a run's cuts, then over runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.backtesting.aggregate import cluster_interval

if TYPE_CHECKING:
    import pandas as pd

# Columns of `Backtest.points` that are averaged, by the name that tables give them.
SCORES = {
    "mae": "abs_error",
    "crps": "crps",
    "winkler90": "winkler90",
    "covered50": "covered50",
    "covered90": "covered90",
    "width50": "width50",
    "width90": "width90",
}
_WITH_INTERVAL = ("covered50", "covered90")


def series_means(points: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Mean within a cell, then over a run's cuts: one row a run."""
    numeric = points[["run", "cut", *names]].astype(dict.fromkeys(names, float))
    cells = numeric.groupby(["run", "cut"], sort=False)[list(names)].mean()
    return cells.groupby(level="run", sort=False).mean()


def mean_scores(points: pd.DataFrame, level: float, seed: int) -> dict[str, Any]:
    """Means of the scores of some points, those of coverages with their intervals."""
    series = series_means(points, list(SCORES.values()))
    row: dict[str, Any] = {"n_series": len(series), "n_points": len(points)}
    for name, column in SCORES.items():
        values = series[column].to_numpy()
        row[name] = _mean(values)
        if name in _WITH_INTERVAL:
            row |= _ends(name, values, level, [seed, 3])
    return row


def mean_budget(budgets: pd.DataFrame, level: float, seed: int) -> dict[str, float]:
    """Share of budgets whose interval holds the true crossing, with the share's interval."""
    values = series_means(budgets, ["covered"])["covered"].to_numpy()
    return {"budget90": _mean(values), **_ends("budget90", values, level, [seed, 4])}


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")


def _ends(name: str, values: np.ndarray, level: float, seed: list[int]) -> dict[str, float]:
    lower, upper = cluster_interval(values, np.random.default_rng(seed), level)
    return {f"{name}_lower": lower, f"{name}_upper": upper}
