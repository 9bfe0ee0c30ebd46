"""Eq. 5, the convergent power law of SiLU models, and its falling twin for the training loss."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from sparsefit.laws.base import Array, Law, Parameter


class _PowerLaw(Law):
    """Limit + sign * k D^-alpha; coefficients (alpha, k, limit)."""

    n_shape: ClassVar[int] = 1

    def value(self, d: ArrayLike, theta: ArrayLike) -> Array:
        """Value of the law, see `Law.value`."""
        d = np.asarray(d, dtype=float)
        alpha, k, limit = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)[..., None]
        return limit + self.sign * k * d**-alpha

    def gradient(self, d: ArrayLike, theta: ArrayLike) -> Array:
        """Analytic gradient, columns in the order of `parameters`."""
        d = np.asarray(d, dtype=float)
        alpha, k, _ = np.asarray(theta, dtype=float)
        power = self.sign * d**-alpha
        return np.stack([-k * power * np.log(d), power, np.ones_like(d)], axis=-1)

    def derivative(self, d: ArrayLike, theta: ArrayLike) -> Array:
        """Analytic dA/dD = -sign * alpha k D^(-alpha - 1)."""
        d = np.asarray(d, dtype=float)
        alpha, k, _ = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)[..., None]
        return -self.sign * alpha * k * d ** (-alpha - 1.0)

    def inverse(self, value: ArrayLike, theta: ArrayLike) -> Array:
        """``D = (k / |value - limit|)^(1 / alpha)``."""
        alpha, k, limit = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)
        gap = self.sign * (np.asarray(value, dtype=float) - limit)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            d = (k / np.abs(gap)) ** (1.0 / alpha)
        return np.where(gap > 0, d, np.inf)

    def basis(self, d: Array, shape: Array, span: tuple[float, float]) -> Array:
        """G = (D / D1)^-alpha."""
        return np.exp(-shape[:, 0, None] * np.log(d / span[0])[None, :])

    def shape_grid(self, span: tuple[float, float], size: int) -> tuple[Array, ...]:
        """One axis: alpha."""
        return (np.geomspace(*self.alpha_bounds, size),)

    def to_theta(
        self, shape: Array, amplitude: Array, limit: Array, span: tuple[float, float]
    ) -> Array:
        """Published coefficients; k = K D1^alpha."""
        alpha = shape[..., 0]
        return np.stack([alpha, amplitude * span[0] ** alpha, limit], axis=-1)

    def from_theta(self, theta: Array, span: tuple[float, float]) -> tuple[Array, Array, Array]:
        """Shape (alpha,), amplitude at D1 and limit."""
        alpha, k, limit = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)
        return alpha[..., None], k * span[0] ** -alpha, limit


class VanillaPower(_PowerLaw):
    """A(D) = -c / D^alpha + A0, rising to A0 (Eq. 5)."""

    name = "vanilla_power"
    aliases = ("eq5", "silu")
    equation = "A(D) = -c / D^alpha + A0"
    source = "arXiv 2411.02335, Eq. 5"
    sign = -1
    parameters = (
        Parameter("alpha", "-", 0.0, np.inf, "exponent of D"),
        Parameter(
            "c", "fraction x billion tokens ^ alpha", 0.0, np.inf, "distance to the limit at D = 1"
        ),
        Parameter("A0", "fraction", 0.0, 1.0, "limit activation ratio"),
    )
    edge_form = "straight line in log D"
    edge_has_limit = False


class LossPower(_PowerLaw):
    """L(D) = L0 + k / D^a, falling to L0: our choice of form for the training loss.

    The paper shows only curves and limits of the loss (Figs. 13 and 14), no equation.
    """

    name = "loss_power"
    aliases = ("loss",)
    equation = "L(D) = k / D^a + L0"
    source = "form chosen by sparsefit; arXiv 2411.02335, Figs. 13 and 14 show curves only"
    response = "loss"
    sign = 1
    parameters = (
        Parameter("a", "-", 0.0, np.inf, "exponent of D"),
        Parameter("k", "nats x billion tokens ^ a", 0.0, np.inf, "excess loss at D = 1"),
        Parameter("L0", "nats per token", 0.0, np.inf, "limit of the training loss"),
    )
    limit_bounds = (0.0, np.inf)
    edge_form = "straight line in log D"
    edge_has_limit = False
