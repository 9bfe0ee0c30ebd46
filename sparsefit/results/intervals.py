"""Intervals of the coefficients, by each method that `Fit.conf_int` offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.least_squares import LeastSquares
from sparsefit.estimation.points import Points
from sparsefit.estimation.priors import has_formula
from sparsefit.laws import Law

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit

Array = NDArray[np.float64]

METHODS = ("integrated", "profile", "wald", "bootstrap")

_RESAMPLES = 200


def wald_covariance(law: Law, points: Points, best: LeastSquares) -> Array:
    """Covariance of the coefficients from the curvature at the optimum, shape (p, p).

    Not a number where the curvature says nothing: a coefficient on its bound, a singular matrix.
    """
    p = law.n_parameters
    gradient = law.gradient(points.d, best.theta) * np.sqrt(points.weights)[:, None]
    scale = np.linalg.norm(gradient, axis=0)
    if best.bounds_hit or not np.all(np.isfinite(gradient)) or np.any(scale == 0):
        return np.full((p, p), np.nan)
    normal = (gradient / scale).T @ (gradient / scale)
    if np.linalg.cond(normal) > 1e13:
        return np.full((p, p), np.nan)
    inverse = np.linalg.inv(normal) / np.outer(scale, scale)
    return np.asarray(inverse * best.ssr / (len(points) - p))


def _integrated(fit: Fit, level: float) -> Array:
    tail = (1.0 - level) / 2.0
    ends = np.quantile(fit.averaged.draws.theta(fit.law), [tail, 1 - tail], axis=0).T
    lower, upper = fit.averaged.likelihood.interval(level)
    if not has_formula(fit.law):
        # What a declared density says of the limit is divided out by number, and piles up where
        # many shapes are one curve: the draws' own interval is the safeguard.
        lower, upper = min(lower, ends[-1, 0]), max(upper, ends[-1, 1])
    ends[-1] = lower, upper
    return np.asarray(ends)


def _wald(fit: Fit, level: float) -> Array:
    from scipy.stats import t

    points = fit.points.since(fit.n_warmup)
    se = np.sqrt(np.diag(wald_covariance(fit.law, points, fit.least_squares)))
    reach = t.ppf(0.5 + level / 2.0, len(points) - fit.law.n_parameters) * se
    theta = fit.least_squares.theta
    lower = np.array([parameter.lower for parameter in fit.law.parameters])
    upper = np.array([parameter.upper for parameter in fit.law.parameters])
    return np.clip(np.stack([theta - reach, theta + reach], axis=1), lower[:, None], upper[:, None])


def _bootstrap(fit: Fit, level: float, seed: int) -> Array:
    from sparsefit.estimation.bootstrap import bootstrap_thetas

    tail = (1.0 - level) / 2.0
    points = fit.points.since(fit.n_warmup)
    generator = np.random.default_rng(seed)
    thetas = bootstrap_thetas(fit.law, points, fit.least_squares, _RESAMPLES, generator)
    return np.asarray(np.quantile(thetas, [tail, 1 - tail], axis=0).T)


def coefficient_intervals(fit: Fit, level: float, method: str, seed: int) -> Array:
    """Interval of each coefficient, shape (p, 2).

    Parameters
    ----------
    fit : Fit
        The fit.
    level : float
        Confidence level in (0, 1).
    method : str
        One of `METHODS`, see `Fit.conf_int`.
    seed : int
        Seed of the bootstrap.
    """
    if method == "integrated":
        return _integrated(fit, level)
    if method == "wald":
        return _wald(fit, level)
    if method == "bootstrap":
        return _bootstrap(fit, level, seed)
    from sparsefit.estimation.profile import profile_intervals

    return profile_intervals(fit.law, fit.points.since(fit.n_warmup), fit.least_squares, level)
