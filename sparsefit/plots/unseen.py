"""The forecast of a size without data: bands, limit, and how far the size is from known ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.checks import check_above, check_choice
from sparsefit.counts import count_text
from sparsefit.errors import ArgumentError
from sparsefit.laws import TOKENS_PER_UNIT
from sparsefit.plots import canvas
from sparsefit.plots import style as looks
from sparsefit.plots.bracket import draw_bracket
from sparsefit.plots.fits import (
    draw_bands,
    draw_held_out,
    end_at_infinity,
    forecast_zone,
    limit_words,
    set_response_limits,
    set_token_limits,
    token_grid,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from sparsefit.bayes.pooled_result import ScaleForecast
    from sparsefit.results.estimates import Limit


def scale_forecast(
    result: ScaleForecast,
    ax: Axes | None = None,
    *,
    until: float | None = None,
    level: float = 0.9,
    xscale: str = "log",
    sparsity: bool = True,
    held_out: pd.DataFrame | None = None,
    legend: bool = True,
    style: looks.Style = None,
) -> Axes:
    """Draw the forecast of a size that has no data.

    The line is the median, the dark band is for the curve, the light one for a new measurement. The
    upright line is where the runs learnt from end (their median). The bracket at the right edge is
    the limit with its interval: an arrow and hatching where nothing bounds it. The title says if
    the size lies outside of those of the runs.

    Parameters
    ----------
    result : ScaleForecast
        From `PooledFits.predict_scale`.
    ax : Axes, optional
        Where to draw; a new figure by default.
    until : float, optional
        Last token count of the forecast (default: four times the tokens of the runs learnt from).
    level : float
        Level of the bands and of the limit's interval.
    xscale : {"log", "linear"}
        Scale of the token axis.
    sparsity : bool
        Whether to show the sparsity ratio on a second axis.
    held_out : DataFrame, optional
        Measurement table of a run of this size that was measured later, drawn as "not used".
    legend : bool
        Whether to draw the legend.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    if not (hasattr(result, "covariates") and hasattr(result, "too_far")):
        raise ArgumentError(
            f"this plot takes what predict_scale returns, got {type(result).__name__}"
        )
    check_choice("xscale", xscale, ("log", "linear"))
    first, known = result.d_first * TOKENS_PER_UNIT, result.d_last * TOKENS_PER_UNIT
    last = 4.0 * known if until is None else check_above("until", until, first)
    response = result.law.response
    run = _only_run(held_out, response)
    bands = result.forecast(token_grid(first, last, min(known, last), xscale), level)
    limit = result.limit(level)
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        axes.set_xscale(xscale)
        draw_bands(axes, bands, level, "forecast (median)")
        measured = draw_held_out(axes, run, response, np.empty(0), held_out)
        set_token_limits(axes, first, last, xscale)
        _set_limits(axes, bands, limit, measured)
        if last > known:
            forecast_zone(axes, known, last, ("runs end", "beyond them, to"))
        draw_bracket(axes, limit)
        canvas.token_axis(axes)
        end_at_infinity(axes, last)
        axes.set_ylabel(canvas.RESPONSE_LABELS[response])
        said = f"{_size(result)}, no points: {limit_words(limit)}"
        axes.set_title(f"{said}\n{_learnt(result)}", loc="left")
        if sparsity and response == "activation_ratio":
            canvas.sparsity_axis(axes)
        if legend:
            # In the axes there may be no room: bands can be as wide as the view.
            canvas.legend_below(axes)
    return axes


def _only_run(table: pd.DataFrame | None, response: str) -> str:
    """Name of the run in a table of later points."""
    if table is None:
        return ""
    canvas.check_table("held_out", table, response)
    runs = table["run"].astype(str).unique()
    if len(runs) != 1:
        raise ArgumentError(
            f"held_out must hold one run of the size that is drawn, got {len(runs)}: "
            f"{', '.join(map(repr, runs))}"
        )
    return str(runs[0])


def _size(result: ScaleForecast) -> str:
    size = f"{count_text(result.covariates['n_params'])} parameters"
    others = [
        f"{name} {count_text(value)}"
        for name, value in result.covariates.items()
        if name != "n_params"
    ]
    return ", ".join([size, *others])


def _learnt(result: ScaleForecast) -> str:
    """What the forecast was learnt from, and whether the size is among it, in a few words."""
    runs = f"{result.n_runs} run{'s' * (result.n_runs != 1)}"
    if not result.beyond:
        least, greatest = map(count_text, result.seen["n_params"])
        return f"learnt from {runs} of {least} to {greatest} parameters"
    far = [
        f"{'' if name == 'n_params' else f'{name} '}{_times(factor)}"
        for name, factor in result.beyond.items()
    ]
    kind = "too far out" if result.too_far else "extrapolated"
    return f"{kind}: {', '.join(far)} of the {runs} learnt from"


def _times(factor: float) -> str:
    if factor < 1.0:
        return f"{count_text(1.0 / factor)} times below the least"
    return f"{count_text(factor)} times the greatest"


def _set_limits(axes: Any, bands: pd.DataFrame, limit: Limit, extra: NDArray[np.float64]) -> None:
    """Show the end of the bands, the limit and all points; a wild start may be cut off."""
    median, final = bands["median"].to_numpy(), bands.iloc[-1]
    shown = np.concatenate([median, extra, [final["obs_lower"], final["obs_upper"]]])
    span = max(float(np.ptp(shown)), 1e-12)
    low = max(float(bands["obs_lower"].min()), shown.min() - 0.5 * span)
    high = min(float(bands["obs_upper"].max()), shown.max() + 0.5 * span)
    floor, ceiling = limit.bounded
    # An end that is no end only needs room for its arrow.
    low = min(low, shown.min(), limit.lower if floor else limit.estimate - 0.4 * span)
    high = max(high, shown.max(), limit.upper if ceiling else limit.estimate + 0.4 * span)
    set_response_limits(axes, low, high, limit)
