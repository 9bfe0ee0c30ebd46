"""Log likelihood of draws under every noise model, warm-up points and measured errors included.

The points after the warm-up follow the law with a noise model of `estimation.noise` (Gaussian) or
with independent Student-t noise; warm-up points depart from the law by Cauchy noise in units of
the change over the data. Measured standard errors, where given, are known variance on top.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from sparsefit.bayes import markov
from sparsefit.bayes.priors import WARMUP_DOF, WARMUP_SCALE
from sparsefit.checks import check_choice
from sparsefit.estimation.draws import Draws
from sparsefit.estimation.noise import NoiseModel, noise_grid
from sparsefit.estimation.points import Points
from sparsefit.estimation.whitening import Whitener
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
    check_choice("likelihood", likelihood, LIKELIHOODS)
    gaussian = [model for model in noise_grid() if model.kind in markov.KINDS]
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


def student_log_density(z: Array | float, dof: float) -> Array:
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
        All usable points, without relative errors.
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

    def table(self, residual: Array, change: Array, sigma: Array, drops: Index) -> Array:
        """Log likelihood of draws under every noise model and warm-up choice.

        Parameters
        ----------
        residual : ndarray, shape (m, n)
            Response minus the law.
        change : ndarray, shape (m,)
            Change of the law over the data.
        sigma : ndarray, shape (m,)
            Noise scale.
        drops : ndarray of int, shape (k,)
            Warm-up choices.

        Returns
        -------
        ndarray, shape (number of noise models, k, m)
        """
        out = np.empty((len(self.noises), drops.size, sigma.size))
        out[:] = self.warmup(residual, change, drops)
        gaussian = [j for j, noise in enumerate(self.noises) if noise.kind != "student_t"]
        if self.se is not None and gaussian:
            noises = [self.noises[j] for j in gaussian]
            out[gaussian] += markov.filtered_log_likelihood(
                noises, self.points, self.se, residual, sigma, drops
            )
        for j, noise in enumerate(self.noises):
            if noise.kind == "student_t":
                out[j] += self._heavy(j, residual, sigma, drops)
            elif self.se is None:
                out[j] += self._gaussian(j, residual, sigma, drops)
        return out

    def of(self, draws: Draws, drops: Index) -> Array:
        """Log likelihood of each draw under its own noise model and warm-up choice, shape (m,)."""
        curve = draws.curve(self.law, self.points.d)
        residual, change = self.points.y - curve, np.abs(curve[:, -1] - curve[:, 0])
        choice = np.searchsorted(drops, draws.drop)
        found = np.empty(len(draws))
        # In pieces: the table of all models is large.
        for at in np.array_split(np.arange(len(draws)), max(1, len(draws) // 1000)):
            table = self.table(residual[at], change[at], draws.sigma[at], drops)
            found[at] = table[draws.noise[at], choice[at], np.arange(at.size)]
        return found

    def warmup(self, residual: Array, change: Array, drops: Index) -> Array:
        """Log density of the warm-up points, shape (k, m)."""
        most = int(drops.max(initial=0))
        scale = WARMUP_SCALE * np.maximum(change, 1e-300)
        each = student_log_density(residual[:, :most].T / scale, WARMUP_DOF) - np.log(scale)
        total = np.concatenate([np.zeros((1, change.size)), np.cumsum(each, axis=0)])
        return np.asarray(total[drops])

    def whitener(self, j: int) -> Whitener:
        """Filter of model `j` for the points in reversed order."""
        if j not in self._whiteners:
            self._whiteners[j] = Whitener.of(self.points, self.noises[j])
        return self._whiteners[j]

    def _gaussian(self, j: int, residual: Array, sigma: Array, drops: Index) -> Array:
        whitener = self.whitener(j)
        kept, log_det = residual.shape[1] - drops, whitener.log_det
        # Leaving out the first points keeps the leading part of the reversed ones.
        square = whitener.whiten(residual[:, ::-1].T) ** 2
        ssr = np.cumsum(square, axis=0)[kept - 1]
        scale = kept[:, None] * (np.log(2 * np.pi) + 2 * np.log(sigma))
        return np.asarray(-0.5 * (scale + log_det[kept - 1, None] + ssr / sigma**2))

    def _heavy(self, j: int, residual: Array, sigma: Array, drops: Index) -> Array:
        noise = self.noises[j]
        scale = noise.scale(self.points.d, float(self.points.d[-1]))
        variance = np.outer(scale, sigma) ** 2
        if self.se is not None:
            variance = variance + self.se[:, None] ** 2
        each = student_log_density(residual.T / np.sqrt(variance), noise.rho)
        each = each - 0.5 * np.log(variance)
        return np.asarray(np.cumsum(each[::-1], axis=0)[residual.shape[1] - drops - 1])
