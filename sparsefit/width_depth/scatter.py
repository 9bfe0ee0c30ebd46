"""Scatter of the points beyond their own standard errors.

Points around the law differ by more than the standard error of each limit: seeds, data order and
the law's own roughness add a scatter s, so that ``Var y_i = se_i^2 + s^2``. s is estimated by the
method of Paule and Mandel (1982, J. Res. Natl. Bur. Stand. 87, 377-385): the s at which the
weighted residual sum of squares equals its degrees of freedom, 0 where the standard errors alone
already explain the residuals.
"""

from __future__ import annotations

from dataclasses import dataclass
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


@dataclass(frozen=True, eq=False)
class Measured:
    """Points with standard errors, and the model whose residuals are judged.

    Attributes
    ----------
    model : str
        Model.
    sign : {"rising", "any"}
        Slopes that it may have.
    x, y, se : ndarray, shape (n,)
        Ratios, limits and their standard errors, all positive.
    """

    model: ModelName
    sign: Sign
    x: Array
    y: Array
    se: Array

    def rss(self, scatter: float) -> float:
        """Weighted residual sum of squares of the best fit at one extra scatter."""
        fitted = design(self.model, self.x, 1.0 / (self.se**2 + scatter**2), self.sign)
        return float(fitted.kernel.minimise((self.y * fitted.root_weight)[None]).rss[0])

    def scatter(self, df: int) -> float:
        """The extra scatter at which the weighted sum of squares is its degrees of freedom."""
        if self.rss(0.0) <= df:
            return 0.0
        from scipy.optimize import brentq

        upper = self._above(df)
        return float(brentq(lambda s: self.rss(s) - df, 0.0, upper, xtol=1e-6 * upper))

    def plausible_scatters(self, df: int, rng: np.random.Generator, draws: int) -> Array:
        """Draws of s from its confidence distribution, shape (draws,).

        The weighted residual sum of squares at the true s is chi-squared, so the s at which it
        equals a chi-squared draw is a draw from the confidence distribution of s, with its mass at
        0. Simulating errors with one plug-in s instead makes intervals too short where the standard
        errors differ much and s is badly known.
        """
        target = rng.chisquare(df, draws)
        upper = max(self._above(float(np.min(target))), float(np.min(self.se)))
        grid = np.concatenate([[0.0], np.geomspace(1e-3 * upper, upper, 60)])
        q = np.array([self.rss(s) for s in grid])
        return np.interp(-target, -q, grid)

    def _above(self, target: float) -> float:
        """An extra scatter at which the weighted residual sum of squares is below `target`."""
        upper = float(np.mean(self.se))
        while self.rss(upper) > target:
            upper *= 2.0
        return upper


def weights(model: ModelName, x: Array, y: Array, se: Array | None, sign: Sign) -> Weights:
    """Weights from standard errors and the extra scatter that the residuals ask for.

    Parameters
    ----------
    model, sign, x, y, se
        As in `Measured`; `se` may be None.
    """
    df = len(x) - design(model, x, np.ones_like(x)).n_mean
    if se is None:
        return Weights(np.ones_like(x), None, 0.0, df)
    scatter = Measured(model, sign, x, y, se).scatter(df)
    weight = 1.0 / (se**2 + scatter**2)
    return Weights(weight, scatter, float(np.mean(se**2 * weight)), df)
