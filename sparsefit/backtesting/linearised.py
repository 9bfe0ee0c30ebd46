"""Textbook prediction draws of a (locally) linear least-squares fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def linear_draws(
    mean: Array,
    jacobian: Array,
    new_jacobian: Array,
    residuals: Array,
    count: int,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Draws of curve and new observations under independent, equally spread normal errors.

    For a linear model this is its exact Student-t prediction interval, for another the delta
    method. Directions that the data leave free (a singular Jacobian) get no spread, as a
    pseudo-inverse implies.

    Parameters
    ----------
    mean : ndarray of shape (m,)
        Forecast.
    jacobian, new_jacobian : ndarray of shape (k, p) and (m, p)
        Derivatives of the fitted values and of the forecast in the p parameters.
    residuals : ndarray of shape (k,)
        Residuals of the fit.
    count : int
        Number of draws.
    rng : Generator
        Source of randomness.

    Returns
    -------
    curve, observation : ndarray of shape (count, m)
        Their sample medians equal `mean`: draws come in pairs mirrored about it.
    """
    scale = np.linalg.norm(jacobian, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    _, singular, rotation = np.linalg.svd(jacobian / scale, full_matrices=False)
    kept = singular > 1e-8 * singular[0]
    freedom = max(len(residuals) - int(kept.sum()), 1)
    sigma = float(np.sqrt((residuals**2).sum() / freedom))
    # Columns: unit-variance directions of the parameters, seen through the new Jacobian.
    directions = (new_jacobian / scale) @ (rotation[kept].T / singular[kept])
    half = -(-count // 2)
    stretch = np.sqrt(freedom / rng.chisquare(freedom, size=(half, 1)))
    shift = sigma * stretch * (rng.normal(size=(half, int(kept.sum()))) @ directions.T)
    noise = sigma * stretch * rng.normal(size=(half, len(mean)))
    curve = np.concatenate([mean + shift, mean - shift])[:count]
    observation = np.concatenate([mean + shift + noise, mean - shift - noise])[:count]
    return curve, observation


def numeric_jacobian(function: Callable[..., Array], parameters: Array, inputs: Array) -> Array:
    """Central differences of ``function(inputs, *parameters)``, shape (len(inputs), p)."""
    columns = []
    for index, value in enumerate(parameters):
        width = 6e-6 * max(abs(value), 1e-3)
        up, down = parameters.copy(), parameters.copy()
        up[index] += width
        down[index] -= width
        columns.append((function(inputs, *up) - function(inputs, *down)) / (2 * width))
    return np.column_stack(columns)
