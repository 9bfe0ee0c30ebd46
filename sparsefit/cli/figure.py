"""Figures that the commands write, without pyplot and its global state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from sparsefit.results.fit import Fit


def write_plot(
    plot: Callable[..., Any], result: Any, path: str, size: tuple[float, float], **options: Any
) -> None:
    """Draw ``plot(result, axes, **options)`` on a figure of its own and write it.

    Parameters
    ----------
    plot : callable
        One of `sparsefit.plots`.
    result : Backtest, Comparison, ...
        What to draw.
    path : str
        File to write; the suffix decides the format.
    size : tuple of float
        Width and height, inches.
    **options
        Passed on to the plot.
    """
    from sparsefit.reporting.draw import new_figure

    _save(new_figure(plot, result, size, **options), path)


def write_panels(
    fits: dict[str, Fit],
    path: str,
    *,
    until: float | dict[str, float] | None = None,
    level: float = 0.9,
    held_out: pd.DataFrame | None = None,
) -> None:
    """Draw each run in a panel of its own and write the figure.

    Parameters
    ----------
    fits : dict
        Run to `Fit`.
    path : str
        File to write; the suffix decides the format.
    until : float or dict, optional
        Last token count of the forecasts, for all runs or for each.
    level : float
        Level of the bands.
    held_out : DataFrame, optional
        Table with later points, drawn as not used.
    """
    from sparsefit import plots

    def draw(run: str, panel: Any, legend: bool) -> None:
        fit = fits[run]
        end = until.get(run) if isinstance(until, dict) else until
        # Where the tokens seen are beyond it, nothing would be forecast: draw the default.
        end = end if end is not None and end > fit.tokens[-1] else None
        plots.fit(fit, panel, until=end, level=level, held_out=held_out, legend=legend)

    panels_of(list(fits), draw, path)


def panels_of(runs: Sequence[str], draw: Callable[[str, Any, bool], None], path: str) -> None:
    """Call ``draw(run, axes, legend)`` for each run on a panel of its own and write the figure.

    The first panel has a legend, later ones only of what the first does not show.
    """
    from matplotlib.figure import Figure

    from sparsefit.plots import style

    columns = 1 if len(runs) == 1 else 2 if len(runs) <= 8 else 3
    rows = math.ceil(len(runs) / columns)
    with style.applied():
        figure = Figure(figsize=(6.4 * columns, 4.2 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for index, (panel, run) in enumerate(zip(panels, runs, strict=False)):
            draw(run, panel, index == 0)
        for panel in panels[len(runs) :]:
            panel.set_axis_off()
        if len(runs) == len(panels):
            _name_the_rest(panels)
        else:
            # A free panel has room for the legend.
            handles, labels = _entries(panels[: len(runs)])
            panels[0].get_legend().remove()
            panels[-1].legend(handles, labels, loc="center", fontsize="large")
        _save(figure, path)


def _save(figure: Figure, path: str) -> None:
    try:
        figure.savefig(path, dpi=120)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"--out {path}: {error}") from None


def _entries(panels: Any) -> tuple[list[Any], list[str]]:
    """Legend entries of all panels, each label once."""
    found: dict[str, Any] = {}
    for panel in panels:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)


def _name_the_rest(panels: Any) -> None:
    """Give later panels a legend of what no panel before them shows, such as a warm-up."""
    known = set(panels[0].get_legend_handles_labels()[1])
    for panel in panels[1:]:
        entries = zip(*panel.get_legend_handles_labels(), strict=True)
        new = {label: handle for handle, label in entries if label not in known}
        if new:
            panel.legend(list(new.values()), list(new), loc="best")
            known |= set(new)
