"""Scores of a probabilistic forecast at single points: pure functions on arrays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression

Array = NDArray[np.float64]


def crps(sample: Array, observed: Array) -> Array:
    """Continuous ranked probability score of a sample, in the units of the data.

    Parameters
    ----------
    sample : ndarray of shape (m, n)
        m draws (or equally weighted quantiles) for each of n points, in any order.
    observed : ndarray of shape (n,)
        What was measured.

    Returns
    -------
    ndarray of shape (n,)
        E|X - y| - E|X - X'| / 2 over the sample's own distribution (lower is better; for a single
        value it is the absolute error).

    References
    ----------
    Gneiting & Raftery (2007), Strictly proper scoring rules, JASA 102, Eq. 21.
    """
    ordered = np.sort(sample, axis=0)
    count = ordered.shape[0]
    # Sum over pairs |x_i - x_j| from order statistics: O(m log m) instead of O(m^2).
    weights = (2 * np.arange(1, count + 1) - count - 1)[:, None]
    spread = (weights * ordered).sum(axis=0) / count**2
    return np.abs(ordered - observed).mean(axis=0) - spread


def winkler(lower: Array, upper: Array, observed: Array, level: float) -> Array:
    """Interval score of a central interval: its width plus 2 / (1 - level) times the miss.

    References
    ----------
    Winkler (1972), JASA 67; Gneiting & Raftery (2007), Eq. 43.
    """
    below = np.maximum(lower - observed, 0.0)
    above = np.maximum(observed - upper, 0.0)
    return upper - lower + 2.0 / (1.0 - level) * (below + above)


def covered(lower: Array, upper: Array, observed: Array) -> NDArray[np.bool_]:
    """Whether each observation lies in its interval (ends included)."""
    return (lower <= observed) & (observed <= upper)


def probability_integral(sample: Array, observed: Array) -> Array:
    """Share of the sample below each observation (ties count half), shape (n,)."""
    below = (sample < observed).mean(axis=0)
    equal = (sample == observed).mean(axis=0)
    return below + 0.5 * equal


def isotonic(values: Array, increasing: bool) -> Array:
    """Closest monotone sequence in least squares."""
    return np.asarray(isotonic_regression(values, increasing=increasing).x)


def first_crossing(tokens: Array, curve: Array, target: float) -> float:
    """Token count at which a monotone curve first reaches `target` (log-linear between points).

    Returns
    -------
    float
        nan where the curve starts beyond the target or never reaches it.
    """
    direction = 1.0 if curve[-1] >= curve[0] else -1.0
    gap = direction * (curve - target)
    if gap[0] >= 0 or gap[-1] < 0:
        return float("nan")
    index = int(np.argmax(gap >= 0))
    share = -gap[index - 1] / (gap[index] - gap[index - 1])
    ends = np.log(tokens[index - 1 : index + 1])
    return float(np.exp(ends[0] + share * (ends[1] - ends[0])))
