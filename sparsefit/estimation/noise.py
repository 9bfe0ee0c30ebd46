"""What the residuals of a training run look like: a small grid of covariance models.

Residuals of one run are correlated from checkpoint to checkpoint and their spread changes with D.
Neither is known beforehand, so every fit averages over this grid by evidence. All models share one
unknown scale sigma, which is integrated out.

AR(1) counts checkpoints (`Points.count`), not tokens. Residuals of measured runs on log-spaced
checkpoints do not tell the two apart, but intervals do: those that count checkpoints cover under
either, those that count tokens fail where correlation goes from checkpoint to checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.points import Points

Array = NDArray[np.float64]

TRANSIENT_SIZE = 25.0
"""Prior standard deviation of a fading start in noise standard deviations."""

OUTLIER_SIZE = 10.0
"""Prior standard deviation of the error of an outlier in noise standard deviations."""

FADES = (1.0, 2.0)
"""Checkpoints over which a fading start falls to 1/e."""


def fading(points: Points, checkpoints: float) -> Array:
    """Departure that starts at 1 and falls to 1/e over some checkpoints, shape (n,)."""
    return np.asarray(np.exp(-points.counts / checkpoints))


@dataclass(frozen=True)
class NoiseModel:
    """Covariance of the residuals up to sigma^2.

    Attributes
    ----------
    kind : {"white", "ar1", "ou", "student_t", "transient"}
        Independent; first-order autoregressive over checkpoints; half white measurement noise,
        half a discrepancy of the law that fades over one e-folding of tokens (Ornstein-Uhlenbeck
        in log D); independent with heavy tails (``student_t``, `fit_bayes` only: not Gaussian);
        or independent after a departure at the start that fades exponentially (``transient``).
    rho : float
        Correlation of neighbouring checkpoints (``ar1``), share of the discrepancy (``ou``),
        degrees of freedom (``student_t``), checkpoints over which a ``transient`` fades by 1/e.
    spread_exponent : float
        Standard deviation proportional to D ** -spread_exponent.
    se_exponent : float
        Standard deviation also proportional to (measured se) ** se_exponent.
    prior : float
        Prior probability of this model.
    outliers : tuple of int
        Points of the run with a large error of their own, see `outliers`.
    """

    kind: str
    rho: float
    spread_exponent: float
    se_exponent: float
    prior: float
    outliers: tuple[int, ...] = ()

    def later(self, first: int) -> NoiseModel:
        """The model of a run whose points from number `first` on this one was made for."""
        return replace(self, outliers=tuple(i + first for i in self.outliers))

    def scale(self, d: Array, d_last: float, relative_se: Array | None = None) -> Array:
        """Standard deviation at each point relative to sigma, shape (n,)."""
        scale = (d / d_last) ** -self.spread_exponent
        if self.se_exponent and relative_se is not None:
            scale = scale * relative_se**self.se_exponent
        return scale

    def correlation(self, a: Array, b: Array, points: Points) -> Array:
        """Correlation of the non-white part between points at `a` and `b`, shape (len(a), len(b)).

        Parameters
        ----------
        a, b : ndarray
            Billions of tokens.
        points : Points
            The run, whose checkpoints are counted.
        """
        if self.kind == "ar1":
            distance = np.abs(points.count(a)[:, None] - points.count(b)[None, :])
            return np.asarray(self.rho**distance)
        if self.kind == "ou":
            return self.rho * np.exp(-np.abs(np.log(a)[:, None] - np.log(b)[None, :]))
        return np.zeros((a.size, b.size))

    @property
    def white_share(self) -> float:
        """Share of the variance that is independent from point to point."""
        share = {"ar1": 0.0, "ou": 1.0 - self.rho}
        return share.get(self.kind, 1.0)

    def covariance(self, points: Points) -> Array:
        """Covariance matrix of the residuals of a run, up to sigma^2, shape (n, n).

        Without what a fading start adds to it.
        """
        d = points.d
        scale = self.scale(d, float(d[-1]), points.relative_se) * points.inflation
        correlation = self.correlation(d, d, points) + self.white_share * np.eye(d.size)
        return np.asarray(
            correlation * np.outer(scale, scale) + np.diag(self._outlying(scale) ** 2)
        )

    def _outlying(self, scale: Array) -> Array:
        """Standard deviation of the outliers' own errors up to sigma, zero elsewhere."""
        out = np.zeros_like(scale)
        chosen = list(self.outliers)
        out[chosen] = OUTLIER_SIZE * scale[chosen]
        return out

    def parts(self, points: Points) -> tuple[Array, Array, float]:
        """What the residuals of a run are made of, up to sigma.

        Returns
        -------
        load, own : ndarray, shape (n,)
            Share of a hidden value that goes from point to point (`carried`) in each residual, and
            standard deviation of what is independent.
        memory : float
            Variance of the hidden value.
        """
        scale = self.scale(points.d, float(points.d[-1]), points.relative_se) * points.inflation
        own = np.hypot(scale * np.sqrt(self.white_share), self._outlying(scale))
        if self.kind == "transient":
            return TRANSIENT_SIZE * fading(points, self.rho), own, 1.0
        memory = 1.0 - self.white_share
        return (scale if memory else np.zeros_like(scale)), own, memory

    def carried(self, points: Points) -> Array:
        """Correlation of the hidden value between neighbouring points, shape (n - 1,)."""
        if self.kind == "ar1":
            return np.asarray(self.rho ** np.diff(points.counts))
        if self.kind == "ou":
            return np.exp(-np.diff(np.log(points.d)))
        return np.full(len(points) - 1, float(self.kind == "transient"))

    def transient_covariance(self, points: Points) -> Array:
        """Covariance that a fading start adds, up to sigma^2, shape (n, n); zero for other kinds.

        The departure starts at the first of all points of the run.
        """
        if self.kind != "transient":
            return np.zeros((len(points), len(points)))
        fade = TRANSIENT_SIZE * fading(points, self.rho)
        return np.outer(fade, fade)


def spread_exponents(noises: Sequence[NoiseModel]) -> Array:
    """Spread exponent of each model, shape (len(noises),)."""
    return np.array([noise.spread_exponent for noise in noises])


def noise_grid(se_known: bool = False, transient: bool = False) -> tuple[NoiseModel, ...]:
    """Return the models averaged over, with prior probabilities that sum to one.

    Parameters
    ----------
    se_known : bool
        Models that follow measured standard errors and models that do not, equally likely.
    transient : bool
        Also models in which the run starts off the law and fades into it: warm-up that is too
        smooth to be found point by point. They have a tenth of the weight.

    Notes
    -----
    Residuals of training runs are mostly correlated, so independence has a tenth of the rest. A
    fit hides part of the correlation of its residuals, so the grid reaches above the .2 to .7 seen
    in them, and the strongest has the most weight: points that are independent mostly rule
    it out, while points that correlate strongly look as if they correlated less. Spread exponents
    0, 1/2 and 1 are equally likely. The weights were chosen by the coverage of intervals on
    simulated runs; none of these constants was fitted to a series.
    """
    shares: list[tuple[str, float, float]] = [
        ("white", 0.0, 0.1),
        ("ar1", 0.4, 0.2),
        ("ar1", 0.7, 0.25),
        ("ar1", 0.9, 0.4),
        ("ou", 0.5, 0.05),
    ]
    if transient:
        shares = [(kind, rho, 0.9 * prior) for kind, rho, prior in shares]
        shares += [("transient", fade, 0.1 / len(FADES)) for fade in FADES]
    spreads = (0.0, 0.5, 1.0)
    exponents = (0.0, 1.0) if se_known else (0.0,)
    share = 1.0 / (len(spreads) * len(exponents))
    return tuple(
        NoiseModel(kind, rho, spread, exponent, prior * share)
        for spread in spreads
        for exponent in exponents
        for kind, rho, prior in shares
    )
