"""Sections for a comparison, a backtest and a width-depth fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsefit.records import records
from sparsefit.reporting import words
from sparsefit.reporting.blocks import Section, Table
from sparsefit.reporting.cells import cells
from sparsefit.reporting.draw import draw
from sparsefit.reporting.run_section import Settings

if TYPE_CHECKING:
    from sparsefit.backtesting import Backtest, Comparison
    from sparsefit.width_depth import BreakpointFit


def comparison_section(result: Comparison, settings: Settings) -> Section:
    """What each fit would have forecast, and what it explains."""
    from sparsefit.plots.criteria import comparison as plot

    columns = {
        "run": "run",
        "fit": "fit",
        "n_warmup": "warm-up points",
        "log_evidence": "log evidence",
        "evidence_weight": "weight by evidence",
        "future_mae": "error on later points",
        "future_crps": "CRPS on later points",
        "future_covered90": "inside 90% band",
        "stacking": "stacking weight",
    }
    table = result.table[[name for name in columns if name in result.table]]
    figure = draw(
        plot,
        result,
        "comparison-figure",
        "Comparison of fits",
        result.sentence,
        "One row a run, one marker a fit; the best of each run is filled.",
        height=0.4 * result.table["run"].nunique() + 1.9,
        look=settings.style,
    )
    return Section(
        key="comparison",
        title="Comparison of fits",
        lead=(result.sentence,),
        warnings=tuple(result.remarks),
        figures=(figure,),
        tables=(
            Table(
                "comparison-table",
                "Higher is better for evidence, lower for error and CRPS (percentage points)",
                tuple(columns[name] for name in table.columns),
                cells(table, 3),
            ),
        ),
    )


def backtest_section(result: Backtest, settings: Settings) -> Section:
    """How well forecasts from the first checkpoints met the later ones."""
    from sparsefit.plots import calibration_curve, error_by_horizon

    columns = {
        "method": "method",
        "mae": "mean error",
        "crps": "CRPS",
        "covered50": "inside 50% band",
        "covered90": "inside 90% band",
        "width90": "width of 90% band",
        "failed": "failed",
    }
    table = result.table().sort_values("crps", na_position="last")[list(columns)]
    cuts = ", ".join(f"{100 * cut:g}%" for cut in result.cuts)
    runs = result.cells["run"].nunique()
    lead = [
        f"Each of {runs} runs was cut at {cuts} of its checkpoints, fitted to the first part and "
        "scored on the rest. Errors are in percentage points of the activation ratio."
    ]
    if runs < 8:
        lead.append(f"With only {runs} {'run' if runs == 1 else 'runs'} the coverages are rough.")
    return Section(
        key="backtest",
        title="Backtest",
        lead=tuple(lead),
        warnings=tuple(f"{item.run} skipped: {item.reason}." for item in result.skipped),
        figures=(
            draw(
                error_by_horizon,
                result,
                "backtest-error",
                "Error by horizon",
                "Mean error of each method against how far ahead it forecast.",
                look=settings.style,
            ),
            draw(
                calibration_curve,
                result,
                "backtest-calibration",
                "Calibration",
                "Share of later points inside the central bands against the level of the bands; "
                "on the diagonal the bands hold what they say.",
                look=settings.style,
            ),
        ),
        tables=(
            Table(
                "backtest-table",
                "Mean scores of each method, lowest CRPS first",
                tuple(columns.values()),
                cells(table, 3),
            ),
        ),
    )


def width_depth_section(result: BreakpointFit, settings: Settings) -> Section:
    """The width-depth law and whether its break can be placed."""
    from sparsefit.plots import width_depth as plot

    placement = result.placement(settings.level)
    table = result.tidy(settings.level)
    rows = [
        (
            str(row.term),
            words.number(row.estimate),
            " to ".join(
                "no bound" if abs(v) == float("inf") else words.number(v)
                for v in (row.lower, row.upper)
            ),
        )
        for row in records(table)
    ]
    status = placement.reason[:1].upper() + placement.reason[1:] + "."
    warnings = [f"Left out: {why}" for why in result.points.left_out.values()]
    if not placement.located:
        warnings.append("Without a located break, slope and plateau do not describe two regimes.")
    return Section(
        key="width-depth",
        title="Width-depth law",
        lead=(status, result.break_test().summary()),
        warnings=tuple(warnings),
        figures=(
            draw(
                plot,
                result,
                "width-depth-figure",
                "Width-depth law",
                f"Limit activation ratio against the width-depth ratio. {status}",
                look=settings.style,
            ),
        ),
        tables=(
            Table(
                "width-depth-table",
                f"Parameters; intervals: {table['kind'].iloc[0]}",
                ("parameter", "estimate", f"{100 * settings.level:g}% interval"),
                rows,
            ),
        ),
    )
