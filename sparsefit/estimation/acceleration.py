"""Do the points bend the way in which a law with an edge in log D cannot?

Eq. 5 slows down in log D wherever its limit is: at alpha -> 0 it is a straight line. Points that
speed up in log D leave it, and its forecast then flattens too early.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as t_distribution

Array = NDArray[np.float64]

_MOST_CORRELATION = 0.7


def acceleration_p_value(log_d: Array, signed: Array) -> float:
    """One-sided p-value of "no acceleration" from a parabola in log D.

    Parameters
    ----------
    log_d : ndarray, shape (n,)
        Log of D, increasing.
    signed : ndarray, shape (n,)
        Response in the direction of the law: it grows towards the limit.

    Returns
    -------
    float
        Probability of a bend at least this much upwards if the points followed a straight line, the
        limiting form of the law; 1 with fewer than 6 points. The standard error allows for the
        lag-1 correlation of the residuals.
    """
    n = len(log_d)
    if n < 6:
        return 1.0
    x = (log_d - log_d.mean()) / np.ptp(log_d)
    design = np.stack([np.ones(n), x, x**2], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, signed, rcond=None)
    residual = signed - design @ coefficients
    square = float(residual @ residual)
    if square <= (1e-9 * np.ptp(signed)) ** 2 * n:
        return 0.0 if coefficients[2] > 1e-6 * np.ptp(signed) else 1.0
    # A fit of three coefficients hides about 3/n of the correlation.
    lag1 = float(residual[1:] @ residual[:-1]) / square + 3.0 / n
    lag1 = float(np.clip(lag1, 0.0, _MOST_CORRELATION))
    variance = square / (n - 3) * np.linalg.inv(design.T @ design)[2, 2]
    statistic = coefficients[2] / np.sqrt(variance * (1.0 + lag1) / (1.0 - lag1))
    return float(t_distribution.sf(statistic, n - 3))
