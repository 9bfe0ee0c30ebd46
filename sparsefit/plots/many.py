"""Many runs on one axis: points, curves and bands (as in Fig. 4 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.checks import check_choice, check_positive
from sparsefit.plots import canvas
from sparsefit.plots import style as looks
from sparsefit.plots.fits import token_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

# From this ratio of largest to smallest value on, a linear axis would flatten the small runs.
_LOG_FROM = 2.5


def runs(
    result: Fit | Fits,
    ax: Axes | None = None,
    *,
    runs: Sequence[str] | None = None,
    until: float | None = None,
    level: float = 0.9,
    xscale: str = "log",
    yscale: str = "auto",
    points: bool = True,
    band: bool = True,
    style: looks.Style = None,
) -> Axes:
    """Draw many runs on one axis, each named at the end of its curve.

    Curves are the median over all draws, solid as far as checkpoints were seen and broken beyond;
    bands are for the curve. Both begin where the warm-up ends; its points are open.

    Parameters
    ----------
    result : Fit or Fits
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    runs : sequence of str, optional
        Runs to draw, in this order (default: all).
    until : float, optional
        Last token count, the same for all runs (default: twice the tokens that each has seen).
    level : float
        Level of the bands.
    xscale : {"log", "linear"}
        Scale of the token axis.
    yscale : {"auto", "log", "linear"}
        Scale of the response; ``"auto"`` is logarithmic where runs differ by more than 2.5 times.
    points, band : bool
        Whether to draw the points and the bands.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    chosen = canvas.all_fits(result, runs)
    response = canvas.one_response(chosen)
    check_choice("xscale", xscale, ("log", "linear"))
    check_choice("yscale", yscale, ("auto", "log", "linear"))
    if until is not None:
        check_positive("until", until)
    if yscale == "auto":
        values = np.concatenate([fit.points.y for fit in chosen.values()])
        yscale = "log" if values.max() > _LOG_FROM * values.min() else "linear"
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        axes.set_xscale(xscale)
        axes.set_yscale(yscale)
        texts = canvas.run_texts(chosen)
        ends = []
        for index, (run, fit) in enumerate(chosen.items()):
            seen = float(fit.tokens[-1])
            last = max(seen, 2.0 * seen if until is None else float(until))
            name = f"{texts[run]} (misfit)" if fit.misfit else texts[run]
            end = _draw_run(axes, fit, index, name, last, level, xscale, points, band)
            ends.append((name, *end))
        measured = [fit.points.y for fit in chosen.values()]
        _set_limits(axes, np.concatenate([*measured, np.array([y for _, _, y, _ in ends])]), yscale)
        if yscale == "log":
            canvas.plain_log_axis(axes.yaxis)
        _name_curves(axes, ends)
        canvas.token_axis(axes)
        axes.set_ylabel(canvas.RESPONSE_LABELS[response])
    return axes


def _draw_run(
    axes: Any,
    fit: Fit,
    index: int,
    name: str,
    last: float,
    level: float,
    xscale: str,
    points: bool,
    band: bool,
) -> tuple[float, float, str]:
    """Draw one run; returns the end of its curve and its colour."""
    colour, marker, _ = looks.series_look(index)
    seen = float(fit.tokens[-1])
    # The law is not meant to describe the warm-up, and may go far astray there.
    grid = token_grid(float(fit.tokens[fit.n_warmup]), last, seen, xscale)
    table = fit.forecast(grid, level)
    past, ahead = grid <= seen, grid >= seen
    axes.plot(grid[past], table["median"][past], color=colour, label=name, zorder=3)
    axes.plot(grid[ahead], table["median"][ahead], color=colour, linestyle=(0, (3, 1.5)), zorder=3)
    if band:
        axes.fill_between(
            grid, table["curve_lower"], table["curve_upper"], color=colour, alpha=0.2, linewidth=0
        )
    if points:
        rows = fit.points_table()
        for role, face in (("used", colour), ("warm-up", looks.paper())):
            own = rows[rows["role"] == role]
            axes.plot(
                own["tokens"],
                own[fit.response],
                linestyle="none",
                marker=marker,
                markerfacecolor=face,
                markeredgecolor=colour,
                **{"markersize": 3.5, **canvas.crowd(len(own))},
            )
    return float(grid[-1]), float(table["median"].iloc[-1]), colour


def _set_limits(axes: Any, values: NDArray[np.float64], yscale: str) -> None:
    """Fit the view to points and curves: a wild band must not squeeze them."""
    low, high = float(values.min()), float(values.max())
    if yscale == "log":
        pad = (high / low) ** 0.08
        axes.set_ylim(low / pad, high * pad)
    else:
        span = max(high - low, 1e-12)
        axes.set_ylim(low - 0.12 * span, high + 0.12 * span)


def _name_curves(axes: Any, ends: list[tuple[str, float, float, str]]) -> None:
    """Write the runs' names in a column at the right, each led to by a thin line."""
    height = axes.get_window_extent().height / axes.figure.dpi * 72.0
    gap = 11.0 / max(height, 1.0)
    to_axes = axes.transAxes.inverted()
    spots = sorted(
        (float(to_axes.transform(axes.transData.transform((x, y)))[1]), name, x, y, colour)
        for name, x, y, colour in ends
    )
    placed = spread([spot[0] for spot in spots], gap)
    for (_, name, x, y, colour), where in zip(spots, placed, strict=True):
        axes.annotate(
            name,
            (x, y),
            xytext=(1.015, where),
            textcoords="axes fraction",
            va="center",
            fontsize="small",
            color=colour,
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5, "alpha": 0.6},
            annotation_clip=False,
        )


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move ascending heights apart to at least `gap`, as little as possible in the mean.

    >>> spread([0.5, 0.5], 0.1)
    [0.45, 0.55]
    """
    from scipy.optimize import isotonic_regression

    # At least `gap` apart: not falling, once a gap is taken off for each name below.
    below = gap * np.arange(len(heights))
    found: list[float] = (isotonic_regression(np.asarray(heights) - below).x + below).tolist()
    return found
