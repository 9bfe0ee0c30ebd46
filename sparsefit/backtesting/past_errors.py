"""Errors of stacked forecasts in a backtest inside the user's runs, as `correction` takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.backtesting import correction
from sparsefit.backtesting.correction import Errors
from sparsefit.backtesting.seen import rises
from sparsefit.backtesting.stacking import mix
from sparsefit.table import usable_rows

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting.result import Backtest

# A method below this weight takes no part, and need not run.
NEGLIGIBLE = 0.01


def kind_of(rows: pd.DataFrame) -> str:
    """Runs of one kind can speak for each other: the activation, else the way that they move."""
    named = rows["activation"].dropna().tolist() if "activation" in rows else []
    if named:
        return str(named[0]).lower()
    plain = rows.copy()
    plain.attrs = {}
    return "rising" if rises(plain) else "falling"


def stacked_errors(inner: Backtest, weights: pd.Series, table: pd.DataFrame) -> tuple[Errors, ...]:
    """Standardised errors of the stacked forecasts of a backtest, by run."""
    used = [name for name in inner.methods if weights[name] > NEGLIGIBLE]
    share = weights[used].to_numpy() / weights[used].sum()
    points = inner.points[inner.points["method"] == used[0]]
    found = []
    for run, of_run in points.groupby("run", sort=False):
        horizon, z, relative, covered = [], [], [], []
        whole = table[(table["run"] == run) & usable_rows(table)]
        of_cut: Any = of_run.groupby("cut", sort=False)
        for cut, rows in of_cut:
            samples = [inner.samples[name, str(run), float(cut)] for name in used]
            sample = mix(samples, share, 1000, np.random.default_rng(0))
            observed = rows["observed"].to_numpy()
            low, high = np.quantile(sample, [0.05, 0.95], axis=0)
            horizon.append(rows["horizon"].to_numpy())
            z.append(correction.standardised(sample, observed))
            before = whole.loc[whole["tokens"] < rows["tokens"].min(), "activation_ratio"]
            seen_range = max(float(np.ptp(before.to_numpy())), 1e-12)
            relative.append((observed - np.median(sample, axis=0)) / seen_range)
            covered.append((low <= observed) & (observed <= high))
        parts = (np.concatenate(part) for part in (horizon, z, relative, covered))
        found.append(Errors(str(run), kind_of(whole), *parts))
    return tuple(found)
