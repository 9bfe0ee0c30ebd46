"""Log likelihood of draws under every noise model, warm-up points and measured errors included.

The points after the warm-up follow the law with a noise model of `estimation.noise` (Gaussian) or
with independent Student-t noise; warm-up points depart from the law by Student-t noise in units of
the change over the data. Measured standard errors, where given, are known variance on top.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh, solve_triangular
from scipy.special import gammaln

from sparsefit.bayes.priors import WARMUP_DOF, WARMUP_SCALE
from sparsefit.errors import ArgumentError
from sparsefit.estimation.draws import Draws
from sparsefit.estimation.evidence import Whitener
from sparsefit.estimation.noise import NoiseModel, noise_grid
from sparsefit.estimation.points import Points
from sparsefit.laws import Law

Array = NDArray[np.float64]
Index = NDArray[np.intp]

STUDENT_DOF = 4.0
"""Degrees of freedom of Student-t noise (a common default for robust regression)."""

LIKELIHOODS = ("auto", "gaussian", "white", "ar1", "ou", "student_t")

# Prior probability of heavy tails where everything is averaged.
_HEAVY = 0.15


def likelihood_models(likelihood: str) -> tuple[NoiseModel, ...]:
    """Noise models that a likelihood averages over, prior probabilities summing to one.

    Parameters
    ----------
    likelihood : str
        ``"auto"``: Gaussian (independent, AR(1), Ornstein-Uhlenbeck discrepancy) and Student-t;
        ``"gaussian"``: without the Student-t; or one kind alone. Each with a spread proportional to
        D ** 0, D ** -1/2 and D ** -1.
    """
    if likelihood not in LIKELIHOODS:
        raise ArgumentError(
            f"likelihood must be one of {', '.join(map(repr, LIKELIHOODS))}, got {likelihood!r}"
        )
    gaussian = noise_grid()
    heavy = tuple(
        NoiseModel("student_t", STUDENT_DOF, spread, 0.0, 1.0)
        for spread in sorted({model.spread_exponent for model in gaussian})
    )
    if likelihood == "auto":
        chosen = [(m, (1 - _HEAVY) * m.prior) for m in gaussian]
        chosen += [(m, _HEAVY * m.prior / len(heavy)) for m in heavy]
    elif likelihood == "gaussian":
        chosen = [(m, m.prior) for m in gaussian]
    else:
        chosen = [(m, m.prior) for m in (*gaussian, *heavy) if m.kind == likelihood]
    total = sum(prior for _, prior in chosen)
    return tuple(
        NoiseModel(m.kind, m.rho, m.spread_exponent, m.se_exponent, prior / total)
        for m, prior in chosen
    )


def student_log_density(z: Array, dof: float) -> Array:
    """Log density of a standard Student-t."""
    constant = gammaln((dof + 1) / 2) - gammaln(dof / 2) - 0.5 * np.log(np.pi * dof)
    return np.asarray(constant - (dof + 1) / 2 * np.log1p(z * z / dof))


@dataclass(frozen=True)
class Likelihood:
    """Likelihood of one run.

    Attributes
    ----------
    law : Law
        Law.
    points : Points
        All usable points; its relative errors are not used.
    noises : tuple of NoiseModel
        Models that draws refer to.
    se : ndarray, shape (n,), optional
        Measured standard errors in the unit of the response: known, independent noise on top of
        the model's.
    """

    law: Law
    points: Points
    noises: tuple[NoiseModel, ...]
    se: Array | None = None
    _whiteners: dict[int, Whitener] = field(default_factory=dict, repr=False)

    def scale(self, j: int) -> Array:
        """Spread of model `j` at each point in units of sigma, shape (n,)."""
        return self.noises[j].scale(self.points.d, float(self.points.d[-1]))

    def whitener(self, j: int) -> Whitener:
        """Cholesky factor of model `j`, made once."""
        if j not in self._whiteners:
            self._whiteners[j] = Whitener.of(self.points, self.noises[j])
        return self._whiteners[j]

    def of(self, draws: Draws) -> Array:
        """Log likelihood of each draw under its own noise model and warm-up, shape (m,)."""
        residual = self.points.y - draws.curve(self.law, self.points.d)
        change = np.abs(np.ptp(draws.curve(self.law, self.points.d[[0, -1]]), axis=1))
        out = self.warmup(residual, change, draws.drop)
        for j in np.unique(draws.noise):
            own = draws.noise == j
            out[own] += self.after_warmup(int(j), residual[own], draws.sigma[own], draws.drop[own])
        return out

    def warmup(self, residual: Array, change: Array, drop: Index) -> Array:
        """Log density of the warm-up points, shape (m,)."""
        scale = WARMUP_SCALE * np.maximum(change, 1e-12)
        most = int(drop.max(initial=0))
        each = student_log_density(residual[:, :most] / scale[:, None], WARMUP_DOF)
        each = each - np.log(scale)[:, None]
        return np.where(np.arange(most) < drop[:, None], each, 0.0).sum(axis=1)

    def after_warmup(self, j: int, residual: Array, sigma: Array, drop: Index) -> Array:
        """Log density of the points after the warm-up under model `j`, shape (m,)."""
        noise = self.noises[j]
        n, m = residual.shape[1], drop.size
        kept = n - drop
        if noise.kind == "student_t":
            variance = np.outer(sigma, self.scale(j)) ** 2
            if self.se is not None:
                variance = variance + self.se**2
            each = student_log_density(residual / np.sqrt(variance), noise.rho)
            each = each - 0.5 * np.log(variance)
            return np.where(np.arange(n) >= drop[:, None], each, 0.0).sum(axis=1)
        if self.se is not None:
            return self._with_errors(j, residual, sigma, drop)
        whitener = self.whitener(j)
        white = solve_triangular(whitener.factor, residual[:, ::-1].T, lower=True).T
        ssr = np.cumsum(white**2, axis=1)[np.arange(m), kept - 1]
        return np.asarray(
            -0.5 * kept * np.log(2 * np.pi * sigma**2)
            - 0.5 * whitener.log_det[kept - 1]
            - 0.5 * ssr / sigma**2
        )

    def _with_errors(self, j: int, residual: Array, sigma: Array, drop: Index) -> Array:
        # sigma^2 C + S for all sigma at once: with C V = V and V' S V = diag(s) the covariance
        # is diagonal in V for every sigma (generalised eigenvalues, one problem a warm-up choice).
        assert self.se is not None
        points, noise = self.points, self.noises[j]
        covariance = noise.covariance(points.d, float(points.d[-1]), points.step, None)
        out = np.empty(drop.size)
        for k in np.unique(drop):
            own = drop == k
            c = covariance[k:, k:]
            values, vectors = eigh(np.diag(self.se[k:] ** 2), c)
            rotated = residual[own][:, k:] @ vectors
            variance = sigma[own, None] ** 2 + np.maximum(values, 0.0)
            log_det_c = np.linalg.slogdet(c)[1]
            out[own] = (
                -0.5 * (np.log(2 * np.pi * variance) + rotated**2 / variance).sum(axis=1)
                - 0.5 * log_det_c
            )
        return out
