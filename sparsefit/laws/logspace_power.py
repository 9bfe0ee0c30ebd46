"""Eq. 4: the convergent logspace power law of ReLU models."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from sparsefit.laws.base import Array, Law, Parameter, span_ratio


class LogspacePower(Law):
    """A(D) = exp(-c D^alpha + b) + A0, falling to A0 (Eq. 4).

    Shapes are (alpha, kappa) with kappa = c (D2^alpha - D1^alpha), the number of e-foldings that
    the excess over the limit falls by within the span (D1, D2). In these the plain power law
    A0 + K D^-p is the finite edge alpha = 0 with p = kappa / log(D2 / D1), whereas c and b run off
    to infinity there.
    """

    name = "logspace_power"
    aliases = ("eq4", "relu")
    equation = "A(D) = exp(-c D^alpha + b) + A0"
    source = "arXiv 2411.02335, Eq. 4"
    sign = 1
    parameters = (
        Parameter("alpha", "-", 0.0, np.inf, "exponent of D inside the exponential"),
        Parameter("b", "log fraction", -np.inf, np.inf, "log excess over the limit at D = 0"),
        Parameter("c", "billion tokens ^ -alpha", 0.0, np.inf, "rate of the fall"),
        Parameter("A0", "fraction", 0.0, 1.0, "limit activation ratio"),
    )
    edge_form = "plain power law A0 + K D^-p"
    edge_has_limit = True
    n_shape = 2

    def value(self, d: ArrayLike, theta: ArrayLike) -> Array:
        """Eq. 4, see `Law.value`."""
        d = np.asarray(d, dtype=float)
        alpha, b, c, a0 = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)[..., None]
        return np.exp(b - c * d**alpha) + a0

    def gradient(self, d: ArrayLike, theta: ArrayLike) -> Array:
        """Analytic gradient, columns (alpha, b, c, A0)."""
        d = np.asarray(d, dtype=float)
        alpha, b, c, _ = np.asarray(theta, dtype=float)
        power = d**alpha
        excess = np.exp(b - c * power)
        return np.stack(
            [-excess * c * power * np.log(d), excess, -excess * power, np.ones_like(d)], axis=-1
        )

    def derivative(self, d: ArrayLike, theta: ArrayLike) -> Array:
        """Analytic dA/dD = -c alpha D^(alpha - 1) exp(b - c D^alpha)."""
        d = np.asarray(d, dtype=float)
        alpha, b, c, _ = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)[..., None]
        return -c * alpha * d ** (alpha - 1.0) * np.exp(b - c * d**alpha)

    def inverse(self, value: ArrayLike, theta: ArrayLike) -> Array:
        """D = ((b - log(value - A0)) / c)^(1 / alpha)."""
        value = np.asarray(value, dtype=float)
        alpha, b, c, a0 = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            rise = (b - np.log(value - a0)) / c
            # rise <= 0: the curve is below `value` from D = 0 on.
            d = np.where(rise > 0, np.abs(rise) ** (1.0 / alpha), 0.0)
        return np.where(value > a0, d, np.inf)

    def basis(self, d: Array, shape: Array, span: tuple[float, float]) -> Array:
        """G = exp(-kappa x), x = (D^alpha - D1^alpha) / (D2^alpha - D1^alpha)."""
        alpha, kappa = shape[:, 0, None], shape[:, 1, None]
        total = span_ratio(span)
        log_d = np.log(d / span[0])[None, :]
        with np.errstate(over="ignore"):
            x = np.expm1(alpha * log_d) / np.expm1(alpha * total)
        return np.exp(-kappa * x)

    def shape_grid(self, span: tuple[float, float], size: int) -> tuple[Array, ...]:
        """Axes (alpha, kappa); kappa from a fall by 1% to one by 40 e-foldings."""
        lower, upper = self.alpha_bounds
        alpha = np.geomspace(lower, upper, size)
        kappa = np.geomspace(0.01, 40.0, size)
        return alpha, kappa

    def to_theta(
        self, shape: Array, amplitude: Array, limit: Array, span: tuple[float, float]
    ) -> Array:
        """Published (alpha, b, c, A0); b = log K + c D1^alpha."""
        alpha, kappa = shape[..., 0], shape[..., 1]
        start = span[0] ** alpha
        c = kappa / (start * np.expm1(alpha * span_ratio(span)))
        # No fall at all: the smallest amplitude there is keeps b finite.
        b = np.log(np.maximum(amplitude, np.finfo(float).tiny)) + c * start
        return np.stack([alpha, b, c, limit], axis=-1)

    def from_theta(self, theta: Array, span: tuple[float, float]) -> tuple[Array, Array, Array]:
        """Shape (alpha, kappa), amplitude at D1 and limit."""
        alpha, b, c, a0 = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)
        start = span[0] ** alpha
        kappa = c * start * np.expm1(alpha * span_ratio(span))
        return np.stack([alpha, kappa], axis=-1), np.exp(b - c * start), a0
