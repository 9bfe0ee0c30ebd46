"""Draws with a known density that lie where the posterior does.

Cells of the evidence grid are drawn by weight, shapes uniformly within them; given the shape the
limit is drawn from its Student-t conditional truncated to the physical bounds, then the noise scale
given the limit, then the amplitude. This is the posterior under flat priors and Gaussian noise, so
the weights of `importance` only have to turn it into the one asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, log_ndtr, stdtr, stdtrit

from sparsefit.bayes.likelihood import student_log_density
from sparsefit.estimation.draws import Draws, conditionals, truncated_normal
from sparsefit.estimation.quadrature import Cells, Problem

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Proposal:
    """Draws and their log density over (log shape, amplitude, limit, log sigma, noise, warm-up)."""

    draws: Draws
    log_density: Array


def _truncated_student(
    centre: Array, scale: Array, dof: Array, bounds: tuple[float, float], u: Array
) -> tuple[Array, Array]:
    """Truncated Student-t draws and their log density."""
    lower, upper = (bounds[0] - centre) / scale, (min(bounds[1], 1e6) - centre) / scale
    # Work in the lower tail, where the distribution function is precise.
    flip = lower > 0
    low, high = np.where(flip, -upper, lower), np.where(flip, -lower, upper)
    p_low, p_high = stdtr(dof, low), stdtr(dof, high)
    mass = np.maximum(p_high - p_low, 1e-300)
    t = stdtrit(dof, np.clip(p_low + u * mass, 1e-300, 1 - 1e-16))
    t = np.clip(t, low, high)
    constant = gammaln((dof + 1) / 2) - gammaln(dof / 2) - 0.5 * np.log(np.pi * dof)
    log_density = constant - (dof + 1) / 2 * np.log1p(t * t / dof) - np.log(scale) - np.log(mass)
    value = centre + scale * np.where(flip, -t, t)
    return np.clip(value, bounds[0], min(bounds[1], 1e6)), log_density


def propose(
    problem: Problem,
    cells: Cells,
    size: int,
    rng: np.random.Generator,
    known: float = 0.0,
) -> Proposal:
    """Draw from the flat-prior posterior.

    Parameters
    ----------
    problem, cells : Problem, Cells
        Result of `quadrature.integrate`.
    size : int
        Number of draws.
    rng : numpy.random.Generator
        Source of randomness.
    known : float
        Typical measured standard error. The noise found is then partly known: half of the draws
        get a smaller scale for the unknown part.
    """
    weight = cells.weight.ravel()
    cumulative = np.cumsum(weight)
    at = (np.arange(size) + rng.random(size)) / size * cumulative[-1]
    picks = np.minimum(np.searchsorted(cumulative, at), weight.size - 1)
    noise, which, cell = np.unravel_index(picks, cells.log_weight.shape)
    drop = problem.drops[which]
    jitter = 2.0 * rng.random((size, problem.law.n_shape)) - 1.0
    log_shape = cells.centre[cell] + cells.half[cell] * jitter
    log_density = np.log(weight[picks] / cumulative[-1]) - np.log(2 * cells.half[cell]).sum(axis=1)

    found = conditionals(problem, log_shape, noise, drop)
    det = np.maximum(found.s_oo * found.s_gg - found.s_og**2, 1e-12 * found.s_oo * found.s_gg)
    limit, log_t = _truncated_student(
        found.limit, found.limit_scale, found.dof, problem.law.limit_bounds, rng.random(size)
    )
    log_density = log_density + log_t
    # sigma given the limit: scaled inverse chi-square with one more degree of freedom.
    sum_squares = found.ssr + (limit - found.limit) ** 2 * det / found.s_gg
    dof = found.dof + 1.0
    total = np.sqrt(sum_squares / rng.chisquare(dof))
    log_total = _log_scale_density(total, sum_squares, dof)
    sigma = total
    if known > 0.0:
        sigma, log_total = _split_noise(total, known, sum_squares, dof, rng)
    log_density = log_density + log_total
    spread = np.hypot(sigma, known) / np.sqrt(found.s_gg)
    mean = found.amplitude - found.s_og / found.s_gg * (limit - found.limit)
    amplitude = truncated_normal(mean, spread, 0.0, np.inf, rng.random(size))
    amplitude = np.maximum(amplitude, 1e-300)
    z = (amplitude - mean) / spread
    log_density = log_density - 0.5 * z**2 - 0.5 * np.log(2 * np.pi) - np.log(spread)
    log_density = log_density - log_ndtr(mean / spread)
    draws = Draws(np.exp(log_shape), amplitude, limit, sigma, noise, drop, problem.points.span)
    return Proposal(draws, log_density)


def _log_scale_density(sigma: Array, sum_squares: Array, dof: Array) -> Array:
    """Log density over log sigma where sum_squares / sigma^2 is chi-square."""
    x = sum_squares / sigma**2
    chi = (dof / 2 - 1) * np.log(x) - x / 2 - dof / 2 * np.log(2.0) - gammaln(dof / 2)
    return np.asarray(chi + np.log(2.0 * x))


# Heavy-tailed proposal of log(unknown / known noise): covers "all of it is measurement error".
_SPLIT_CENTRE, _SPLIT_SCALE, _SPLIT_DOF = -1.0, 1.5, 3.0


def _split_noise(
    total: Array, known: float, sum_squares: Array, dof: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Half the scales as found, half well below the known noise; log density of the mixture."""
    other = known * np.exp(_SPLIT_CENTRE + _SPLIT_SCALE * rng.standard_t(_SPLIT_DOF, total.size))
    sigma = np.where(rng.random(total.size) < 0.5, total, other)
    sigma = np.clip(sigma, 1e-12, None)
    z = (np.log(sigma / known) - _SPLIT_CENTRE) / _SPLIT_SCALE
    log_other = student_log_density(z, _SPLIT_DOF) - np.log(_SPLIT_SCALE)
    log_found = _log_scale_density(sigma, sum_squares, dof)
    return sigma, np.logaddexp(log_found, log_other) - np.log(2.0)
