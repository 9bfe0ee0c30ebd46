"""Scatter of the points beyond their own standard errors.

Points around the law differ by more than the standard error of each limit: seeds, data order and
the law's own roughness add a scatter s, so that ``Var y_i = se_i^2 + s^2``. s is estimated by the
method of Paule and Mandel (1982, J. Res. Natl. Bur. Stand. 87, 377-385): the s at which the
weighted residual sum of squares equals its degrees of freedom, 0 where the standard errors alone
already explain the residuals.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sparsefit.width_depth.kernel import Array
from sparsefit.width_depth.models import ModelName, Sign, design


class Weights(NamedTuple):
    """Weights of the points.

    Attributes
    ----------
    weight : ndarray, shape (n,)
        1 / (se^2 + s^2) with standard errors, else 1.
    scatter : float or None
        s; None where no standard errors were given.
    known_share : float
        Mean share of the variance that the standard errors account for, in [0, 1].
    df : int
        Degrees of freedom behind the estimate of s.
    """

    weight: Array
    scatter: float | None
    known_share: float
    df: int


def weights(model: ModelName, x: Array, y: Array, se: Array | None, sign: Sign = "any") -> Weights:
    """Weights from standard errors and the extra scatter that the residuals ask for.

    Parameters
    ----------
    model : str
        Model whose residuals are judged.
    x, y : ndarray, shape (n,)
        Ratios and limits.
    se : ndarray, shape (n,), or None
        Standard errors, all positive.
    sign : {"rising", "any"}
        Slopes that the model may have.
    """
    df = len(x) - design(model, x, np.ones_like(x)).n_mean
    if se is None:
        return Weights(np.ones_like(x), None, 0.0, df)
    scatter = 0.0
    if weighted_rss(model, x, y, se, 0.0, sign) > df:
        from scipy.optimize import brentq

        upper = _scatter_bound(model, x, y, se, df, sign)
        scatter = float(
            brentq(
                lambda s: weighted_rss(model, x, y, se, s, sign) - df, 0.0, upper, xtol=1e-6 * upper
            )
        )
    weight = 1.0 / (se**2 + scatter**2)
    return Weights(weight, scatter, float(np.mean(se**2 * weight)), df)


def plausible_scatters(
    model: ModelName,
    x: Array,
    y: Array,
    se: Array,
    df: int,
    rng: np.random.Generator,
    draws: int,
    sign: Sign = "any",
) -> Array:
    """Draws of s from its confidence distribution, shape (draws,).

    The weighted residual sum of squares at the true s is chi-squared, so the s at which it equals
    a chi-squared draw is a draw from the confidence distribution of s, with its mass at 0.
    Simulating errors with one plug-in s instead makes intervals too short where the standard errors
    differ much and s is badly known.
    """
    target = rng.chisquare(df, draws)
    lowest = float(np.min(target))
    upper = max(_scatter_bound(model, x, y, se, lowest, sign), float(np.min(se)))
    grid = np.concatenate([[0.0], np.geomspace(1e-3 * upper, upper, 60)])
    q = np.array([weighted_rss(model, x, y, se, s, sign) for s in grid])
    return np.interp(-target, -q, grid)


def weighted_rss(
    model: ModelName, x: Array, y: Array, se: Array, scatter: float, sign: Sign = "any"
) -> float:
    """Weighted residual sum of squares of the best fit at one extra scatter."""
    fitted = design(model, x, 1.0 / (se**2 + scatter**2), sign)
    return float(fitted.kernel.minimise((y * fitted.root_weight)[None]).rss[0])


def _scatter_bound(
    model: ModelName, x: Array, y: Array, se: Array, target: float, sign: Sign
) -> float:
    """An extra scatter at which the weighted residual sum of squares is below `target`."""
    upper = float(np.mean(se))
    while weighted_rss(model, x, y, se, upper, sign) > target:
        upper *= 2.0
    return upper
