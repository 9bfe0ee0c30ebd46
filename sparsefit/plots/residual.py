"""Residuals against tokens: autocorrelation and a changing spread show at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.plots import canvas
from sparsefit.plots import style as looks
from sparsefit.results.diagnostics import beyond_rounding, neighbour_correlation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

# Height of a run's row in units of its root-mean-square error.
_ROW = 8.0


def residuals(
    result: Fit | Fits,
    ax: Axes | None = None,
    *,
    runs: Sequence[str] | None = None,
    style: looks.Style = None,
) -> Axes:
    """Draw measured minus fitted value at each checkpoint.

    One run is drawn in the unit of the response, many runs in rows, in units of each run's
    root-mean-square error; twice that error is shaded. Warm-up points are open; points beyond the
    view are arrows at its edge.

    Parameters
    ----------
    result : Fit or Fits
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    runs : sequence of str, optional
        Runs to draw, in this order (default: all).
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    chosen = canvas.all_fits(result, runs)
    response = canvas.one_response(chosen)
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        axes.set_xscale("log")
        if len(chosen) == 1:
            _draw_one(axes, next(iter(chosen.values())), response)
        else:
            _draw_rows(axes, chosen)
        canvas.token_axis(axes)
    return axes


def _rmse(fit: Fit) -> float:
    return max(float(np.sqrt(np.mean(fit.residuals() ** 2))), 1e-300)


def _draw_one(axes: Any, fit: Fit, response: str) -> None:
    rmse = _rmse(fit)
    edge = max(1.3 * float(np.abs(fit.residuals()).max()), 2.5 * rmse)
    axes.axhspan(-2 * rmse, 2 * rmse, color=looks.SKY, alpha=0.2, linewidth=0, label="±2 RMSE")
    axes.axhline(0.0, color=looks.GREY, linewidth=0.8)
    _draw_points(axes, fit, 1.0, 0.0, edge, (looks.ink(), looks.VERMILLION, "o"), names=True)
    axes.set_ylim(-edge, edge)
    noun = "activation ratio" if response == "activation_ratio" else "nats per token"
    axes.set_ylabel(f"measured - fitted ({noun})")
    name = canvas.run_text(fit.run)
    correlation = neighbour_correlation(beyond_rounding(fit))
    axes.set_title(f"{name}: neighbouring residuals correlate {correlation:+.2f}", loc="left")
    # Beside the axes: points may lie anywhere in them, those beyond the view in the corners.
    canvas.legend_below(axes, 4)


def _draw_rows(axes: Any, chosen: dict[str, Fit]) -> None:
    """Draw each run in a row of its own, in units of its root-mean-square error."""
    for row, fit in enumerate(chosen.values()):
        colour, marker, _ = looks.series_look(row)
        base = -_ROW * row
        axes.axhspan(base - 2, base + 2, color=looks.SKY, alpha=0.15, linewidth=0)
        axes.axhline(base, color=looks.GREY, linewidth=0.6)
        _draw_points(axes, fit, _rmse(fit), base, 3.4, (colour, colour, marker), names=False)
    names = list(canvas.run_texts(chosen).values())
    axes.set_yticks([-_ROW * row for row in range(len(chosen))], names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-_ROW * (len(chosen) - 0.5), 0.5 * _ROW)
    axes.set_ylabel("(measured - fitted) / RMSE, shaded ±2")


def _draw_points(
    axes: Any,
    fit: Fit,
    unit: float,
    base: float,
    edge: float,
    look: tuple[str, str, str],
    names: bool,
) -> None:
    """Draw residuals / `unit` + `base`; what is beyond `edge` becomes an arrow there."""
    colour, early, marker = look
    table = fit.points_table()
    for role, face, line, hue in (
        ("used", colour, 0.6, colour),
        ("warm-up", looks.paper(), 0.0, early),
    ):
        rows = table[table["role"] == role]
        if not len(rows):
            continue
        tokens, values = rows["tokens"].to_numpy(), (rows["residual"] / unit).to_numpy()
        drawn: dict[str, Any] = {"color": hue, "markerfacecolor": face}
        # A line through thousands of points would be an area.
        line = line if len(rows) <= canvas.FEW else 0.0
        inside = np.abs(values) <= edge
        axes.plot(
            tokens[inside],
            base + values[inside],
            marker=marker,
            linewidth=line,
            linestyle="-" if line else "none",
            label=role if names else "_",
            **drawn,
            **canvas.crowd(len(rows)),
        )
        beyond = f"{role}, beyond the view" if names else "_"
        for far, arrow, sign in ((values > edge, "^", 1.0), (values < -edge, "v", -1.0)):
            if far.any():
                axes.plot(
                    tokens[far],
                    np.full(int(far.sum()), base + sign * 0.95 * edge),
                    marker=arrow,
                    markersize=6,
                    linestyle="none",
                    label=beyond,
                    **drawn,
                )
                # One entry for arrows either way.
                beyond = "_"
