"""Profile-likelihood intervals whose cut-off is simulated instead of assumed.

With a handful of points the profile of a break is neither quadratic nor chi-squared, so the cut-off
of the likelihood ratio is simulated at every value that is tested ("grid bootstrap", Hansen 1999,
Rev. Econ. Stat. 81, 594-607). For the break itself the simulation is conditional on the sufficient
statistics of the remaining parameters, which makes the test exact for Gaussian errors with weights
known up to a factor (Knowles, Siegmund and Zhang 1991, Biometrika 78, 15-31): given the law
fitted for that break and its residual sum of squares, the direction of the residual vector is
uniform whatever slope, level and variance are. For slopes and levels the break is a further unknown
and the simulation uses its estimate under the value tested.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from sparsefit.width_depth.averaged import exp_average
from sparsefit.width_depth.kernel import Array, orthonormal
from sparsefit.width_depth.models import Constraint, Design

Errors = Literal["gaussian", "wild"]
Over = Literal["sup", "exp"]

# Residual sums of squares under this share of the response's are rounding, not noise.
_EXACT = 1e-22
# Rounding error of a statistic.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Problem:
    """A design with its response and the draws shared by all tests on it.

    Attributes
    ----------
    design : Design
        Model, ratios and weights.
    y : ndarray, shape (n,)
        Response times the square roots of the weights.
    noise : ndarray, shape (m, n)
        Standard normal draws (Gaussian errors) or random signs (wild bootstrap).
    errors : {"gaussian", "wild"}
        How simulated errors are made from `noise`.
    known_share : float
        Share of the errors' variance that given standard errors account for, in [0, 1]; 0 where
        the variance is estimated from the scatter alone.
    rss : float
        Residual sum of squares of the free fit.
    """

    design: Design
    y: Array
    noise: Array
    errors: Errors
    known_share: float
    rss: float

    @property
    def df(self) -> int:
        """Residual degrees of freedom of the free fit."""
        return len(self.y) - self.design.n_mean

    @property
    def floor(self) -> float:
        """Sum of squares below which residuals are rounding error."""
        return _EXACT * float(self.y @ self.y)

    def statistic(self, rss_held: Array, rss_free: Array) -> Array:
        """F-type likelihood ratio: rise of the sum of squares over the error variance."""
        variance = np.maximum(self.known_share, np.maximum(rss_free, self.floor) / self.df)
        return np.maximum(rss_held - rss_free, 0.0) / np.maximum(variance, 1e-300)

    def p_value(self, constraint: Constraint, value: float) -> float:
        """Monte-Carlo p-value of one value of one quantity; 0 for a value outside the model."""
        if not constraint.allows(value):
            return 0.0
        held = constraint.fit(self.design, self.y, value)
        if held.rss - self.rss <= self.floor:
            return 1.0
        if constraint.kernel is None:
            return self.p_value_of_columns(self.design.columns(value))
        observed = float(self.statistic(np.array([held.rss]), np.array([self.rss]))[0])
        # One of the model's mean parameters is held; the break of the held fit counts as estimated.
        df = len(self.y) - self.design.n_mean + 1
        if self.errors == "wild":
            y = held.fitted + self.noise * (self.y - held.fitted) * np.sqrt(len(self.y) / df)
        else:
            # With standard errors `noise` has the errors' own scale already.
            scale = 1.0 if self.known_share > 0 else np.sqrt(held.rss / df)
            y = held.fitted + self.noise * scale
        rss_held = constraint.rss(y, value)
        return _share(observed, self.statistic(rss_held, self.design.kernel.minimise(y).rss))

    def p_value_of_columns(self, columns: Array, over: Over = "sup") -> float:
        """Monte-Carlo p-value of the null that fixed columns hold the whole mean."""
        return self.test_of_columns(columns, over)[1]

    def test_of_columns(self, columns: Array, over: Over = "sup") -> tuple[float, float]:
        """Statistic and Monte-Carlo p-value of the null that fixed columns hold the whole mean.

        Exact for Gaussian errors when no standard errors are given (`known_share` = 0).

        Parameters
        ----------
        columns : ndarray, shape (n, q)
            Weighted columns: the level alone, a level and a slope, or those of two lines.
        over : {"sup", "exp"}
            Statistic: the largest likelihood ratio over all breaks, or their exponential average.
        """
        basis = orthonormal(columns)
        fitted = basis @ (basis.T @ self.y)
        residual = self.y - fitted
        rss = float(residual @ residual)
        held = rss + self._cost(columns, self.y[None])
        statistic = self._largest if over == "sup" else self._averaged
        observed = float(statistic(self.y[None], held)[0])
        if abs(observed) <= _ROUNDING:
            observed = 0.0
        if held[0] - self.rss <= self.floor:
            return observed, 1.0
        if self.errors == "wild":
            leverage = np.einsum("ij,ij->i", basis, basis)
            y = fitted + self.noise * residual / np.sqrt(np.maximum(1.0 - leverage, 1e-3))
            rest = y - (y @ basis) @ basis.T
            rss_held = np.einsum("ij,ij->i", rest, rest)
        else:
            rest = self.noise - (self.noise @ basis) @ basis.T
            rss_held = np.einsum("ij,ij->i", rest, rest)
            if self.known_share == 0:
                rest = rest * np.sqrt(rss / rss_held)[:, None]
                rss_held = np.full(len(rest), rss)
            y = fitted + rest
        return observed, _share(observed, statistic(y, rss_held + self._cost(columns, y)))

    def _cost(self, columns: Array, y: Array) -> Array:
        """Rise of the sums of squares where a level takes the place of a falling line, (m,)."""
        if not self.design.rising or columns.shape[1] == 1:
            return np.zeros(len(y))
        level, slope = columns.T
        direction = slope - level * (level @ slope) / (level @ level)
        fall = np.minimum(y @ direction, 0.0)
        return np.asarray(fall**2 / (direction @ direction))

    def _largest(self, y: Array, rss_held: Array) -> Array:
        return self.statistic(rss_held, self.design.kernel.minimise(y).rss)

    def _averaged(self, y: Array, rss_held: Array) -> Array:
        return exp_average(self.design, y, rss_held, self.known_share, self.floor)


def _share(observed: float, simulated: Array) -> float:
    """p-value: share of the simulated statistics that reach the observed one."""
    # Statistics that differ by rounding are equal: where the law cannot rise, all of them are 0.
    reached = np.count_nonzero(simulated >= observed - _ROUNDING * (1.0 + abs(observed)))
    # The observed sample counts as one draw: valid at every number of draws.
    return float((1 + reached) / (1 + len(simulated)))


def draw_noise(rng: np.random.Generator, draws: int, n: int, errors: Errors) -> Array:
    """Draws shared by all tests of one fit, shape (draws, n)."""
    if errors == "wild":
        return rng.choice(np.array([-1.0, 1.0]), size=(draws, n))
    return rng.standard_normal((draws, n))


class BreakSet(NamedTuple):
    """Confidence set of the break.

    Attributes
    ----------
    lower, upper : float
        Hull of the set; infinite where the set reaches an end (internal units).
    grid, p_values : ndarray
        The profile of p-values behind it.
    """

    lower: float
    upper: float
    grid: Array
    p_values: Array


def break_profile(problem: Problem, per_stretch: int = 5, most: int = 60) -> tuple[Array, Array]:
    """p-values of the break on a grid over all breaks that the points can tell apart."""
    first, last = problem.design.ends
    knots = problem.design.knots
    inside = knots[(knots >= first) & (knots <= last)]
    per = max(1, min(per_stretch, most // max(len(inside) - 1, 1)))
    pieces = [np.linspace(a, b, per, endpoint=False) for a, b in pairwise(inside)]
    best = problem.design.kernel.minimise(problem.y[None]).at
    grid = np.unique(np.concatenate([*pieces, [last], best]))
    constraint = problem.design.constraint("breakpoint")
    return grid, np.array([problem.p_value(constraint, float(t)) for t in grid])


def break_set(problem: Problem, grid: Array, p_values: Array, alpha: float) -> BreakSet:
    """Hull of the breaks that the test at level `alpha` does not reject."""
    kept = np.flatnonzero(p_values > alpha)
    constraint = problem.design.constraint("breakpoint")

    def accepted(t: float) -> bool:
        return problem.p_value(constraint, t) > alpha

    first, last = int(kept[0]), int(kept[-1])
    best = float(grid[int(np.argmax(p_values))])
    tiny = 1e-9 * float(grid[-1] - grid[0])
    lower, upper = -np.inf, np.inf
    if first > 0:
        lower = _bisect(accepted, float(grid[first]), float(grid[first - 1]), best, tiny)
    if last < len(grid) - 1:
        upper = _bisect(accepted, float(grid[last]), float(grid[last + 1]), best, tiny)
    return BreakSet(lower, upper, grid, p_values)


def interval(
    problem: Problem, constraint: Constraint, estimate: float, step: float, alpha: float
) -> tuple[float, float]:
    """Ends of the values that the test at level `alpha` does not reject.

    Parameters
    ----------
    problem : Problem
        Design, response and draws.
    constraint : Constraint
        The quantity.
    estimate : float
        Its least-squares estimate.
    step : float
        First guess of the half width.
    alpha : float
        1 - level.

    Returns
    -------
    lower, upper : float
        Infinite where no value up to 500 times the first guess is rejected.
    """

    def accepted(value: float) -> bool:
        return problem.p_value(constraint, value) > alpha

    ends = []
    for sign in (-1.0, 1.0):
        inside, reach, outside = estimate, step, None
        while reach <= 500 * step:
            value = estimate + sign * reach
            if accepted(value):
                inside = value
                reach *= 1.7
            else:
                outside = value
                break
        if outside is None:
            ends.append(sign * np.inf)
        else:
            ends.append(_bisect(accepted, inside, outside, estimate, 1e-3 * step))
    return ends[0], ends[1]


def _bisect(
    accepted: Callable[[float], bool], inside: float, outside: float, centre: float, tiny: float
) -> float:
    """Border between an accepted and a rejected value, to 2% of its distance from the centre."""
    while abs(outside - inside) > max(0.02 * abs(outside - centre), tiny):
        middle = 0.5 * (inside + outside)
        if accepted(middle):
            inside = middle
        else:
            outside = middle
    # The border lies between the two: the rejected end keeps the interval from being too short.
    return outside
