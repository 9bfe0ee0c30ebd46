"""Averages over series and the cluster bootstrap: arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 4000


def cluster_interval(
    values: Array, rng: np.random.Generator, level: float = 0.9, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean over clusters, resampling whole clusters.

    Parameters
    ----------
    values : ndarray of shape (s,)
        One mean a series.
    rng : Generator
        Source of randomness.
    level : float
        Level of the interval.
    resamples : int
        Bootstrap samples.

    Returns
    -------
    lower, upper : float
        nan with fewer than two series: nothing can be said of other series then.
    """
    count = len(values)
    if count < 2:
        return float("nan"), float("nan")
    weights = rng.multinomial(count, np.full(count, 1.0 / count), size=resamples) / count
    lower, upper = np.quantile(weights @ values, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)


def sign_flip_p(differences: Array, rng: np.random.Generator, resamples: int = RESAMPLES) -> float:
    """Two-sided p of a mean paired difference over series, by flipping signs of whole series.

    Exact (all sign patterns) up to 12 series. With n series it cannot be below 2 / 2^n.
    """
    count = len(differences)
    if count < 2:
        return float("nan")
    if count <= 12:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        signs = 1.0 - 2.0 * patterns
    else:
        signs = rng.choice([-1.0, 1.0], size=(resamples, count))
        signs[0] = 1.0
    means = np.abs(signs @ differences)
    observed = abs(differences.sum())
    return float((means >= observed * (1 - 1e-12)).mean())
