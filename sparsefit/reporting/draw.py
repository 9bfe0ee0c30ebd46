"""Draw plots on figures of their own, apart from pyplot and its global state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sparsefit.plots.style import Style
from sparsefit.reporting.blocks import Figure
from sparsefit.reporting.svg import inline_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure as MplFigure

WIDTH = 6.2
"""Width of a figure in the page, inches."""


def new_figure(
    plot: Callable[..., Any],
    result: Any,
    size: tuple[float, float],
    look: Style = None,
    **options: Any,
) -> MplFigure:
    """Draw ``plot(result, ax, **options)`` on a new figure.

    Parameters
    ----------
    plot : callable
        One of `sparsefit.plots`.
    result : Fit, Fits, ...
        What to draw.
    size : tuple of float
        Width and height, inches.
    look : mapping or str, optional
        rcParams, or the name of a matplotlib style, that the axes are made with.
    **options
        Passed on to the plot (``style`` included, for the plots that take one).
    """
    from matplotlib.figure import Figure as MplFigure

    from sparsefit.plots.style import applied

    # Axes take their look when they are made, hence before the plot sets it itself.
    with applied(look):
        figure = MplFigure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
    plot(result, axes, **options)
    return figure


def draw(
    plot: Callable[..., Any],
    result: Any,
    key: str,
    label: str,
    description: str,
    caption: str = "",
    height: float = 3.9,
    look: Style = None,
    options: Mapping[str, Any] | None = None,
) -> Figure:
    """Draw a plot as a figure of the page; see `new_figure`."""
    figure = new_figure(plot, result, (WIDTH, height), look, **(options or {}))
    return Figure(key, inline_svg(figure, key, label, description), caption or description, label)
