"""Pareto-smoothed importance sampling (Vehtari, Simpson, Gelman, Yao and Gabry, 2024).

The shape k of a generalised Pareto distribution fitted to the largest weights says whether an
importance sample can be trusted: above 0.7 its error falls too slowly to be of use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

KHAT_LIMIT = 0.7


@dataclass(frozen=True)
class Smoothed:
    """Smoothed weights.

    Attributes
    ----------
    log_weights : ndarray, shape (m,)
        Log weights, normalised to sum to one.
    khat : float
        Shape of the tail; at most 0.7 for a sample that can be trusted.
    ess : float
        Effective sample size 1 / sum of squared weights.
    """

    log_weights: Array
    khat: float
    ess: float

    @property
    def weights(self) -> Array:
        """Normalised weights."""
        return np.exp(self.log_weights)


def fit_pareto(excess: Array) -> tuple[float, float]:
    """Generalised Pareto shape k and scale of exceedances, by Zhang and Stephens (2009).

    The estimate averages over a quasi-prior grid and is shrunk to 0.5 with the weight of ten
    observations, as in Vehtari et al., appendix C.

    Parameters
    ----------
    excess : ndarray, shape (q,)
        Ascending and positive.
    """
    q = excess.size
    size = 30 + int(np.sqrt(q))
    quartile = excess[int(q / 4 + 0.5) - 1]
    theta = 1.0 - np.sqrt(size / (np.arange(1, size + 1) - 0.5))
    theta = theta / (3.0 * quartile) + 1.0 / excess[-1]
    k = np.log1p(-theta[:, None] * excess).mean(axis=1)
    log_likelihood = q * (np.log(-theta / k) - k - 1.0)
    weight = 1.0 / np.exp(np.minimum(log_likelihood - log_likelihood[:, None], 700)).sum(axis=1)
    keep = weight >= 10 * np.finfo(float).eps
    weight, theta = weight[keep] / weight[keep].sum(), theta[keep]
    mean = float((theta * weight).sum())
    shape = float(np.log1p(-mean * excess).mean())
    scale = -shape / mean
    return (shape * q + 10 * 0.5) / (q + 10), scale


def smooth(log_weights: Array) -> Smoothed:
    """Replace the largest weights by quantiles of a generalised Pareto fitted to them.

    Parameters
    ----------
    log_weights : ndarray, shape (m,)
        Unnormalised log weights; -inf for draws without weight.
    """
    m = log_weights.size
    shifted = log_weights - log_weights.max()
    tail = int(np.ceil(min(0.2 * m, 3.0 * np.sqrt(m))))
    khat = np.inf
    order = np.argsort(shifted, kind="stable")
    cutoff = shifted[order[-tail - 1]]
    chosen = order[-tail:]
    if not np.isfinite(cutoff):
        cutoff = np.log(np.finfo(float).tiny)
        chosen = chosen[shifted[chosen] > cutoff]
    excess = np.exp(shifted[chosen]) - np.exp(cutoff)
    if chosen.size > 4 and excess[0] >= 0 and excess[-1] > 0:
        if excess[-1] < 1e-12 or np.ptp(shifted[chosen]) < 1e-10:
            khat = -np.inf  # All weights are equal: nothing to smooth.
        else:
            excess = np.maximum(excess, 1e-15 * excess[-1])
            khat, scale = fit_pareto(excess)
            p = (np.arange(chosen.size) + 0.5) / chosen.size
            quantile = (
                scale * np.expm1(-khat * np.log1p(-p)) / khat
                if abs(khat) > 1e-12
                else -scale * np.log1p(-p)
            )
            shifted = shifted.copy()
            shifted[chosen] = np.minimum(np.log(quantile + np.exp(cutoff)), 0.0)
    elif chosen.size > 4 and excess[-1] == 0:
        khat = -np.inf
    total = np.logaddexp.reduce(shifted)
    log = shifted - total
    return Smoothed(log, float(khat), float(np.exp(-np.logaddexp.reduce(2 * log))))
