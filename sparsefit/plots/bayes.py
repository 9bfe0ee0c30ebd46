"""Figures of Bayesian fits: prior and posterior, limits by size; the rest is that of any fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit.checks import check_choice
from sparsefit.errors import ArgumentError
from sparsefit.plots import style as looks
from sparsefit.plots.canvas import RESPONSE_LABELS, new_axes, run_text, token_axis
from sparsefit.seeds import Rng, seed_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparsefit.bayes.pooled_result import PooledFits
    from sparsefit.bayes.result import BayesFit
    from sparsefit.estimation.draws import Draws
    from sparsefit.results.fit import Fit

Array = NDArray[np.float64]

_BINS = 60
_NAMES = {
    "limit": "limit",
    "alpha": "alpha",
    "change": "change over the data",
    "sigma": "noise scale at the last point",
}


def prior(
    fit: BayesFit,
    ax: Axes | None = None,
    *,
    quantity: str = "limit",
    rng: Rng = 0,
    style: looks.Style = None,
) -> Axes:
    """Draw prior and posterior of one quantity: the more they differ, the more the data said.

    Both densities are scaled to a peak of 1. Of a pooled run, the prior is that of a run alone.

    Parameters
    ----------
    fit : BayesFit
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    quantity : str
        ``"limit"``, ``"alpha"``, ``"change"`` (over the data) or ``"sigma"``.
    rng : int or numpy.random.Generator
        Seed of the prior draws, or a Generator that gives one.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    from sparsefit.bayes.to_arviz import prior_draws

    if not hasattr(fit, "posterior"):
        raise ArgumentError(f"prior draws one run of sf.fit_bayes, got {type(fit).__name__}")
    check_choice("quantity", quantity, tuple(_NAMES))
    before = _quantity(fit, prior_draws(fit, 10000, seed_of(rng)), quantity)
    after = _quantity(fit, fit.averaged.draws, quantity)
    logged = quantity != "limit" or fit.response != "activation_ratio"
    with looks.applied(style):
        axes = new_axes(ax)
        for values, colour, label in (
            (before, looks.GREY, "prior"),
            (after, looks.BLUE, "posterior"),
        ):
            low, high = np.quantile(values, [0.001, 0.999])
            spaced = np.geomspace if logged else np.linspace
            counts, edges = np.histogram(values, spaced(low, high, _BINS))
            density = counts / np.diff(np.log(edges) if logged else edges)
            axes.stairs(
                density / density.max(), edges, fill=True, color=colour, alpha=0.6, label=label
            )
        if logged:
            axes.set_xscale("log")
        axes.set_ylim(0.0, None)
        unit = RESPONSE_LABELS[fit.response]
        named = f"{_NAMES[quantity]} {unit}" if quantity == "limit" else _NAMES[quantity]
        axes.set_xlabel(named)
        axes.set_ylabel("density (peak = 1)")
        axes.set_title(run_text(fit.run))
        axes.legend()
    return axes


def _quantity(fit: BayesFit, draws: Draws, name: str) -> Array:
    if name == "limit":
        return draws.limit
    if name == "alpha":
        return draws.shape[:, 0]
    if name == "sigma":
        return draws.sigma
    ends = draws.curve(fit.law, np.array(draws.span))
    return np.abs(ends[:, 1] - ends[:, 0])


def pooled_limits(
    fits: PooledFits, ax: Axes | None = None, *, level: float = 0.9, style: looks.Style = None
) -> Axes:
    """Draw the limits of runs against their size, alone and pooled (compare Fig. 7).

    Runs of one size stand side by side. An arrow is an end that the data do not bound.

    Parameters
    ----------
    fits : PooledFits
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    level : float
        Level of the intervals.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    if not hasattr(fits, "alone"):
        raise ArgumentError(
            f'pooled_limits draws what sf.fit_bayes(..., pool="scale") returns, got '
            f"{type(fits).__name__}"
        )
    with looks.applied(style):
        axes = new_axes(ax)
        axes.set_xscale("log")
        _size_limits(axes, list(fits.alone.values()), level, 0.97, looks.GREY, "o", "alone")
        _size_limits(axes, list(fits.fits.values()), level, 1.03, looks.BLUE, "s", "pooled")
        token_axis(axes, label="non-embedding parameters")
        unit = RESPONSE_LABELS[next(iter(fits.fits.values())).response]
        axes.set_ylabel(f"limit {unit}, {100 * level:g}% interval")
        axes.legend()
    return axes


def _size_limits(
    axes: Axes,
    fits: list[Fit],
    level: float,
    shift: float,
    colour: str,
    marker: str,
    label: str,
) -> None:
    """Draw the limits of all runs, `shift` times their size so that two sets do not overlap."""
    limits = [fit.limit(level) for fit in fits]
    sizes = shift * _side_by_side(np.array([float(fit.n_params or np.nan) for fit in fits]))
    lower = np.array([limit.lower for limit in limits])
    upper = np.array([limit.upper for limit in limits])
    axes.vlines(sizes, lower, upper, color=colour)
    middle = np.array([limit.estimate for limit in limits])
    axes.plot(sizes, middle, marker, color=colour, label=label)
    free = ~np.array([limit.bounded for limit in limits])
    for ends, is_free, arrow in ((lower, free[:, 0], "v"), (upper, free[:, 1], "^")):
        axes.plot(sizes[is_free], ends[is_free], arrow, color=colour, markersize=6, clip_on=False)


def _side_by_side(sizes: Array) -> Array:
    """Move runs of one size apart on the logarithmic axis, about that size."""
    moved = sizes.copy()
    for size in np.unique(sizes[np.isfinite(sizes)]):
        same = np.flatnonzero(sizes == size)
        step = min(1.12, 1.5 ** (1.0 / len(same)))
        moved[same] *= step ** (np.arange(len(same)) - (len(same) - 1) / 2)
    return moved
