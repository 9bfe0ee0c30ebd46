"""Draws of the law's parameters, from which every derived interval is taken."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from sparsefit.estimation.blocks import blocks
from sparsefit.estimation.evidence import Conditional, cumulative_sums, reversed_basis
from sparsefit.estimation.quadrature import Cells, Problem
from sparsefit.laws import Law

Array = NDArray[np.float64]

# Standard deviations by which an amplitude may be negative before its limit is cut off.
_FAR = 4.0
# Rounds of rejection; what is left then (a share below 1e-3) keeps its last limit.
_TRIES = 30


@dataclass(frozen=True)
class Draws:
    """Equally weighted draws.

    Attributes
    ----------
    shape : ndarray, shape (m, n_shape)
        Shapes of the law relative to `span`.
    amplitude, limit : ndarray, shape (m,)
        Amplitude at the first point of the span, and limit.
    sigma : ndarray, shape (m,)
        Noise scale at the last point.
    noise : ndarray of int, shape (m,)
        Index of the noise model.
    drop : ndarray of int, shape (m,)
        Number of warm-up points left out.
    span : tuple of float
        First and last D that the shapes refer to: of the run, warm-up included, or of the points
        that stay where the warm-up was given.
    """

    shape: Array
    amplitude: Array
    limit: Array
    sigma: Array
    noise: NDArray[np.intp]
    drop: NDArray[np.intp]
    span: tuple[float, float]

    def __len__(self) -> int:
        return int(self.limit.size)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What has an entry for each draw, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "span"}

    def take(self, index: NDArray[np.intp]) -> Draws:
        """Selected draws."""
        chosen = {name: values[index] for name, values in self.arrays.items()}
        return Draws(**chosen, span=self.span)

    def theta(self, law: Law) -> Array:
        """Published coefficients of each draw, shape (m, p)."""
        return law.to_theta(self.shape, self.amplitude, self.limit, self.span)

    def curve(self, law: Law, d: Array) -> Array:
        """Law's mean at D, shape (m, len(d))."""
        return self.curve_of(law, d, np.arange(len(self)))

    def curve_of(self, law: Law, d: Array, chosen: NDArray[np.intp]) -> Array:
        """Law's mean at D of some draws, shape (len(chosen), len(d))."""
        basis = law.sign * law.basis(np.asarray(d, dtype=float), self.shape[chosen], self.span)
        return self.limit[chosen, None] + self.amplitude[chosen, None] * basis


@dataclass(frozen=True)
class Sample:
    """Draws with what is needed to judge them.

    Attributes
    ----------
    draws : Draws
        The draws.
    ess : float
        Effective sample size of the importance weights before resampling.
    limit_centre, limit_scale, limit_dof : ndarray, shape (m,)
        Student-t conditional of the limit behind each draw (before truncation to its bounds).
    """

    draws: Draws
    ess: float
    limit_centre: Array
    limit_scale: Array
    limit_dof: Array


def stratified(weights: Array, size: int, shift: Array | float) -> NDArray[np.intp]:
    """Indices in proportion to weights, ascending, from as many equal strata as are drawn.

    Parameters
    ----------
    weights : ndarray, shape (m,)
        Not negative, of any sum.
    size : int
        Number of indices.
    shift : float or ndarray, shape (size,)
        Uniform on [0, 1): the place in each stratum, or in all of them (systematic resampling).
    """
    cumulative = np.cumsum(weights)
    at = (np.arange(size) + shift) / size * cumulative[-1]
    return np.minimum(np.searchsorted(cumulative, at), cumulative.size - 1)


def truncated_normal(
    mean: Array, sd: Array, lower: float | Array, upper: float | Array, u: Array
) -> Array:
    """Normal draws truncated to [lower, upper] by inversion of uniforms `u`, safe in the tails."""
    a, b = (lower - mean) / sd, (upper - mean) / sd
    flip = a > 0
    low, high = np.where(flip, -b, a), np.where(flip, -a, b)
    p_low, p_high = ndtr(low), ndtr(high)
    z = ndtri(np.clip(p_low + u * (p_high - p_low), 1e-300, 1.0 - 1e-16))
    return np.clip(mean + sd * np.where(flip, -z, z), lower, upper)


def linear_pair(
    found: Conditional, sigma: Array, bounds: tuple[float, float], rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw (limit, amplitude) from their normal conditional inside both bounds at once.

    Where a shape hardly differs from a constant, limit and amplitude are almost collinear: a limit
    that lies inside its own bounds can leave no positive amplitude at all. Such limits are cut off
    or rejected, so that every pair describes the data as well as its shape allows.

    Parameters
    ----------
    found : Conditional
        Unconstrained least-squares pairs, shape (m,).
    sigma : ndarray, shape (m,)
        Noise scales.
    bounds : tuple of float
        Physical bounds of the limit; the amplitude is positive.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    limit, amplitude : ndarray, shape (m,)
    """
    limit_sd = sigma * found.unit_limit_sd
    amplitude_sd = sigma / np.sqrt(found.s_gg)
    slope = found.s_og / found.s_gg
    # Beyond this limit the amplitude would have to be negative by _FAR standard deviations.
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = found.limit + (found.amplitude + _FAR * amplitude_sd) / slope
    lower, upper = bounds[0], min(bounds[1], 1e12)
    low = np.where(slope < 0, np.maximum(lower, reach), lower)
    high = np.where(slope > 0, np.minimum(upper, reach), upper)
    # No limit within its bounds goes with a positive amplitude: the nearest bound is the best.
    empty = low >= high
    low = np.where(empty, np.where(slope > 0, lower, upper), low)
    high = np.where(empty, low, high)

    limit = np.empty(sigma.size)
    left = np.arange(sigma.size)
    for _ in range(_TRIES):
        limit[left] = truncated_normal(
            found.limit[left], limit_sd[left], low[left], high[left], rng.random(left.size)
        )
        mean = found.amplitude[left] - slope[left] * (limit[left] - found.limit[left])
        left = left[rng.random(left.size) > ndtr(mean / amplitude_sd[left])]
        if not left.size:
            break
    mean = found.amplitude - slope * (limit - found.limit)
    amplitude = truncated_normal(mean, amplitude_sd, 0.0, np.inf, rng.random(sigma.size))
    return limit, amplitude


def conditionals(
    problem: Problem,
    log_shape: Array,
    noise: NDArray[np.intp],
    drop: NDArray[np.intp],
    which: NDArray[np.intp] | None = None,
) -> Conditional:
    """Conditional of each entry at its own shape, noise model and number of points left out.

    `which` gives each entry's row of `log_shape` where entries share shapes; without it there is
    one row an entry.
    """
    which = np.arange(noise.size) if which is None else which
    n, m = len(problem.points), noise.size
    parts: dict[str, Array] = {}
    for block in blocks(n, len(log_shape)):
        basis = reversed_basis(problem.law, problem.points, np.exp(log_shape[block]))
        inside = (which >= block.start) & (which < block.stop)
        for j in np.unique(noise[inside]):
            chosen = np.flatnonzero(inside & (noise == j))
            # Entries that share a shape are whitened once.
            rows, column = np.unique(which[chosen], return_inverse=True)
            sizes, row = np.unique(n - drop[chosen], return_inverse=True)
            sums = cumulative_sums(
                problem.points, problem.whiteners[j], basis[:, rows - block.start], sizes
            )
            # The first four do not depend on the shape.
            at = tuple(v[row, 0] if i < 4 else v[row, column] for i, v in enumerate(sums))
            found = problem.conditional(at, n - drop[chosen], j)
            for name, values in vars(found).items():
                parts.setdefault(name, np.empty(m))[chosen] = values
    return Conditional(**parts)


def sample(problem: Problem, cells: Cells, size: int, rng: np.random.Generator) -> Sample:
    """Draw from the integrated likelihood: cells by weight, then exactly within the cell.

    Parameters
    ----------
    problem, cells : Problem, Cells
        Result of `quadrature.integrate`.
    size : int
        Number of draws.
    rng : numpy.random.Generator
        Source of randomness.
    """
    proposed = cells.proposal().ravel()
    picks = stratified(proposed, size, rng.random(size))
    noise, which_drop, cell = np.unravel_index(picks, cells.log_weight.shape)
    drop = problem.drops[which_drop]
    jitter = 2.0 * rng.random((size, problem.law.n_shape)) - 1.0
    log_shape = cells.centre[cell] + cells.half[cell] * jitter
    found = conditionals(problem, log_shape, noise, drop)
    priors = [
        np.log(model.prior / problem.drops_of(j).size) for j, model in enumerate(problem.noises)
    ]
    target = (
        found.log_evidence
        + np.array(priors)[noise]
        + problem.prior.log_density(np.exp(log_shape), problem.points.span)
        + log_shape.sum(1)
    )
    density = np.log(proposed[picks]) - np.log(2 * cells.half[cell]).sum(1)
    log_weights = target - density
    importance = np.exp(log_weights - log_weights.max())
    ess = float(importance.sum() ** 2 / (importance**2).sum())
    again = stratified(importance, size, rng.random())
    found = Conditional(**{name: values[again] for name, values in vars(found).items()})
    noise, drop, log_shape = noise[again], drop[again], log_shape[again]

    sigma = np.sqrt(found.ssr / rng.chisquare(found.dof))
    limit, amplitude = linear_pair(found, sigma, problem.law.limit_bounds, rng)
    amplitude = np.maximum(amplitude, 1e-12 * problem.points.range)
    draws = Draws(np.exp(log_shape), amplitude, limit, sigma, noise, drop, problem.points.span)
    return Sample(draws, ess, found.limit, found.limit_scale, found.dof)
