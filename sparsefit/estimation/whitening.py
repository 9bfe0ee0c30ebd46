"""Residuals made independent, in time and memory that grow with the points, not their square.

All Gaussian noise models are ``load_i s_i + own_i e_i`` with a hidden s that is Markov from
checkpoint to checkpoint: none (white), the whole residual (``ar1``), the discrepancy of the law
(``ou``), or the size of a departure that fades (``transient``). A Kalman filter over the points
therefore gives the Cholesky factorisation of their covariance without the matrix.

Points are taken from the last to the first, so that dropping the first k points of a run means
keeping the leading part of what was whitened.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.noise import NoiseModel
from sparsefit.estimation.points import Points

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Whitener:
    """Filter of one noise model for the points in reversed order.

    Attributes
    ----------
    load : ndarray, shape (n,)
        How much of the hidden value is in each point.
    deviation : ndarray, shape (n,)
        Standard deviation of each point given those before it in reversed order, unit sigma.
    keep, take : ndarray, shape (n,)
        The expected hidden value at the next point is ``keep * expected + take * point``.
    log_det : ndarray, shape (n,)
        Log determinant of the covariance of the last 1, 2, ... points.
    """

    load: Array
    deviation: Array
    keep: Array
    take: Array
    log_det: Array

    @classmethod
    def of(cls, points: Points, noise: NoiseModel, known: Array | None = None) -> Whitener:
        """Filter the variances, which do not depend on the response.

        `known`, shape (n,), are standard deviations on top of the noise model's, unit sigma.
        """
        n = len(points)
        load, own, memory = noise.parts(points)
        if known is not None:
            own = np.hypot(own, known)
        load, own = load[::-1], own[::-1]
        carried = np.append(noise.carried(points)[::-1], 0.0)
        variance, keep, take = np.empty(n), np.empty(n), np.empty(n)
        hidden = memory
        for i in range(n):
            variance[i] = load[i] ** 2 * hidden + own[i] ** 2
            keep[i] = carried[i] * own[i] ** 2 / variance[i]
            take[i] = carried[i] * load[i] * hidden / variance[i]
            left = hidden * own[i] ** 2 / variance[i]
            hidden = carried[i] ** 2 * left + (1.0 - carried[i] ** 2) * memory
        return cls(load, np.sqrt(variance), keep, take, np.cumsum(np.log(variance)))

    def whiten(self, columns: Array) -> Array:
        """Solve with the Cholesky factor.

        Parameters
        ----------
        columns : ndarray, shape (n, m)
            Values at the points in reversed order.

        Returns
        -------
        ndarray, shape (n, m)
            Independent, with unit variance for sigma = 1.
        """
        expected = np.zeros_like(columns)
        if self.take.any():
            np.multiply(self.take[:-1, None], columns[:-1], out=expected[1:])
            if self.keep.any():
                for i in range(1, len(columns) - 1):
                    expected[i + 1] += self.keep[i] * expected[i]
            expected *= self.load[:, None]
        np.subtract(columns, expected, out=expected)
        expected /= self.deviation[:, None]
        return expected
