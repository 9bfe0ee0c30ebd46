"""What is said about one run of a stacked forecast, on the command line and in a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.backtesting.outlook import REACH

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting.stacked import BestForecast
    from sparsefit.results.estimates import Budget

NO_LIMIT = "No limits: methods without a law take part."
"""Said beside every stacked forecast."""


@dataclass(frozen=True)
class RunForecast:
    """The stacked forecast of one run.

    Attributes
    ----------
    run : str
        The run.
    points : DataFrame
        Points used, by tokens.
    table : DataFrame
        Columns of `Fit.forecast`.
    budgets : tuple of Budget
        One for each target.
    notes : tuple of str
        What its methods note.
    fallback : str or None
        Methods that had to be replaced, and why.
    """

    run: str
    points: pd.DataFrame
    table: pd.DataFrame
    budgets: tuple[Budget, ...]
    notes: tuple[str, ...]
    fallback: str | None

    @property
    def seen(self) -> float:
        """Tokens of the last point."""
        return float(self.points["tokens"].iloc[-1])


def points_used(best: BestForecast, run: str) -> pd.DataFrame:
    """Points of a run that take part, by tokens."""
    points = best.points_table()
    return points[(points["run"] == run) & (points["role"] == "used")].sort_values("tokens")


def run_forecast(
    best: BestForecast,
    run: str,
    points: pd.DataFrame,
    tokens: Iterable[float],
    targets: Iterable[tuple[str, float]] = (),
    level: float = 0.9,
) -> RunForecast:
    """Forecast a run and when it meets targets.

    Parameters
    ----------
    best : BestForecast
        From `sf.forecast_best`.
    run : str
        The run.
    points : DataFrame
        Its points, from `points_used`.
    tokens : iterable of float
        Raw token counts.
    targets : iterable of (str, float)
        ``activation_ratio`` or ``sparsity``, and its value.
    level : float
        Level of bands and intervals.
    """
    counts = np.asarray(list(tokens), dtype=float)
    found = best.predictive(counts, run)
    # Whoever asks for a forecast further out wants budgets to look that far.
    until = max(REACH * float(points["tokens"].iloc[-1]), *counts)
    asked: list[dict[str, Any]] = [{what: value} for what, value in targets]
    # Of one run, budgets are no table.
    budgets: list[Any] = [best.tokens_to(**one, level=level, run=run, until=until) for one in asked]
    table = found.table(level)
    return RunForecast(run, points, table, tuple(budgets), found.notes, found.fallback)
