"""Figures of Bayesian fits: prior against posterior, predictive checks, pooling over scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefit.errors import ArgumentError
from sparsefit.plots.canvas import new_axes, run_text, token_axis
from sparsefit.seeds import Rng, seed_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparsefit.bayes.pooled_result import PooledFits
    from sparsefit.bayes.result import BayesFit
    from sparsefit.estimation.draws import Draws

Array = NDArray[np.float64]

_POSTERIOR, _PRIOR, _DATA = "#0072B2", "#7F7F7F", "#000000"


def prior(fit: BayesFit, ax: Axes | None = None, *, quantity: str = "limit", rng: Rng = 0) -> Axes:
    """Prior and posterior of one quantity.

    Parameters
    ----------
    fit : BayesFit
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    quantity : str
        ``"limit"``, ``"alpha"``, ``"change"`` (over the data) or ``"sigma"``.
    rng : int or numpy.random.Generator
        Seed of the prior draws, or what one is drawn from.

    Returns
    -------
    Axes
    """
    from sparsefit.bayes.to_arviz import prior_draws

    axes = new_axes(ax)
    before = _quantity(fit, prior_draws(fit, 4000, seed_of(rng)), quantity)
    after = _quantity(fit, fit.averaged.draws, quantity)
    logged = quantity != "limit" or fit.response != "activation_ratio"
    both = np.concatenate([before, after])
    low, high = np.quantile(both, [0.001, 0.999]) if logged else (0.0, 1.0)
    edges = np.geomspace(low, high, 80) if logged else np.linspace(low, high, 120)
    for values, colour, label in (
        (before, _PRIOR, "prior"),
        (after, _POSTERIOR, "posterior"),
    ):
        axes.hist(
            values,
            edges,
            weights=np.full(values.size, 1.0 / values.size),
            color=colour,
            alpha=0.5,
            label=label,
        )
    if logged:
        axes.set_xscale("log")
    names = {"limit": "limit", "alpha": "alpha", "change": "change over the data"}
    names["sigma"] = "noise scale at the last point"
    axes.set_xlabel(names[quantity])
    axes.set_ylabel("share of draws")
    axes.set_title(run_text(fit.run), fontsize="medium")
    axes.legend(frameon=False)
    return axes


def _quantity(fit: BayesFit, draws: Draws, name: str) -> Array:
    if name == "limit":
        return draws.limit
    if name == "alpha":
        return draws.shape[:, 0]
    if name == "sigma":
        return draws.sigma
    if name == "change":
        ends = draws.curve(fit.law, np.array(draws.span))
        return np.abs(ends[:, 1] - ends[:, 0])
    raise ArgumentError(f"quantity: limit, alpha, change or sigma is expected, got {name!r}.")


def posterior_predictive(
    fit: BayesFit, ax: Axes | None = None, *, tokens: Any = None, level: float = 0.9
) -> Axes:
    """Measurements with the bands of the law and of new measurements, past the data.

    Parameters
    ----------
    fit : BayesFit
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    tokens : array_like, optional
        Raw token counts; by default from the first point to three times the last.
    level : float
        Level of both bands.

    Returns
    -------
    Axes
    """
    axes = new_axes(ax)
    seen = fit.tokens
    grid = np.linspace(seen[0], 3 * seen[-1], 150) if tokens is None else np.asarray(tokens)
    table = fit.forecast(grid, level)
    unit, scale = (
        ("activation ratio (%)", 100.0) if fit.response != "loss" else ("loss (nats)", 1.0)
    )
    percent = f"{100 * level:g}%"
    for lower, upper, alpha, label in (
        ("obs_lower", "obs_upper", 0.18, f"new measurement, {percent}"),
        ("curve_lower", "curve_upper", 0.4, f"law, {percent}"),
    ):
        axes.fill_between(
            grid,
            scale * table[lower],
            scale * table[upper],
            color=_POSTERIOR,
            alpha=alpha,
            linewidth=0,
            label=label,
        )
    axes.plot(grid, scale * table["median"], color=_POSTERIOR, label="posterior median")
    axes.plot(seen, scale * fit.points.y, ".", color=_DATA, markersize=4, label="measured")
    axes.axvline(seen[-1], color="0.6", linewidth=0.8, linestyle=":")
    token_axis(axes)
    axes.set_ylabel(unit)
    name = run_text(fit.run)
    title = name if fit.reliable else f"{name}: DO NOT TRUST (see diagnostics)"
    axes.set_title(title, fontsize="medium")
    axes.legend(frameon=False)
    return axes


def pooled_limits(fits: PooledFits, ax: Axes | None = None, *, level: float = 0.9) -> Axes:
    """Limits of runs against their size, alone and pooled (compare Fig. 7).

    Parameters
    ----------
    fits : PooledFits
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    level : float
        Level of the intervals.

    Returns
    -------
    Axes
    """
    axes = new_axes(ax)
    _size_limits(axes, fits.alone, level, 0.97, _PRIOR, "o", "alone")
    _size_limits(axes, fits.fits, level, 1.03, _POSTERIOR, "s", "pooled")
    axes.set_xscale("log")
    axes.set_xlabel("non-embedding parameters")
    axes.set_ylabel(f"limit activation ratio (%), {100 * level:g}% interval")
    axes.legend(frameon=False)
    return axes


def _size_limits(
    axes: Axes, fits: Any, level: float, shift: float, colour: str, marker: str, label: str
) -> None:
    """Limits of all runs, each a little beside its size so that two sets do not overlap."""
    limits = [fit.limit(level) for fit in fits.values()]
    sizes = np.array([shift * float(fit.n_params or np.nan) for fit in fits.values()])
    lower = np.array([100 * limit.lower for limit in limits])
    upper = np.array([100 * limit.upper for limit in limits])
    axes.vlines(sizes, lower, upper, color=colour)
    middle = np.array([100 * limit.estimate for limit in limits])
    axes.plot(sizes, middle, marker, color=colour, label=label)
