"""One run with its stacked forecast: points, bands and the forecast zone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.backtesting.past_errors import NEGLIGIBLE
from sparsefit.checks import check_above, check_choice
from sparsefit.errors import ArgumentError, quoted
from sparsefit.plots import canvas
from sparsefit.plots import style as looks
from sparsefit.plots.fits import draw_bands, draw_held_out, forecast_zone, token_grid

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from sparsefit.backtesting import BestForecast


def best_forecast(
    result: BestForecast,
    ax: Axes | None = None,
    *,
    run: str | None = None,
    until: float | None = None,
    level: float = 0.9,
    xscale: str = "log",
    sparsity: bool = True,
    held_out: pd.DataFrame | None = None,
    legend: bool = True,
    style: looks.Style = None,
) -> Axes:
    """Draw a run's points and its stacked forecast.

    The bands begin at the last point: some of the methods only look ahead. The line is the median,
    the dark band is for the curve, the light one for a new measurement. There is no limit.

    Parameters
    ----------
    result : BestForecast
        From `sf.forecast_best`.
    ax : Axes, optional
        Where to draw; a new figure by default.
    run : str, optional
        Which run; needed where there are several.
    until : float, optional
        Last token count of the forecast (default: four times the tokens seen).
    level : float
        Level of the bands.
    xscale : {"log", "linear"}
        Scale of the token axis.
    sparsity : bool
        Whether to show the sparsity ratio on a second axis.
    held_out : DataFrame, optional
        Measurement table whose further points of this run are drawn as "not used".
    legend : bool
        Whether to draw the legend.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    name = _chosen(result, run)
    check_choice("xscale", xscale, ("log", "linear"))
    rows = result.points_table()
    rows = rows[rows["run"] == name]
    used = rows[rows["role"] == "used"]
    seen = float(used["tokens"].max())
    last = 4.0 * seen if until is None else check_above("until", until, seen)
    grid = token_grid(seen, last, seen, xscale)
    bands = result.predictive(grid, name).table(level)
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        axes.set_xscale(xscale)
        draw_bands(axes, bands, level, _led(result))
        axes.plot(
            used["tokens"],
            used["activation_ratio"],
            linestyle="none",
            marker="o",
            color=looks.ink(),
            label="measured",
            zorder=4,
        )
        known = rows["tokens"].to_numpy()
        later = draw_held_out(axes, name, "activation_ratio", known, held_out)
        shown = np.concatenate([used["activation_ratio"].to_numpy(dtype=float), later])
        _set_limits(axes, bands, float(used["tokens"].min()), shown, xscale)
        forecast_zone(axes, seen, last)
        canvas.token_axis(axes)
        axes.set_ylabel(canvas.RESPONSE_LABELS["activation_ratio"])
        axes.set_title(f"{canvas.run_text(name)}: {_at_the_end(bands, level)}", loc="left")
        if sparsity:
            canvas.sparsity_axis(axes)
        if legend:
            canvas.legend_inside(axes, "best")
    return axes


def _chosen(result: Any, run: str | None) -> str:
    if not (hasattr(result, "predictive") and hasattr(result, "weights")):
        raise ArgumentError(
            f"this plot takes what sf.forecast_best returns, got {type(result).__name__}"
        )
    if run is None and len(result.runs) == 1:
        return str(result.runs[0])
    if run not in result.runs:
        what = "run= says which run to draw" if run is None else f"no run {quoted(run)}"
        raise ArgumentError(f"{what}; runs: {', '.join(map(repr, result.runs))}")
    return str(run)


def _led(result: BestForecast) -> str:
    """What the forecast is made of, in a few words."""
    leader = result.method.replace("_", " ")
    alone = result.weights.max() > 1.0 - NEGLIGIBLE
    return f"forecast by {leader}" if alone else f"stacked forecast, {leader} leads"


def _at_the_end(bands: pd.DataFrame, level: float) -> str:
    """The forecast's last value with its band, in a few words."""
    row = bands.iloc[-1]
    kind = "obs" if np.isnan(row["curve_lower"]) else "curve"
    ends = f"[{row[f'{kind}_lower']:.4f}, {row[f'{kind}_upper']:.4f}]"
    return f"{row['median']:.4f} {ends} at {canvas.count_text(row['tokens'])} ({100 * level:g}%)"


def _set_limits(
    axes: Any,
    bands: pd.DataFrame,
    first: float,
    shown: NDArray[np.float64],
    xscale: str,
) -> None:
    """Fit the view to points and forecast: a wild band must not squeeze the points."""
    last = float(bands["tokens"].iloc[-1])
    if xscale == "log":
        pad = (last / first) ** 0.03
        axes.set_xlim(first / pad, last * pad)
    else:
        axes.set_xlim(first - 0.03 * (last - first), last + 0.03 * (last - first))
    span = max(float(np.ptp(shown)), 1e-12)
    low = max(float(bands["obs_lower"].min()), shown.min() - 1.5 * span)
    high = min(float(bands["obs_upper"].max()), shown.max() + 1.5 * span)
    low, high = min(low, shown.min()), max(high, shown.max())
    pad = 0.06 * (high - low)
    # Room above for the words about the forecast.
    axes.set_ylim(low - pad, high + 1.8 * pad)
