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

from sparsefit.estimation.draws import Sample
from sparsefit.estimation.evidence import normal_score
from sparsefit.estimation.quadrature import Problem

Array = NDArray[np.float64]


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
        Degrees of freedom behind the cut-off.
    bounds : tuple of float
        Physical bounds of the limit.
    """

    limit: Array
    relative: Array
    dof: float
    bounds: tuple[float, float]

    def interval(self, level: float) -> tuple[float, float]:
        """Limits whose relative likelihood is above the Student-t cut-off of `level`.

        Gaussian data with a known shape make this the exact t interval.
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
        return lower, upper


def limit_likelihood(problem: Problem, sample: Sample) -> LimitLikelihood:
    """Rao-Blackwell estimate of the limit's integrated likelihood from a sample.

    Each draw contributes its exact Student-t conditional of the limit, so the estimate is smooth
    and reaches the tails.
    """
    law, points = problem.law, problem.points
    lower, upper = law.limit_bounds
    upper = min(upper, max(10.0 * float(points.y.max()), 1.0) if np.isinf(upper) else upper)
    draws = sample.draws
    last = float(np.median(draws.curve(law, points.d[-1:])))
    first = float(np.median(draws.curve(law, points.d[:1])))
    change = max(abs(first - last), 1e-3 * points.range)
    noise = float(np.median(draws.sigma))
    # Distance from the last value in the law's direction, up to the physical bound.
    room = max((last - lower) if law.sign > 0 else (upper - last), 1e-6 * change)
    ahead = np.unique(
        np.concatenate([np.geomspace(1e-3 * change, room, 90), np.linspace(0.0, room, 60)[1:]])
    )
    behind = np.geomspace(1e-3 * change, max(change, 4 * noise), 30)
    centre, spread = sample.limit_centre, sample.limit_scale
    quantile = np.clip(np.quantile(centre, [0.05, 0.5, 0.95]), lower, upper)
    width = max((quantile[2] - quantile[0]) / 2, float(np.median(spread)))
    dense = quantile[1] + width * np.linspace(-5.0, 5.0, 121)
    grid = np.concatenate([last - law.sign * ahead, [last], last + law.sign * behind, dense])
    grid = np.unique(np.clip(np.append(grid, [lower, upper]), lower, upper))

    dof = sample.limit_dof
    inside = ndtr(normal_score((upper - centre) / spread, dof)) - ndtr(
        normal_score((lower - centre) / spread, dof)
    )
    scaled = (grid[:, None] - centre) / spread
    kernel = np.exp(-(dof + 1.0) / 2.0 * np.log1p(scaled**2 / dof))
    density = (kernel / (np.maximum(inside, 1e-12) * spread)).sum(axis=1)
    # Closer than the noise, the measure is not resolved by the data and would diverge.
    excess = np.maximum(law.sign * (last - grid), max(noise, 1e-3 * change))
    measure = problem.prior.log_limit_density(excess, change, points.span)
    with np.errstate(divide="ignore"):
        log = np.log(density) - measure
    relative = np.exp(log - log.max())
    return LimitLikelihood(grid, relative, float(np.median(dof)), law.limit_bounds)
