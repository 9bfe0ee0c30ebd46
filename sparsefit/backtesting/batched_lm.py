"""Levenberg-Marquardt on many starts, or many data sets, at once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
# parameters (B, p), inputs (n,) -> values (B, n), derivatives (B, n, p)
Model = Callable[[Array, Array], tuple[Array, Array]]


def levenberg_marquardt(
    model: Model,
    starts: Array,
    inputs: Array,
    targets: Array,
    *,
    iterations: int = 300,
    tolerance: float = 1e-10,
) -> tuple[Array, Array]:
    """Minimise the sum of squares from each start with Marquardt's scaled damping.

    Parameters
    ----------
    model : callable
        Values and analytic derivatives for a batch of parameter vectors.
    starts : ndarray of shape (B, p)
        Starting parameters.
    inputs : ndarray of shape (n,)
        Inputs of the model.
    targets : ndarray of shape (n,) or (B, n)
        Data, one set for all or one a start.
    iterations : int
        Most iterations.
    tolerance : float
        A start is done after its accepted steps twice lowered the cost by less than this share.

    Returns
    -------
    parameters : ndarray of shape (B, p)
    costs : ndarray of shape (B,)
        Sums of squares (inf where the model was not finite at the start).
    """
    with np.errstate(all="ignore"):
        return _iterate(model, starts.astype(float), inputs, targets, iterations, tolerance)


def _iterate(
    model: Model, theta: Array, inputs: Array, targets: Array, iterations: int, tolerance: float
) -> tuple[Array, Array]:
    batch, size = theta.shape
    values, jacobian = model(theta, inputs)
    residuals = targets - values
    cost = _cost(residuals)
    damping = np.full(batch, 1e-3)
    quiet = np.zeros(batch, dtype=int)
    identity = np.eye(size)
    for _ in range(iterations):
        active = np.flatnonzero(np.isfinite(cost) & (quiet < 2) & (damping < 1e12))
        if active.size == 0:
            break
        j, r = jacobian[active], residuals[active]
        normal = np.einsum("bnp,bnq->bpq", j, j)
        gradient = np.einsum("bnp,bn->bp", j, r)
        diagonal = np.einsum("bpp->bp", normal)
        floor = 1e-12 * np.maximum(diagonal.max(axis=1, keepdims=True), 1e-300)
        scaling = np.maximum(diagonal, floor)
        system = normal + (damping[active, None] * scaling)[:, :, None] * identity
        step = np.linalg.solve(system, gradient[:, :, None])[:, :, 0]
        # Parameters live on log or logit scales: longer steps only overflow.
        step = np.clip(np.nan_to_num(step, nan=0.0), -3.0, 3.0)
        trial = theta[active] + step
        new_values, new_jacobian = model(trial, inputs)
        new_residuals = (targets[active] if targets.ndim == 2 else targets) - new_values
        new_cost = _cost(new_residuals)
        good = new_cost < cost[active]
        small = good & (cost[active] - new_cost < tolerance * cost[active])
        won = active[good]
        quiet[won] = np.where(small[good], quiet[won] + 1, 0)
        theta[won] = trial[good]
        residuals[won], jacobian[won] = new_residuals[good], new_jacobian[good]
        cost[won] = new_cost[good]
        damping[won] = np.maximum(damping[won] / 5.0, 1e-12)
        damping[active[~good]] *= 4.0
    return theta, cost


def _cost(residuals: Array) -> Array:
    cost = (residuals**2).sum(axis=-1)
    return np.where(np.isfinite(cost), cost, np.inf)
