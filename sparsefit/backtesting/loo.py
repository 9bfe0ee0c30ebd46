"""Leave-one-out predictive density by Pareto-smoothed importance sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import t as student_t

from sparsefit.estimation.evidence import Whitener
from sparsefit.estimation.quadrature import WARMUP_WIDTH

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
    def standard_error(self) -> float:
        """Standard error of `total`, as if points were independent."""
        return float(np.sqrt(len(self.elpd)) * np.std(self.elpd, ddof=1))

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
    cut = np.partition(log_weights, -tail - 1)[-tail - 1]
    largest = np.flatnonzero(log_weights > cut)
    largest = largest[np.argsort(log_weights[largest], kind="stable")]
    exceedances = np.exp(log_weights[largest]) - np.exp(cut)
    k = np.inf
    if largest.size == 0 or exceedances[-1] <= 1e-12:
        k = -np.inf  # equal ratios: nothing to smooth
    elif largest.size >= 5 and exceedances[0] > 0:
        k, scale = fit_generalised_pareto(exceedances)
    if np.isfinite(k):
        p = (np.arange(largest.size) + 0.5) / largest.size
        # Quantiles of a very heavy tail overflow; none may exceed the largest raw weight anyway.
        with np.errstate(over="ignore"):
            quantiles = scale * np.expm1(-k * np.log1p(-p)) / k if k else -scale * np.log1p(-p)
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
    point that a draw sets aside as warm-up has the uniform density that the evidence gives it;
    heavy-tailed residuals are independent.

    References
    ----------
    Buerkner, Gabry & Vehtari (2021), Computational Statistics 36 (non-factorised models).
    """
    draws, points = fit.averaged.draws, fit.points
    residual = points.y - draws.curve(fit.law, points.d)
    n = len(points)
    out = np.repeat(-np.log(WARMUP_WIDTH * draws.sigma)[:, None], n, axis=1)
    for j in np.unique(draws.noise):
        noise = fit.averaged.noises[j]
        # Reversed order: the covariance without the first k points is a leading block.
        factor = Whitener.of(points, noise).factor
        covariance = (factor @ factor.T)[::-1, ::-1]
        for k in np.unique(draws.drop[draws.noise == j]):
            chosen = np.flatnonzero((draws.noise == j) & (draws.drop == k))
            sigma, block = draws.sigma[chosen, None], covariance[k:, k:]
            if noise.kind == "student_t":
                scale = sigma * np.sqrt(np.diag(block))
                out[chosen, k:] = student_t.logpdf(residual[chosen][:, k:], noise.rho, scale=scale)
                continue
            precision = np.linalg.inv(block)
            diagonal = np.diag(precision)
            error = residual[chosen][:, k:] @ precision / diagonal
            variance = sigma**2 / diagonal
            out[chosen, k:] = -0.5 * (np.log(2 * np.pi * variance) + error**2 / variance)
    return out
