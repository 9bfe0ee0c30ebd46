"""The same posterior by PyMC: the break summed out on its grid, the rest sampled by NUTS.

Summing over the break leaves a smooth density in the linear parameters and the scatter, so that the
sampler meets neither kinks nor a discrete parameter; the break is then drawn exactly given them.
Priors are those of `posterior_grid`, which checks this engine and is checked by it.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from sparsefit.errors import MissingDependencyError
from sparsefit.estimation.convergence import convergence
from sparsefit.width_depth.kernel import Array
from sparsefit.width_depth.posterior_grid import Cells


class NutsPosterior(NamedTuple):
    """Draws (m, 4) of a, b, tau, s in internal units, and how the sampling went."""

    draws: Array
    diagnostics: dict[str, float]


def nuts_posterior(
    x: Array,
    y: Array,
    se: Array | None,
    rising: bool,
    start: Array,
    cells: Cells,
    draws: int,
    chains: int,
    seed: int,
) -> NutsPosterior:
    """Sample the posterior.

    Parameters
    ----------
    x, y, se, rising
        As in `posterior_grid.grid_posterior`.
    start : ndarray, shape (4,)
        Point estimates of a, b, tau, s to start and to scale by.
    cells : Cells
        Grid of the break.
    draws, chains, seed : int
        Draws per chain, chains, seed.

    Raises
    ------
    MissingDependencyError
        Without PyMC.
    """
    try:
        with warnings.catch_warnings():
            # Notices about their own future, one a day, are not the caller's business.
            warnings.simplefilter("ignore")
            import arviz  # noqa: F401
            import pymc as pm
            import pytensor.tensor as pt
    except ImportError as error:
        raise MissingDependencyError.for_extra(
            error.name or "pymc", "bayes", "The engine 'nuts'"
        ) from error

    capped = np.minimum(x[None, :], cells.middle[:, None])
    log_prior = np.log(cells.prior)
    with pm.Model():
        linear = _linear(x, start, rising)
        scatter = _scatter(start, se is None)
        variance = scatter**2 * np.ones_like(x) if se is None else scatter**2 + se**2
        residual = y - linear[0] - linear[1] * capped
        log_density = -0.5 * pt.sum(residual**2 / variance + pt.log(variance), axis=1)
        pm.Potential("marginal", pm.math.logsumexp(log_density + log_prior))
        pm.Deterministic("linear", linear)
        pm.Deterministic("scatter", scatter)
        trace: Any = pm.sample(
            draws=draws,
            tune=max(500, draws),
            chains=chains,
            cores=1,
            random_seed=seed,
            # Weak signals leave several breaks plausible: curved ridges.
            target_accept=0.95,
            progressbar=False,
            compute_convergence_checks=False,
        )
    linear_draws = trace.posterior["linear"].to_numpy()
    scatter_draws = trace.posterior["scatter"].to_numpy()
    found = convergence(np.concatenate([linear_draws, scatter_draws[:, :, None]], axis=2))
    diagnostics = {
        "divergences": float(trace.sample_stats["diverging"].sum()),
        "max_rhat": found.rhat,
        "min_ess_bulk": found.bulk,
        "min_ess_tail": found.tail,
    }
    flat = linear_draws.reshape(-1, 2)
    s = scatter_draws.reshape(-1)
    return NutsPosterior(_with_break(x, y, se, cells, flat, s, seed), diagnostics)


def _linear(x: Array, start: Array, rising: bool) -> Any:
    """Level and slope, sampled around the least-squares fit in units of their own errors."""
    import pymc as pm
    import pytensor.tensor as pt

    columns = np.column_stack([np.ones_like(x), np.minimum(x, start[2])])
    root = np.linalg.cholesky(np.linalg.inv(columns.T @ columns)) * max(float(start[3]), 1e-6)
    z = pm.Flat("z", shape=2, initval=np.zeros(2))
    if not rising:
        return pt.as_tensor_variable(start[:2]) + pt.dot(root, z)
    # The slope as a softplus in units of its error, with the Jacobian that keeps its density flat:
    # straight far from 0, a logarithm next to it. The level is sampled at the points' mean ratio,
    # where it hardly depends on the slope.
    unit = float(np.hypot(*root[1]))
    first = max(float(start[1]) / unit, 0.5)
    at = first + np.log(-np.expm1(-first)) + z[1]
    pm.Potential("flat_slope", -pt.softplus(-at))
    slope = unit * pt.softplus(at)
    centre = float(columns[:, 1].mean())
    level = float(start[0] + start[1] * centre)
    spread = max(float(start[3]), 1e-6) / np.sqrt(len(x))
    return pt.stack([level + spread * z[0] - slope * centre, slope])


def _scatter(start: Array, alone: bool) -> Any:
    """Scatter of the points: all that there is of it (`alone`), or beyond their standard errors."""
    import pymc as pm
    import pytensor.tensor as pt

    if not alone:
        return pm.HalfNormal("s", 1.0, initval=max(float(start[3]), 1e-3))
    # Density 1/s, cut far outside of anything plausible to be proper.
    middle = np.log(start[3])
    return pt.exp(pm.Uniform("log_s", middle - 7.0, middle + 7.0, initval=middle))


def _with_break(
    x: Array,
    y: Array,
    se: Array | None,
    cells: Cells,
    linear: Array,
    s: Array,
    seed: int,
) -> Array:
    """Draw the break given the other parameters."""
    rng = np.random.default_rng(seed)
    capped = np.minimum(x[None, :], cells.middle[:, None])
    log_prior = np.log(cells.prior)
    variance = s[:, None] ** 2 + (np.zeros_like(x) if se is None else se**2)
    at = np.empty(len(s))
    for i, (a, b) in enumerate(linear):
        residual = y - a - b * capped
        log_weight = log_prior - 0.5 * np.sum(residual**2 / variance[i], axis=1)
        weight = np.exp(log_weight - log_weight.max())
        cell = rng.choice(len(log_prior), p=weight / weight.sum())
        at[i] = rng.uniform(cells.edges[cell], cells.edges[cell + 1])
    return np.column_stack([linear, at, s])
