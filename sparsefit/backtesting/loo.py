"""Leave-one-out predictive density by Pareto-smoothed importance sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from sparsefit.estimation.priors import reference_prior
from sparsefit.estimation.quadrature import Problem

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit

Array = NDArray[np.float64]

# Above this the importance sampling of a point cannot be trusted (Vehtari et al. 2024).
RELIABLE_K = 0.7


@dataclass(frozen=True)
class Loo:
    """Leave-one-out estimate.

    Attributes
    ----------
    elpd : ndarray of shape (n,)
        Log predictive density of each point given the others.
    k : ndarray of shape (n,)
        Pareto shape of each point's importance ratios.
    """

    elpd: Array
    k: Array

    @property
    def total(self) -> float:
        """Sum over points."""
        return float(self.elpd.sum())

    @property
    def reliable(self) -> bool:
        """Whether every point's k is below 0.7."""
        return bool((self.k < RELIABLE_K).all())


def fit_generalised_pareto(exceedances: Array) -> tuple[float, float]:
    """Shape k and scale of a generalised Pareto distribution.

    Parameters
    ----------
    exceedances : ndarray of shape (m,)
        Positive, ascending.

    References
    ----------
    Zhang & Stephens (2009), Technometrics 51; the weak prior on k is that of Vehtari et al. (2024),
    Journal of Machine Learning Research 25, appendix C.
    """
    x = exceedances
    count = x.size
    grid = 30 + int(np.sqrt(count))
    steps = np.arange(1, grid + 1)
    b = (1.0 - np.sqrt(grid / (steps - 0.5))) / (3.0 * x[int(count / 4 + 0.5) - 1]) + 1.0 / x[-1]
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    log_likelihood = count * (np.log(-b / k) - k - 1.0)
    weights = 1.0 / np.exp(log_likelihood - log_likelihood[:, None]).sum(axis=1)
    keep = weights >= 10 * np.finfo(float).eps
    b_mean = float((b[keep] * weights[keep]).sum() / weights[keep].sum())
    k_mean = float(np.log1p(-b_mean * x).mean())
    scale = -k_mean / b_mean
    return (k_mean * count + 0.5 * 10) / (count + 10), scale


def smooth_log_weights(log_ratios: Array) -> tuple[Array, float]:
    """Normalised log weights with their largest ones replaced by Pareto quantiles, and k.

    Parameters
    ----------
    log_ratios : ndarray of shape (s,)
        Log importance ratios of the draws.
    """
    log_weights = log_ratios - log_ratios.max()
    size = log_weights.size
    tail = int(np.ceil(min(0.2 * size, 3.0 * np.sqrt(size))))
    order = np.argsort(log_weights)
    largest = order[-tail:]
    cut = log_weights[order[-tail - 1]]
    exceedances = np.exp(log_weights[largest]) - np.exp(cut)
    if tail < 5 or exceedances[-1] <= 1e-12 or exceedances[0] <= 0:
        # Equal ratios: nothing to smooth.
        return log_weights - logsumexp(log_weights), -np.inf if exceedances[-1] <= 1e-12 else np.inf
    k, scale = fit_generalised_pareto(exceedances)
    if np.isfinite(k):
        p = (np.arange(1, tail + 1) - 0.5) / tail
        quantiles = scale * np.expm1(-k * np.log1p(-p)) / k if k != 0 else -scale * np.log1p(-p)
        log_weights = log_weights.copy()
        log_weights[largest] = np.minimum(np.log(quantiles + np.exp(cut)), 0.0)
    return log_weights - logsumexp(log_weights), float(k)


def psis_loo(log_likelihood: Array) -> Loo:
    """PSIS-LOO from pointwise log likelihoods.

    Parameters
    ----------
    log_likelihood : ndarray of shape (s, n)
        Log density of each point given the others and a draw's parameters.

    References
    ----------
    Vehtari, Gelman & Gabry (2017), Statistics and Computing 27.
    """
    elpd, shapes = [], []
    for column in log_likelihood.T:
        log_weights, k = smooth_log_weights(-column)
        elpd.append(float(logsumexp(log_weights + column)))
        shapes.append(k)
    return Loo(np.array(elpd), np.array(shapes))


def conditional_log_likelihood(fit: Fit) -> Array:
    """Log density of each point given all others and each draw, shape (draws, n).

    Residuals are jointly normal and may be correlated, so the density of a point given the others
    comes from the precision matrix Q: mean error (Q r)_i / Q_ii and variance sigma^2 / Q_ii. A
    point that a draw sets aside as warm-up has the uniform density that the fit's evidence gives
    it.

    References
    ----------
    Buerkner, Gabry & Vehtari (2021), Computational Statistics 36 (non-factorised models).
    """
    draws, points, noises = fit.averaged.draws, fit.points, fit.averaged.noises
    problem = Problem.of(fit.law, points, noises[:1], fit.averaged.drops, reference_prior(fit.law))
    residual = points.y - draws.curve(fit.law, points.d)
    out = np.full(residual.shape, -np.log(problem.warmup_width))
    for j in np.unique(draws.noise):
        noise = noises[j]
        covariance = noise.covariance(points.d, points.d[-1], points.step, points.relative_se)
        covariance = covariance * np.outer(points.inflation, points.inflation)
        for k in np.unique(draws.drop[draws.noise == j]):
            chosen = np.flatnonzero((draws.noise == j) & (draws.drop == k))
            precision = np.linalg.inv(covariance[k:, k:])
            diagonal = np.diag(precision)
            error = residual[chosen][:, k:] @ precision / diagonal
            variance = draws.sigma[chosen, None] ** 2 / diagonal
            out[chosen, k:] = -0.5 * (np.log(2 * np.pi * variance) + error**2 / variance)
    return out
