"""One fit in internal units: ratios over the largest, responses centred and scaled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsefit.width_depth import calibration
from sparsefit.width_depth.calibration import Errors, Problem
from sparsefit.width_depth.kernel import Array, linear_fit
from sparsefit.width_depth.models import Design, ModelName, Sign, design
from sparsefit.width_depth.scatter import Measured, Weights, weights


@dataclass(frozen=True, eq=False)
class Scaled:
    """Design, weighted response and units of one model at given points.

    Attributes
    ----------
    design : Design
        The model.
    y : ndarray, shape (n,)
        Scaled response times the square roots of the weights.
    x_scale, y_shift, y_scale : float
        ``x = x_scale * internal``, ``y = y_shift + y_scale * internal``.
    weights : Weights
        Weights and extra scatter, internal units.
    breakpoint : float
        Least-squares break, internal units.
    coefficients : ndarray
        Linear coefficients at that break: intercept, slope(, change of slope), internal units.
    rss : float
        Weighted residual sum of squares, internal units.
    """

    design: Design
    y: Array
    x_scale: float
    y_shift: float
    y_scale: float
    weights: Weights
    se: Array | None
    breakpoint: float
    coefficients: Array
    rss: float

    def problem(self, errors: Errors, draws: int, seed: int) -> Problem:
        """Draw the noise that all tests on this fit share."""
        rng = np.random.default_rng(seed)
        n = len(self.y)
        noise = calibration.draw_noise(rng, draws, n, errors)
        known_share = 0.0
        if self.se is not None and errors == "gaussian":
            raw = self.y / self.design.root_weight
            given = Measured(self.design.model, self.design.sign, self.design.x, raw, self.se)
            scatter = given.plausible_scatters(self.weights.df, rng, draws)
            noise = noise * np.sqrt((self.se**2 + scatter[:, None] ** 2) * self.weights.weight)
        if self.se is not None:
            known_share = self.weights.known_share
        return Problem(self.design, self.y, noise, errors, known_share, self.rss)

    def residual(self) -> Array:
        """Residuals in the units of the response, shape (n,)."""
        weighted = self.y - self.design.columns(self.breakpoint) @ self.coefficients
        return weighted / self.design.root_weight * self.y_scale

    def gradient_columns(self) -> Array:
        """Derivatives of the weighted mean by the linear parameters and the break, (n, p)."""
        columns = self.design.columns(self.breakpoint)
        after = (self.design.x > self.breakpoint) * self.design.root_weight
        change = (
            self.coefficients[1] if self.design.model == "line_plateau" else -self.coefficients[2]
        )
        return np.column_stack([columns, change * after])

    def covariance(self) -> Array:
        """First-order covariance of the linear parameters and the break, internal units."""
        columns = self.gradient_columns()
        # Residuals may be small by luck; given standard errors are not.
        variance = max(self.rss / self.weights.df, self.weights.known_share)
        return np.asarray(variance * np.linalg.pinv(columns.T @ columns, hermitian=True))


def scale(model: ModelName, x: Array, y: Array, se: Array | None, sign: Sign = "any") -> Scaled:
    """Fit one model by exact least squares.

    Parameters
    ----------
    model : str
        "line_plateau" or "line_line".
    x, y : ndarray, shape (n,)
        Ratios and responses.
    se : ndarray, shape (n,), or None
        Standard errors of the responses.
    sign : {"rising", "any"}
        Slopes that `line_plateau` may have.
    """
    x_scale = float(np.max(np.abs(x)))
    y_shift = float(np.mean(y))
    spread = float(np.std(y))
    y_scale = spread if spread > 1e-14 * max(abs(y_shift), 1e-300) else max(abs(y_shift), 1.0)
    x_in, y_in = x / x_scale, (y - y_shift) / y_scale
    se_in = None if se is None else se / y_scale
    weighting = weights(model, x_in, y_in, se_in, sign)
    built = design(model, x_in, weighting.weight, sign)
    y_weighted = y_in * built.root_weight
    best = built.kernel.minimise(y_weighted[None])
    tau = float(best.at[0])
    coefficients, fitted = linear_fit(built.columns(tau), y_weighted, built.rising)
    rss = float(np.sum((y_weighted - fitted) ** 2))
    return Scaled(
        built, y_weighted, x_scale, y_shift, y_scale, weighting, se_in, tau, coefficients, rss
    )
