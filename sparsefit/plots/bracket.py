"""The limit with its interval, as a bracket in the strip at the right edge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsefit.plots import style as looks

if TYPE_CHECKING:
    from sparsefit.results.estimates import Limit

STRIP = 0.13
"""Share of the plot's width kept free at the right for the limit."""
CENTRE = 0.925
"""Centre of the bracket in axes fractions."""
_CAP = 0.016
_ROOM = 0.07
"""Share of the plot's height that a word takes."""


def draw_bracket(axes: Any, limit: Limit) -> None:
    """Draw the bracket; call it after the y limits are set.

    Ends inside the view get a cap, ends beyond it an arrow. An end on a physical bound is no end:
    it gets an arrow, hatching and the word "unbounded".
    """
    bottom, top = axes.get_ylim()
    across = axes.get_yaxis_transform()
    low, high = max(limit.lower, bottom), min(limit.upper, top)
    floor, ceiling = limit.bounded
    if not (floor and ceiling):
        axes.fill_between(
            [CENTRE - _CAP, CENTRE + _CAP],
            low,
            high,
            transform=across,
            facecolor="none",
            edgecolor=looks.VERMILLION,
            hatch="////",
            linewidth=0,
            zorder=2,
        )
    axes.plot(
        [CENTRE, CENTRE], [low, high], color=looks.VERMILLION, transform=across, label="_limit"
    )
    _draw_end(axes, low, "v", capped=limit.lower >= bottom and floor, free=not floor)
    _draw_end(axes, high, "^", capped=limit.upper <= top and ceiling, free=not ceiling)
    if bottom <= limit.estimate <= top:
        axes.plot(
            [CENTRE],
            [limit.estimate],
            marker="D",
            markersize=5,
            color=looks.VERMILLION,
            markeredgecolor=looks.paper(),
            transform=across,
            zorder=5,
        )
    if not ceiling and low <= bottom + _ROOM * (top - bottom):
        # Neither end leaves room: below stands the axis with its sign for infinity.
        _write(axes, "limit", CENTRE - 1.4 * _CAP, 0.5 * (bottom + top), 0, "right", "center", 90)
    elif not ceiling:
        _write(axes, "limit", CENTRE, low, -4, "center", "top")
    else:
        _write(axes, "limit", CENTRE, high, 4, "center", "bottom")


def _draw_end(axes: Any, end: float, marker: str, capped: bool, free: bool) -> None:
    """Draw one end: a cap, or an arrow where it lies beyond the view or on a bound (`free`)."""
    across = axes.get_yaxis_transform()
    if capped:
        axes.plot(
            [CENTRE - _CAP, CENTRE + _CAP], [end, end], color=looks.VERMILLION, transform=across
        )
        return
    axes.plot(
        [CENTRE],
        [end],
        color=looks.VERMILLION,
        marker=marker,
        markersize=8,
        transform=across,
        clip_on=False,
    )
    if free:
        inwards, align = (4, "bottom") if marker == "v" else (-4, "top")
        _write(axes, "unbounded", CENTRE + 1.4 * _CAP, end, inwards, "left", align, 90)


def _write(
    axes: Any, text: str, x: float, y: float, raised: float, ha: str, va: str, rotation: float = 0
) -> None:
    """Write a word beside the bracket, `raised` points above y."""
    axes.annotate(
        text,
        (x, y),
        xycoords=axes.get_yaxis_transform(),
        xytext=(0, raised),
        textcoords="offset points",
        rotation=rotation,
        ha=ha,
        va=va,
        fontsize="small",
        color=looks.VERMILLION,
    )
