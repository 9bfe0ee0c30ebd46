"""Unconstrained coordinates in which posteriors of a law are nearly elliptical.

What the data identify, the value at the last point and the change over the data, are axes of their
own; what they hardly identify (exponent, e-foldings) is on a log scale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.draws import Draws
from sparsefit.laws import Law
from sparsefit.laws.base import span_ratio

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Described:
    """Continuous parameters of m draws.

    Attributes
    ----------
    shape : ndarray, shape (m, n_shape)
        See `Law.basis`.
    amplitude, limit, sigma : ndarray, shape (m,)
        Amplitude at the first point, limit, noise scale.
    change : ndarray, shape (m,)
        Change over the data.
    log_jacobian : ndarray, shape (m,)
        Log of |d(last, change, alpha[, excess], sigma) / d(coordinates)|.
    """

    shape: Array
    amplitude: Array
    limit: Array
    sigma: Array
    change: Array
    log_jacobian: Array


def to_coordinates(law: Law, draws: Draws) -> Array:
    """Coordinates (last, log change, log alpha[, log kappa], log sigma), shape (m, 3 + n_shape)."""
    folds = draws.shape[:, 1] if law.n_shape == 2 else draws.shape[:, 0] * span_ratio(draws.span)
    last = draws.limit + law.sign * draws.amplitude * np.exp(-folds)
    change = draws.amplitude * -np.expm1(-folds)
    return np.column_stack(
        [last, np.log(np.maximum(change, 1e-300)), np.log(draws.shape), np.log(draws.sigma)]
    )


def from_coordinates(law: Law, span: tuple[float, float], u: Array) -> Described:
    """Inverse of `to_coordinates`; limits outside their bounds are returned as they are."""
    last, log_change, log_alpha, log_sigma = u[:, 0], u[:, 1], u[:, 2], u[:, -1]
    log_jacobian = log_change + log_alpha + log_sigma
    # Proposals have wide tails: what overflows is impossible under the prior and gets no weight.
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        change = np.exp(log_change)
        if law.n_shape == 2:
            shape = np.exp(u[:, 2:4])
            excess = change / np.expm1(shape[:, 1])
            # |d excess / d log kappa| at a fixed change.
            log_jacobian = log_jacobian + np.log(excess * (excess + change) / change) + u[:, 3]
        else:
            shape = np.exp(u[:, 2:3])
            excess = change / np.expm1(shape[:, 0] * span_ratio(span))
        sigma, limit = np.exp(log_sigma), last - law.sign * excess
        return Described(shape, change + excess, limit, sigma, change, log_jacobian)
