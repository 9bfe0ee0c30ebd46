"""Weights of forecasts from how they did on held-back points: pure functions on arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def mixture_terms(samples: Sequence[Array], observed: Array) -> tuple[Array, Array]:
    """The parts of the CRPS of a mixture, averaged over points.

    The CRPS of sum_m w_m F_m is ``w @ distance - w @ spread @ w / 2``.

    Parameters
    ----------
    samples : sequence of ndarray of shape (m_i, n)
        A sample of each of M methods at the same n points.
    observed : ndarray of shape (n,)
        Measurements there.

    Returns
    -------
    distance : ndarray of shape (M,)
        Mean E|X_m - y|.
    spread : ndarray of shape (M, M)
        Mean E|X_m - X_l'|.
    """
    ordered = [np.sort(sample, axis=0) for sample in samples]
    count = len(ordered)
    distance = np.array([np.abs(sample - observed).mean() for sample in ordered])
    spread = np.empty((count, count))
    for i in range(count):
        for j in range(i, count):
            spread[i, j] = spread[j, i] = _mean_distance(ordered[i], ordered[j])
    return distance, spread


def _mean_distance(first: Array, second: Array) -> float:
    """Mean over columns of E|X - Y| for two sorted samples: the area between distributions."""
    total = 0.0
    points = first.shape[1]
    for x, y in zip(first.T, second.T, strict=True):
        grid = np.sort(np.concatenate([x, y]))
        at = grid[:-1]
        f = np.searchsorted(x, at, side="right") / len(x)
        g = np.searchsorted(y, at, side="right") / len(y)
        # E|X - Y| is the integral of F (1 - G) + G (1 - F).
        total += float(((f * (1 - g) + g * (1 - f)) * np.diff(grid)).sum())
    return total / points


def stacking_weights(
    distances: Array,
    spreads: Array,
    *,
    prior: Array | None = None,
    strength: float = 1.0,
    iterations: int = 2000,
) -> Array:
    """Weights that minimise the mean relative CRPS of the mixture over cells.

    Each cell is divided by the median score of the methods in it, so that no series outweighs the
    others by its scale. The divergence from prior weights, counted as ``strength / cells``, draws
    the weights towards them while the evidence is thin.

    Parameters
    ----------
    distances : ndarray of shape (C, M)
        Per cell, from `mixture_terms`.
    spreads : ndarray of shape (C, M, M)
        Per cell, from `mixture_terms`.
    prior : ndarray of shape (M,), optional
        Positive weights without evidence, summing to one; equal by default.
    strength : float
        Weight of the prior, in cells.
    iterations : int
        Steps of exponentiated gradient descent (the problem is convex).

    Returns
    -------
    ndarray of shape (M,)
        Non-negative, sums to one.

    References
    ----------
    Yao, Vehtari, Simpson & Gelman (2018), Bayesian Analysis 13 (stacking of distributions), here
    with the CRPS in place of the log score.
    """
    cells, count = distances.shape
    own = distances - 0.5 * np.einsum("cmm->cm", spreads)
    scale = np.maximum(np.median(own, axis=1), np.finfo(float).tiny)
    linear = (distances / scale[:, None]).mean(axis=0)
    quadratic = (spreads / scale[:, None, None]).mean(axis=0)
    entropy = strength / cells
    start = np.full(count, 1.0 / count) if prior is None else np.asarray(prior, dtype=float)
    weights = start

    def objective(w: Array) -> float:
        pull = entropy * float(w @ np.log(np.maximum(w, 1e-300) / start))
        return float(linear @ w - 0.5 * w @ quadratic @ w) + pull

    # The step adapts: one hopeless method must not slow down the choice between the others.
    step = 1.0 / (np.abs(linear).max() + np.abs(quadratic).max() + entropy)
    value = objective(weights)
    for _ in range(iterations):
        gradient = linear - quadratic @ weights + entropy * (np.log(weights / start) + 1.0)
        moved = np.log(weights) - step * (gradient - weights @ gradient)
        moved = np.exp(np.maximum(moved - moved.max(), -60.0))
        new = moved / moved.sum()
        found = objective(new)
        if found > value:
            step /= 4.0
            continue
        change, weights, value = np.abs(new - weights).max(), new, found
        step *= 1.5
        if change < 1e-10 and step > 1e-3:
            break
    return weights


def mix(samples: Sequence[Array], weights: Array, count: int, rng: np.random.Generator) -> Array:
    """Draws of a mixture: whole rows of each method's draws, in proportion to its weight.

    Parameters
    ----------
    samples : sequence of ndarray of shape (m_i, n)
        Joint draws of each method.
    weights : ndarray of shape (M,)
        Sums to one.
    count : int
        Number of draws.
    rng : Generator
        Source of randomness.

    Returns
    -------
    ndarray of shape (count, n)
    """
    # Systematic allocation: counts differ from weight * count by less than one.
    edges = np.floor(np.cumsum(weights) * count + rng.uniform()).astype(int)
    edges[-1] = count
    counts = np.diff(np.concatenate([[0], np.minimum(edges, count)]))
    rows = [
        sample[rng.integers(len(sample), size=number)]
        for sample, number in zip(samples, counts, strict=True)
    ]
    return np.concatenate(rows)
