"""Integrated likelihood of the limit and the interval that it supports.

The posterior of the limit under the reference measure, divided by that measure, is the likelihood
of the limit with everything else integrated out. Where the data say nothing about the limit it is
flat and the interval reaches the physical bound, whatever the measure: that is how "not identified"
shows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import t as student_t

from sparsefit.estimation.draws import Sample, conditionals
from sparsefit.estimation.evidence import normal_score
from sparsefit.estimation.quadrature import Cells, Problem

Array = NDArray[np.float64]

BARELY = 0.5
"""A physical bound whose likelihood is this share of the cut-off has not been excluded either."""

# Points within this factor in D may tell less of the change over them than noise hides; it takes
# part in the measure with so many of its quantiles.
_NARROW, _CHANGES = 2.0, 50

# Cells that carry the likelihood; the rest has under a thousandth of the weight.
_CELLS = 12000


@dataclass(frozen=True)
class LimitLikelihood:
    """Relative integrated likelihood of the limit on a grid.

    Attributes
    ----------
    limit : ndarray, shape (q,)
        Limits, ascending, from bound to bound as far as the likelihood reaches.
    relative : ndarray, shape (q,)
        Likelihood divided by its maximum.
    dof : float
        Degrees of freedom behind the cut-off: points kept minus coefficients, at least 1.
    bounds : tuple of float
        Physical bounds of the limit.
    """

    limit: Array
    relative: Array
    dof: float
    bounds: tuple[float, float]

    def interval(self, level: float) -> tuple[float, float]:
        """Limits whose relative likelihood is above the Student-t cut-off of `level`.

        Gaussian data make this the exact t interval where the law is linear in its shape.
        """
        t = student_t.ppf(0.5 + level / 2.0, self.dof)
        cut = -(self.dof + 1.0) / 2.0 * np.log1p(t * t / self.dof)
        log = np.log(np.maximum(self.relative, 1e-300))
        inside = np.flatnonzero(log >= cut)
        first, last = int(inside[0]), int(inside[-1])
        lower, upper = float(self.limit[first]), float(self.limit[last])
        if first > 0:
            lower = float(
                np.interp(cut, log[first - 1 : first + 1], self.limit[first - 1 : first + 1])
            )
        if last < self.limit.size - 1:
            upper = float(np.interp(-cut, -log[last : last + 2], self.limit[last : last + 2]))
        # The cut-off is approximate, and a likelihood that levels off just below it says little.
        barely = cut + np.log(BARELY)
        if log[0] >= barely:
            lower = self.bounds[0]
        if log[-1] >= barely:
            upper = self.bounds[1]
        return lower, upper

    def level_reaching(self, end: int) -> float:
        """Confidence level from which on an interval reaches a physical bound.

        Parameters
        ----------
        end : {0, -1}
            The lower bound or the upper one.
        """
        log = np.log(max(float(self.relative[end]), 1e-300)) - np.log(BARELY)
        t = np.sqrt(self.dof * np.expm1(max(-2.0 * log / (self.dof + 1.0), 0.0)))
        return float(2.0 * student_t.cdf(t, self.dof) - 1.0)


def _student_t_kernel(t: Array, dof: int) -> Array:
    """Student-t density up to a constant, (1 + t^2 / dof) ** (-(dof + 1) / 2); overwrites `t`."""
    np.square(t, out=t)
    t *= 1.0 / dof
    t += 1.0
    np.sqrt(t, out=t)
    factor = np.divide(1.0, t, out=t)
    # A whole power by repeated squaring takes a third of the time of an exponential.
    out, power = np.ones_like(factor), dof + 1
    while power:
        if power % 2:
            out *= factor
        power //= 2
        if power:
            np.square(factor, out=factor)
    return out


def _log_measure(problem: Problem, excess: Array, changes: Array, typical: float) -> Array:
    """Log of the measure of the excess, given the change over the data.

    Where points within a narrow range of D hardly tell the change, the measure is the mean over its
    draws. That of a typical change says that an excess far below it needs an alpha which the
    measure all but rules out; divided by it, limits near the last value would look likely whatever
    the data.
    """
    span = problem.points.span
    if span[1] >= _NARROW * span[0]:
        return problem.prior.log_limit_density(excess, typical, span)
    some = np.quantile(changes, (np.arange(_CHANGES) + 0.5) / _CHANGES)
    some = np.maximum(some, 1e-3 * typical)
    each = np.stack([problem.prior.log_limit_density(excess, one, span) for one in some])
    top = each.max(axis=0)
    return np.asarray(top + np.log(np.exp(each - top).mean(axis=0)))


def limit_likelihood(problem: Problem, cells: Cells, sample: Sample) -> LimitLikelihood:
    """Integrated likelihood of the limit from the cells of the grid.

    Each cell contributes the Student-t conditional of the limit at its centre, widened by the
    limits within the cell, so the curve is smooth, reaches the tails and holds no Monte Carlo
    error.

    Parameters
    ----------
    problem, cells : Problem, Cells
        Result of `quadrature.integrate`.
    sample : Sample
        Draws, for the scale of the grid only.
    """
    law, points = problem.law, problem.points
    lower, upper = law.limit_bounds
    upper = min(upper, max(10.0 * float(points.y.max()), 1.0) if np.isinf(upper) else upper)
    draws = sample.draws
    ends = draws.curve(law, points.d[[0, -1]])
    first, last = np.median(ends, axis=0).tolist()
    change = max(abs(first - last), 1e-3 * points.range)
    noise = float(np.median(draws.sigma))
    # Distance from the last value in the law's direction, up to the physical bound.
    room = max((last - lower) if law.sign > 0 else (upper - last), 1e-6 * change)
    ahead = np.concatenate([np.geomspace(1e-3 * change, room, 40), np.linspace(0.0, room, 30)[1:]])
    behind = np.geomspace(1e-3 * change, max(change, 4 * noise), 15)
    dense = _around_the_draws(sample, lower, upper)
    grid = np.concatenate([last - law.sign * ahead, [last], last + law.sign * behind, dense])
    grid = np.unique(np.clip(np.append(grid, [lower, upper]), lower, upper))
    density = _density(problem, cells, grid, lower, upper)
    # Closer than the noise, the measure is not resolved by the data and would diverge.
    excess = np.maximum(law.sign * (last - grid), max(noise, 1e-3 * change))
    measure = _log_measure(problem, excess, np.abs(ends[:, 0] - ends[:, 1]), change)
    with np.errstate(divide="ignore"):
        total = np.log(density) - measure
    # Integrating over the shape leaves a likelihood with as many degrees of freedom fewer.
    above = float(np.median(sample.limit_dof)) - law.n_shape
    return LimitLikelihood(
        grid,
        np.exp(total - total.max()),
        max(above, 1.0),
        law.limit_bounds,
    )


def _around_the_draws(sample: Sample, lower: float, upper: float) -> Array:
    """Limits that lie close together where most draws have theirs."""
    quantile = np.clip(np.quantile(sample.limit_centre, [0.05, 0.5, 0.95]), lower, upper)
    width = max((quantile[2] - quantile[0]) / 2, float(np.median(sample.limit_scale)))
    return np.asarray(quantile[1] + width * np.linspace(-4.0, 4.0, 65))


def _density(problem: Problem, cells: Cells, grid: Array, lower: float, upper: float) -> Array:
    """Density of the limit on a grid between its bounds, up to a constant, from all cells."""
    law = problem.law
    heavy = cells.heaviest(_CELLS)
    noise_index, drop, cell = np.unravel_index(heavy, cells.log_weight.shape)
    weight = cells.weight.ravel()[heavy]
    at = (noise_index, problem.drops[drop], cell)
    found = conditionals(problem, cells.centre, *at)
    centre, dof = found.limit, found.dof
    # Where the noise is small, neighbouring cells of Eq. 4 have limits further apart than each is
    # uncertain. A cell stands for all limits within it, or the likelihood would be a comb.
    variance = found.limit_scale**2
    for i in range(law.n_shape):
        quarter = np.zeros(law.n_shape)
        quarter[i] = 0.5
        moved = conditionals(problem, cells.centre + cells.half * quarter, *at)
        variance += (2.0 * (moved.limit - centre)) ** 2
    spread = np.sqrt(variance)
    inside = ndtr(normal_score((upper - centre) / spread, dof)) - ndtr(
        normal_score((lower - centre) / spread, dof)
    )
    share = weight / (np.maximum(inside, 1e-12) * spread)
    density = np.zeros(grid.size)
    for k in np.unique(drop):
        cells_of = drop == k
        # One choice has one number of degrees of freedom.
        freedom = int(dof[cells_of][0])
        t = (grid[:, None] - centre[cells_of]) / spread[cells_of]
        density += _student_t_kernel(t, freedom) @ share[cells_of]
    return density
