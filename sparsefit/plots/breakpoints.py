"""Figure of the width-depth law: limits, law, break and recommended zone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.errors import ArgumentError, quoted
from sparsefit.plots import style as looks
from sparsefit.plots.canvas import legend_below, new_axes, plain_log_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparsefit.plots.style import Style
    from sparsefit.width_depth import BreakpointFit, PosteriorFit
    from sparsefit.width_depth.advice import Advice

# Share of the axes' height that the break's distribution takes at most.
_RIDGE = 0.16
_BAND_POINTS = 60


def width_depth(
    result: BreakpointFit | PosteriorFit,
    ax: Axes | None = None,
    *,
    advice: Advice | None = None,
    level: float = 0.9,
    band: bool = True,
    scale: str = "linear",
    style: Style = None,
) -> Axes:
    """Limits over the width-depth ratio with the fitted law and, given advice, the losses.

    Parameters
    ----------
    result : BreakpointFit or PosteriorFit
        From `sparsefit.fit_width_depth` or its Bayesian version.
    ax : Axes, optional
        Where to draw; a new figure by default.
    advice : Advice, optional
        From ``result.recommend(loss_points)``: shades the zone, marks the recommended ratio, and
        draws the losses on an axis of their own at the right.
    level : float
        Level of the band.
    band : bool
        Whether to draw the band, which takes about a second.
    scale : {"linear", "log"}
        Scale of the ratio; on the logarithmic one the line is a curve.
    style : mapping of rcParams or name of a style, optional
        Changes to the look.

    Returns
    -------
    Axes
        The axes of the limits.
    """
    if not hasattr(result, "breakpoint_distribution"):
        raise ArgumentError(
            f"width_depth draws what sf.fit_width_depth returns, got {type(result).__name__}"
        )
    if advice is not None and not hasattr(advice, "zone"):
        raise ArgumentError(
            f"advice: what result.recommend(loss_points) returns is expected, got "
            f"{type(advice).__name__}"
        )
    if scale not in ("linear", "log") or (scale == "log" and result.points.ratio[0] <= 0):
        raise ArgumentError(f"scale: 'linear', or 'log' for positive ratios, got {quoted(scale)}")
    with looks.applied(style):
        axes = new_axes(ax)
        ratio = result.points.ratio
        ends = _limits(ratio, advice, scale)
        if scale == "log":
            axes.set_xscale("log")
        if advice is not None:
            _draw_advice(axes, advice)
        _draw_law(axes, result, ends, level, band)
        _draw_points(axes, result)
        _draw_break(axes, result)
        axes.set_xlim(*ends)
        if scale == "log":
            plain_log_axis(axes.xaxis)
        axes.set_xlabel("width-depth ratio (hidden size / layers)")
        axes.set_ylabel("limit activation ratio (fraction)")
        legend_below(axes)
    return axes


def _limits(ratio: np.ndarray, advice: Advice | None, scale: str) -> tuple[float, float]:
    every = ratio if advice is None else np.append(ratio, advice.table["ratio"].to_numpy())
    low, high = float(np.min(every)), float(np.max(every))
    if scale == "log":
        return low / 1.15, high * 1.15
    margin = 0.05 * (high - low)
    # Ratios are positive; only other uses of the law have points below 0.
    return (max(low - margin, 0.0) if low > 0 else low - margin), high + margin


def _draw_points(axes: Axes, result: Any) -> None:
    points = result.points
    error = None if points.se is None else points.se
    label = "limit" if error is None else "limit, 1 standard error"
    axes.errorbar(
        points.ratio,
        points.value,
        yerr=error,
        fmt="o",
        color=looks.ink(),
        capsize=2,
        linewidth=1.0,
        zorder=4,
        label=label,
    )


def _draw_law(axes: Axes, result: Any, ends: tuple[float, float], level: float, band: bool) -> None:
    low, high = ends
    log = axes.get_xscale() == "log"
    grid = np.geomspace(low, high, _BAND_POINTS) if log else np.linspace(low, high, _BAND_POINTS)
    corner = result.breakpoint
    if low < corner < high:
        grid = np.sort(np.append(grid, corner))
    dash = "-" if result.located else (0, (5, 1.5))
    if band:
        table = result.band(grid, level)
        lower = table["curve_lower"].to_numpy()
        upper = table["curve_upper"].to_numpy()
        shown = np.isfinite(lower) & np.isfinite(upper)
        axes.fill_between(
            grid,
            lower,
            upper,
            where=shown.tolist(),
            color=looks.BLUE,
            alpha=0.2,
            linewidth=0,
            zorder=2,
            label=f"{100 * level:g}% band of the law",
        )
    axes.plot(grid, result.predict(grid), color=looks.BLUE, linestyle=dash, zorder=3, label="law")


def _draw_break(axes: Axes, result: Any) -> None:
    """Distribution of the break on the axis: p-values of the profile, or the posterior."""
    table = result.breakpoint_distribution()
    at, height = table["breakpoint"].to_numpy(), table["height"].to_numpy()
    inside = result.placement().located
    if not inside:
        axes.set_title("no break can be placed", loc="left", color=looks.VERMILLION)
    axes.fill_between(
        at,
        0.0,
        _RIDGE * height,
        transform=axes.get_xaxis_transform(),
        color=looks.ORANGE,
        alpha=0.55,
        linewidth=0.8,
        zorder=1,
        label="where the break may lie" if inside else "break, not located",
    )


def _draw_advice(axes: Axes, advice: Advice) -> None:
    low, high = advice.zone
    axes.axvspan(
        low,
        high,
        facecolor=looks.GREEN,
        alpha=0.12,
        zorder=0,
        label=f"loss within {advice.tolerance:.2g} nats of the best",
    )
    axes.axvline(
        advice.ratio,
        color=looks.GREEN,
        linestyle=(0, (5, 1.5, 1, 1.5)),
        zorder=1,
        label=f"recommended ratio {advice.ratio:.3g}",
    )
    stable = advice.table["stable"].to_numpy(dtype=bool)
    table, lost = advice.table[stable], advice.table[~stable]
    if len(lost):
        # The loss of a run that diverged is far off, or unknown.
        axes.plot(
            lost["ratio"],
            np.full(len(lost), 0.03),
            "x",
            color=looks.VERMILLION,
            transform=axes.get_xaxis_transform(),
            label="unstable training",
        )
    right = axes.twinx()
    error = None if table["se"].isna().all() else table["se"].to_numpy()
    right.errorbar(
        table["ratio"],
        table["loss"],
        yerr=error,
        fmt="s",
        markerfacecolor="none",
        color=looks.VERMILLION,
        capsize=2,
        linewidth=0.8,
        alpha=0.9,
    )
    right.set_ylabel("limit training loss, squares\n(nats per token)", color=looks.VERMILLION)
    right.tick_params(axis="y", colors=looks.VERMILLION)
    right.spines["right"].set_visible(True)
    # The limits belong on top.
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
