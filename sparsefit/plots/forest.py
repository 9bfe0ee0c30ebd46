"""Limits of many runs, one row each, with arrow heads where the data do not bound them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sparsefit.display import interval_text
from sparsefit.plots import canvas
from sparsefit.plots import style as looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparsefit.results.estimates import Limit
    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

_COLOURS = {"yes": looks.BLUE, "one-sided": looks.VERMILLION, "no": looks.GREY}


def limits(
    result: Fit | Fits,
    ax: Axes | None = None,
    *,
    runs: Sequence[str] | None = None,
    level: float = 0.9,
    sparsity: bool = True,
    style: looks.Style = None,
) -> Axes:
    """Draw the limit of each run with its interval, and say it in words at the right.

    A full marker is an identified limit, an open one a limit that the data bound on one side only
    (arrow on the other), a hatched row one that they do not bound at all.

    Parameters
    ----------
    result : Fit or Fits
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    runs : sequence of str, optional
        Runs to draw, from the top (default: all).
    level : float
        Level of the intervals.
    sparsity : bool
        Whether to show the sparsity ratio on a second axis.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    chosen = canvas.all_fits(result, runs)
    response = canvas.one_response(chosen)
    found = {run: fit.limit(level) for run, fit in chosen.items()}
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        left, right = _view(list(found.values()))
        axes.set_xlim(left, right)
        axes.set_ylim(len(found) - 0.4, -0.6)
        for row, limit in enumerate(found.values()):
            _draw_row(axes, row, limit, left, right)
        axes.set_yticks(range(len(found)), list(canvas.run_texts(found).values()))
        # Room for the arrow heads at the edge.
        axes.tick_params(axis="y", length=0, pad=8)
        canvas.few_ticks(axes.xaxis)
        axes.set_xlabel(f"limit {canvas.RESPONSE_LABELS[response]}, {100 * level:g}% interval")
        if sparsity and response == "activation_ratio":
            canvas.few_ticks(canvas.sparsity_axis(axes, "x").xaxis)
    return axes


def _view(found: Sequence[Limit]) -> tuple[float, float]:
    ends = [limit.estimate for limit in found]
    for limit in found:
        floor, ceiling = limit.bounded
        ends += [limit.lower] if floor else []
        ends += [limit.upper] if ceiling else []
    low, high = min(ends), max(ends)
    span = max(high - low, 0.05 * abs(high), 1e-6)
    # Hardly anything to see beyond a physical bound.
    least = min(limit.bounds[0] for limit in found)
    most = max(limit.bounds[1] for limit in found)
    return (
        max(low - 0.12 * span, least - 0.04 * span),
        min(high + 0.12 * span, most + 0.04 * span),
    )


def _words(limit: Limit) -> str:
    floor, ceiling = limit.bounded
    if not (floor or ceiling):
        return "not identified"
    if not floor:
        return f"≤ {limit.upper:.4f}, one-sided"
    if not ceiling:
        return f"≥ {limit.lower:.4f}, one-sided"
    return interval_text(limit.estimate, limit.lower, limit.upper)


def _draw_row(axes: Any, row: int, limit: Limit, left: float, right: float) -> None:
    colour = _COLOURS[limit.identified]
    floor, ceiling = limit.bounded
    low = limit.lower if floor else left
    high = limit.upper if ceiling else right
    if limit.identified == "no":
        axes.fill_between(
            [low, high],
            row - 0.16,
            row + 0.16,
            facecolor="none",
            edgecolor=colour,
            hatch="////",
            linewidth=0,
        )
    axes.plot([low, high], [row, row], color=colour, solid_capstyle="butt")
    for end, bounded, arrow in ((low, floor, "<"), (high, ceiling, ">")):
        axes.plot(
            [end],
            [row],
            marker="|" if bounded else arrow,
            markersize=8,
            markeredgewidth=1.6 if bounded else 0.0,
            color=colour,
            clip_on=False,
        )
    axes.plot(
        [limit.estimate],
        [row],
        marker="o",
        markersize=6,
        markerfacecolor=colour if limit.identified == "yes" else looks.paper(),
        markeredgecolor=colour,
        zorder=4,
    )
    axes.annotate(
        _words(limit),
        (1.03, row),
        xycoords=axes.get_yaxis_transform(),
        va="center",
        fontsize="small",
        color=colour,
        annotation_clip=False,
    )
