"""How fast the curve still moves: its derivative, on log axes (as in Fig. 8 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.checks import WRT, check_above, check_choice
from sparsefit.plots import canvas
from sparsefit.plots import style as looks
from sparsefit.plots.fits import token_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

_UNITS = {
    "tokens": "per token",
    "data_scale_ratio": "per (token / parameter)",
    "log_tokens": "per e-fold of tokens",
}
# The slope of Eq. 4 falls faster than any power: what is this far below it is no longer seen.
_DEPTH = 1e-3


def derivative(
    result: Fit | Fits,
    ax: Axes | None = None,
    *,
    runs: Sequence[str] | None = None,
    wrt: str = "auto",
    until: float = 4.0,
    level: float = 0.9,
    style: looks.Style = None,
) -> Axes:
    """Draw the size of the curve's slope against the data-scale ratio or the tokens.

    The line is the median over the draws, solid as far as checkpoints were seen and broken beyond.

    Parameters
    ----------
    result : Fit or Fits
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    runs : sequence of str, optional
        Runs to draw, in this order (default: all).
    wrt : {"auto", "data_scale_ratio", "tokens", "log_tokens"}
        What to differentiate by; ``"auto"`` takes the data-scale ratio (tokens per parameter) where
        every run's parameter count is known, else the tokens.
    until : float
        How far to draw, as a multiple of the tokens that each run has seen.
    level : float
        Level of the bands.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes

    Raises
    ------
    ArgumentError
        If ``wrt="data_scale_ratio"`` and a run has no parameter count.
    """
    chosen = canvas.all_fits(result, runs)
    response = canvas.one_response(chosen)
    check_choice("wrt", wrt, ("auto", *WRT))
    check_above("until", until, 1.0)
    if wrt == "auto":
        known = all(fit.n_params is not None for fit in chosen.values())
        wrt = "data_scale_ratio" if known else "tokens"
    by_ratio = wrt == "data_scale_ratio"
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        axes.set_xscale("log")
        axes.set_yscale("log")
        texts = canvas.run_texts(chosen)
        shown = [
            _draw_run(axes, fit, i, texts[run], wrt, until, level, len(chosen) == 1)
            for i, (run, fit) in enumerate(chosen.items())
        ]
        axes.set_ylim(
            _DEPTH**0.5 * min(low for low, _ in shown), 3 * max(high for _, high in shown)
        )
        if by_ratio:
            canvas.plain_log_axis(axes.xaxis)
            axes.set_xlabel("data-scale ratio (tokens / non-embedding parameter)")
        else:
            canvas.token_axis(axes)
        noun = "activation ratio" if response == "activation_ratio" else "loss"
        falls = {fit.law.sign for fit in chosen.values()}
        verb = {frozenset({1}): "fall of", frozenset({-1}): "rise of"}.get(
            frozenset(falls), "change of"
        )
        axes.set_ylabel(f"{verb} {noun}\n{_UNITS[wrt]}")
        canvas.legend_of_runs(axes, len(chosen), "best")
    return axes


def _draw_run(
    axes: Any, fit: Fit, index: int, name: str, wrt: str, until: float, level: float, single: bool
) -> tuple[float, float]:
    """Draw one run; returns the smallest and largest slope where checkpoints were seen."""
    colour, marker, _ = looks.series_look(index)
    seen = float(fit.tokens[-1])
    grid = token_grid(float(fit.tokens[0]), until * seen, seen, "log")
    table = fit.derivative(grid, wrt, level)
    x = table["data_scale_ratio" if wrt == "data_scale_ratio" else "tokens"].to_numpy()
    ends = np.abs(table[["lower", "upper"]].to_numpy())
    # Log axes show sizes; the ends swap where the slope is negative.
    low, high = np.maximum(ends.min(axis=1), 1e-300), np.maximum(ends.max(axis=1), 1e-300)
    middle = np.maximum(np.abs(table["median"].to_numpy()), 1e-300)
    past, ahead = grid <= seen, grid >= seen
    # One run names its band and its forecast; of several, only the runs.
    band, forecast = (f"{100 * level:g}% band", "forecast") if single else ("_", "_")
    axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, label=band)
    label = f"{name}: not described by its law" if fit.misfit else name
    # The marker stands where the last checkpoint was seen.
    last = {"marker": marker, "markevery": [int(past.sum()) - 1]}
    axes.plot(x[past], middle[past], color=colour, label=label, **last)
    axes.plot(x[ahead], middle[ahead], color=colour, linestyle=(0, (3, 1.5)), label=forecast)
    return float(middle[past].min()), float(middle[past].max())
