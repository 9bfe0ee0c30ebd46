"""The section about the stacked forecast of the runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.errors import ArgumentError
from sparsefit.estimation.notes import kind_of
from sparsefit.records import records
from sparsefit.reporting import words
from sparsefit.reporting.blocks import Figure, Part, Section, Table
from sparsefit.reporting.cells import cells
from sparsefit.reporting.draw import draw
from sparsefit.reporting.run_section import Settings

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting import BestForecast
    from sparsefit.results.estimates import Budget

NO_LIMIT = "It has no limit: methods without a law take part."


@dataclass(frozen=True)
class StackedNumbers:
    """The stacked forecast of one run, computed once for the page and its downloads."""

    run: str
    seen: float
    until: float
    forecast: pd.DataFrame
    budgets: tuple[Budget, ...]
    remarks: tuple[str, ...]


def stacked_numbers(
    best: BestForecast, runs: Iterable[str], settings: Settings
) -> tuple[StackedNumbers, ...]:
    """Forecasts and budgets of those of the page's runs that were forecast.

    Raises
    ------
    ArgumentError
        If it is about none of them.
    """
    shown = [run for run in best.runs if run in set(runs)]
    if not shown:
        raise ArgumentError(
            f"best is about {', '.join(best.runs)}, the page is not: give sf.forecast_best the "
            "table of its runs"
        )
    return tuple(_numbers(best, run, settings) for run in shown)


def _numbers(best: BestForecast, run: str, settings: Settings) -> StackedNumbers:
    from sparsefit.backtesting.outlook import REACH

    points = best.points_table()
    used = points[(points["run"] == run) & (points["role"] == "used")]
    seen = float(used["tokens"].max())
    ahead = settings.until is not None and settings.until > seen
    last = settings.until if ahead and settings.until is not None else 4.0 * seen
    tokens = [factor * seen for factor in settings.factors if factor * seen < last]
    found = best.predictive(np.array([*tokens, last]), run)
    asked: list[dict[str, Any]] = [{"activation_ratio": target} for target in settings.targets]
    asked += [{"sparsity": sparsity} for sparsity in settings.sparsities]
    budgets: list[Any] = [
        best.tokens_to(**one, level=settings.level, run=run, until=max(REACH * seen, last))
        for one in asked
    ]
    table = found.table(settings.level)
    # What its methods note of the points stands in the section of the run.
    remarks = [str(note) for note in found.notes if kind_of(note) == "pooling"]
    if found.fallback:
        remarks.append(found.fallback)
    return StackedNumbers(run, seen, last, table, tuple(budgets), tuple(remarks))


def stacked_section(
    best: BestForecast, numbers: Iterable[StackedNumbers], settings: Settings
) -> Section:
    """Which methods the forecast rests on and why, and the forecast of each run."""
    numbers = tuple(numbers)
    columns = {
        "method": "method",
        "weight": "weight",
        "mae": "mean error",
        "crps": "CRPS",
        "covered90": "inside 90% band",
    }
    table = best.tidy().sort_values("weight", ascending=False)
    table = table[[name for name in columns if name in table]]
    weights = Table(
        "best-weights",
        "Weight of each method, and its scores in the backtest (percentage points)",
        tuple(columns[name] for name in table.columns),
        cells(table, 3),
    )
    return Section(
        key="best",
        title="Stacked forecast",
        lead=(best.why, NO_LIMIT),
        warnings=tuple(f"{one.run}: {remark}." for one in numbers for remark in one.remarks),
        tables=(weights,),
        parts=tuple(
            _part(best, one, f"best-{index}", settings) for index, one in enumerate(numbers, 1)
        ),
    )


def _part(best: BestForecast, numbers: StackedNumbers, key: str, settings: Settings) -> Part:
    percent = f"{100 * settings.level:g}%"
    rows = [
        (
            f"{words.count(row.tokens)} ({row.tokens / numbers.seen:.3g}×)",
            f"{row.median:.4f}",
            "–" if np.isnan(row.curve_lower) else f"{row.curve_lower:.4f} to {row.curve_upper:.4f}",
            f"{row.obs_lower:.4f} to {row.obs_upper:.4f}",
        )
        for row in records(numbers.forecast)
    ]
    table = Table(
        f"{key}-table",
        f"Stacked forecast of {numbers.run} (fraction); × tokens seen",
        ("tokens", "median", f"curve, {percent}", f"new measurement, {percent}"),
        rows,
    )
    sentences = tuple(budget.sentence for budget in numbers.budgets)
    return Part(numbers.run, sentences, (_figure(best, numbers, key, settings),), (table,))


def _figure(best: BestForecast, numbers: StackedNumbers, key: str, settings: Settings) -> Figure:
    from sparsefit.plots import best_forecast as plot

    return draw(
        plot,
        best,
        f"{key}-figure",
        f"Stacked forecast of {numbers.run}",
        f"Measured points, and the median and {100 * settings.level:g}% bands of the stacked "
        f"forecast to {words.count(numbers.until)} tokens.",
        look=settings.style,
        options={
            "run": numbers.run,
            "until": numbers.until,
            "level": settings.level,
            "style": settings.style,
        },
    )


def stacked_document(best: BestForecast, numbers: Iterable[StackedNumbers]) -> dict[str, Any]:
    """What the page's JSON holds of it."""
    return {
        "why": best.why,
        "weights": best.tidy(),
        "runs": {
            one.run: {
                "forecast": one.forecast,
                "budgets": [budget.to_dict() for budget in one.budgets],
            }
            for one in numbers
        },
    }
