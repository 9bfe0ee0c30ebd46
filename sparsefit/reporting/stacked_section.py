"""The section about the stacked forecast of the runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sparsefit.by_run import each_run
from sparsefit.errors import ArgumentError
from sparsefit.estimation.notes import kind_of
from sparsefit.reporting import words
from sparsefit.reporting.blocks import Figure, Part, Section, Table
from sparsefit.reporting.cells import cells
from sparsefit.reporting.draw import draw
from sparsefit.reporting.forecasts import forecast_table, table_tokens
from sparsefit.reporting.run_section import Settings

if TYPE_CHECKING:
    from sparsefit.backtesting import BestForecast
    from sparsefit.backtesting.run_forecast import RunForecast


def run_forecasts(
    best: BestForecast, runs: Iterable[str], settings: Settings
) -> tuple[tuple[RunForecast, ...], dict[str, str]]:
    """Forecasts and budgets of the page's runs, and why some of them have none.

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
    found, left_out = each_run(shown, lambda run: _forecast(best, run, settings))
    return tuple(found.values()), left_out


def _forecast(best: BestForecast, run: str, settings: Settings) -> RunForecast:
    from sparsefit.backtesting.run_forecast import points_used, run_forecast

    points = points_used(best, run)
    seen = float(points["tokens"].max())
    last = 4.0 * seen if settings.until is None or settings.until <= seen else settings.until
    tokens = table_tokens(seen, last, settings.factors)
    targets = [("activation_ratio", target) for target in settings.targets]
    targets += [("sparsity", sparsity) for sparsity in settings.sparsities]
    return run_forecast(best, run, points, tokens, targets, settings.level)


def stacked_section(
    best: BestForecast,
    found: Sequence[RunForecast],
    left_out: Mapping[str, str],
    settings: Settings,
) -> Section:
    """Which methods the forecast rests on and why, and the forecast of each run."""
    from sparsefit.backtesting.run_forecast import NO_LIMIT

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
        warnings=(
            *(f"Not forecast: {why}" for why in left_out.values()),
            *(f"{one.run}: {remark}." for one in found for remark in _remarks(one)),
        ),
        tables=(weights,),
        parts=tuple(
            _part(best, one, f"best-{index}", settings) for index, one in enumerate(found, 1)
        ),
    )


def _remarks(one: RunForecast) -> list[str]:
    # What its methods note of the points stands in the section of the run.
    pooling = [str(note) for note in one.notes if kind_of(note) == "pooling"]
    return [*pooling, *((one.fallback,) if one.fallback else ())]


def _part(best: BestForecast, one: RunForecast, key: str, settings: Settings) -> Part:
    caption = f"Stacked forecast of {one.run} (fraction)"
    table = forecast_table(f"{key}-table", caption, one.table, one.seen, settings.level)
    sentences = tuple(budget.sentence for budget in one.budgets)
    return Part(one.run, sentences, (_figure(best, one, key, settings),), (table,))


def _figure(best: BestForecast, one: RunForecast, key: str, settings: Settings) -> Figure:
    from sparsefit.plots import best_forecast as plot

    until = float(one.table["tokens"].iloc[-1])
    return draw(
        plot,
        best,
        f"{key}-figure",
        f"Stacked forecast of {one.run}",
        f"Measured points, and the median and {100 * settings.level:g}% bands of the stacked "
        f"forecast to {words.count(until)} tokens.",
        look=settings.style,
        options={
            "run": one.run,
            "until": until,
            "level": settings.level,
            "style": settings.style,
        },
    )


def stacked_document(
    best: BestForecast, found: Sequence[RunForecast], left_out: Mapping[str, str]
) -> dict[str, Any]:
    """What the page's JSON holds of it."""
    return {
        "why": best.why,
        "weights": best.tidy(),
        "runs": {
            one.run: {
                "forecast": one.table,
                "budgets": [budget.to_dict() for budget in one.budgets],
            }
            for one in found
        },
        "left_out": dict(left_out),
    }
