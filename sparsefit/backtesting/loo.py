"""Leave-one-out predictive density by Pareto-smoothed importance sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import t as student_t

from sparsefit.bayes.psis import KHAT_LIMIT, smooth

if TYPE_CHECKING:
    from sparsefit.estimation.draws import Draws
    from sparsefit.results.fit import Fit

Array = NDArray[np.float64]


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
        return bool((self.k < KHAT_LIMIT).all())


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
        smoothed = smooth(-column)
        elpd.append(float(logsumexp(smoothed.log_weights + column)))
        shapes.append(smoothed.khat)
    return Loo(np.array(elpd), np.array(shapes))


def conditional_log_likelihood(fit: Fit) -> Array:
    """Log density of each point given all others and each draw, shape (draws, n).

    Residuals are jointly normal and may be correlated, so the density of a point given the others
    comes from the precision matrix Q: mean error (Q r)_i / Q_ii and variance 1 / Q_ii. A point that
    a draw sets aside as warm-up has the density that the fit's evidence gives it; heavy-tailed
    residuals are independent.

    References
    ----------
    Buerkner, Gabry & Vehtari (2021), Computational Statistics 36 (non-factorised models).
    """
    posterior = getattr(fit, "posterior", None)
    draws = fit.averaged.draws if posterior is None else posterior.measured
    points, se = fit.points, None if posterior is None else posterior.se
    residual = points.y - draws.curve(fit.law, points.d)
    out = _warmup_density(fit, draws, residual)
    for j in np.unique(draws.noise):
        noise = fit.averaged.noises[j]
        covariance = noise.covariance(points) + noise.transient_covariance(points)
        for k in np.unique(draws.drop[draws.noise == j]):
            chosen = np.flatnonzero((draws.noise == j) & (draws.drop == k))
            block = draws.sigma[chosen, None, None] ** 2 * covariance[k:, k:]
            if se is not None:
                block = block + np.diag(se[k:] ** 2)
            kept = residual[chosen][:, k:]
            if noise.kind == "student_t":
                scale = np.sqrt(np.einsum("mii->mi", block))
                out[chosen, k:] = student_t.logpdf(kept, noise.rho, scale=scale)
                continue
            precision = np.linalg.inv(block)
            diagonal = np.einsum("mii->mi", precision)
            error = np.einsum("mij,mj->mi", precision, kept) / diagonal
            out[chosen, k:] = 0.5 * (np.log(diagonal / (2 * np.pi)) - error**2 * diagonal)
    return out


def _warmup_density(fit: Fit, draws: Draws, residual: Array) -> Array:
    """Log density of each point if it were set aside as warm-up, shape (draws, n)."""
    if fit.method == "fit":
        return np.full(residual.shape, -fit.averaged.log_warmup_width)
    from sparsefit.bayes.likelihood import WARMUP_DOF, WARMUP_SCALE, student_log_density

    ends = draws.curve(fit.law, fit.points.d[[0, -1]])
    scale = WARMUP_SCALE * np.maximum(np.abs(np.ptp(ends, axis=1)), 1e-12)[:, None]
    return student_log_density(residual / scale, WARMUP_DOF) - np.log(scale)
