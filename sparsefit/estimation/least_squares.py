"""Weighted least squares: the global optimum, deterministically.

For a given shape a law is linear in (limit, amplitude), so the best pair within its bounds has a
closed form. The shapes are scanned on a grid, the best basins are zoomed into, and the result is
polished with Levenberg-Marquardt (lmfit) in the published coefficients. The same points give the
same fit: nothing is random.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.blocks import blocks
from sparsefit.estimation.points import Points
from sparsefit.laws import Law

Array = NDArray[np.float64]

_COARSE = {1: 400, 2: 64}
_FINE = {1: 60, 2: 14}
_BASINS = 6
_ZOOMS = 9
# Distance from a bound that counts as being on it.
_AT_BOUND = 1e-9


@dataclass(frozen=True)
class LinearSolution:
    """Best (limit, amplitude) for each shape; all arrays have shape (m,)."""

    limit: Array
    amplitude: Array
    ssr: Array


@dataclass(frozen=True)
class LeastSquares:
    """A least-squares fit.

    Attributes
    ----------
    theta : ndarray, shape (p,)
        Published coefficients.
    shape, amplitude, limit : ndarray, float, float
        The same fit as shape, amplitude at the first point, and limit.
    ssr : float
        Weighted sum of squared residuals.
    bounds_hit : tuple of str
        Coefficients that ended on a bound, e.g. ``("A0 = 0",)``.
    edge_form : str or None
        The limiting form that the fit has run into (alpha at its lower bound), by name.
    """

    theta: Array
    shape: Array
    amplitude: float
    limit: float
    ssr: float
    bounds_hit: tuple[str, ...]
    edge_form: str | None


def mesh(axes: tuple[Array, ...]) -> Array:
    """All combinations of the axes, shape (m, len(axes))."""
    return np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=-1)


def solve_linear(
    basis: Array, y: Array, weights: Array, bounds: tuple[float, float]
) -> LinearSolution:
    """Best limit within `bounds` and amplitude >= 0 for each basis.

    Parameters
    ----------
    basis : ndarray, shape (m, n)
        Signed basis of each shape.
    y, weights : ndarray, shape (n,)
        Response and weights.
    bounds : tuple of float
        Bounds of the limit.
    """
    total = weights.sum()
    y_mean = float(weights @ y / total)
    g_mean = basis @ weights / total
    centred = basis - g_mean[:, None]
    s_gg = (centred**2) @ weights
    s_gy = centred @ (weights * (y - y_mean))
    # A basis that is flat over the points carries no amplitude.
    safe = s_gg > 1e-28 * np.maximum((basis**2) @ weights, 1e-300)
    amplitude = np.where(safe, s_gy / np.where(safe, s_gg, 1.0), 0.0)
    amplitude = np.maximum(amplitude, 0.0)
    limit = y_mean - amplitude * g_mean
    squared = np.maximum((basis**2) @ weights, 1e-300)
    for bound, outside in ((bounds[0], limit < bounds[0]), (bounds[1], limit > bounds[1])):
        if np.any(outside):
            forced = np.maximum((basis * (y - bound)) @ weights / squared, 0.0)
            amplitude = np.where(outside, forced, amplitude)
            limit = np.where(outside, bound, limit)
    residual = y - limit[:, None] - amplitude[:, None] * basis
    return LinearSolution(limit, amplitude, (residual**2) @ weights)


def scan(law: Law, points: Points, shape: Array) -> LinearSolution:
    """Solve the linear pair for every shape, shape (m, n_shape)."""
    parts = []
    for block in blocks(len(points), len(shape)):
        basis = law.sign * law.basis(points.d, shape[block], points.span)
        found = solve_linear(basis, points.y, points.weights, law.limit_bounds)
        parts.append((found.limit, found.amplitude, found.ssr))
    return LinearSolution(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _local_minima(ssr: Array) -> NDArray[np.intp]:
    """Flat indices of grid points no higher than their axis neighbours, best first."""
    lowest = np.ones(ssr.shape, dtype=bool)
    for axis in range(ssr.ndim):
        padded = np.pad(
            ssr, [(1, 1) if a == axis else (0, 0) for a in range(ssr.ndim)], constant_values=np.inf
        )
        size = ssr.shape[axis]
        lowest &= ssr <= np.take(padded, range(size), axis)
        lowest &= ssr <= np.take(padded, range(2, size + 2), axis)
    flat = np.flatnonzero(lowest.ravel())
    return flat[np.argsort(ssr.ravel()[flat], kind="stable")]


def _zoom(law: Law, points: Points, start: Array, log_step: Array, limits: Array) -> Array:
    """Refine a shape by nested grids in log shape; returns the best shape found."""
    centre = np.log(start)
    best, best_ssr = start, np.inf
    for _ in range(_ZOOMS):
        axes = tuple(
            np.exp(np.clip(np.linspace(c - h, c + h, _FINE[law.n_shape]), *lim))
            for c, h, lim in zip(centre, log_step, limits, strict=True)
        )
        shapes = mesh(axes)
        solution = scan(law, points, shapes)
        i = int(np.argmin(solution.ssr))
        if solution.ssr[i] < best_ssr:
            best, best_ssr = shapes[i], float(solution.ssr[i])
        centre = np.log(best)
        # Valleys are oblique to the axes: shrink slowly enough to follow them.
        log_step = log_step * 0.4
    return best


def _polish(law: Law, points: Points, theta: Array, ssr: float) -> Array:
    """Levenberg-Marquardt from `theta` in the published coefficients (lmfit)."""
    import lmfit

    alpha_name = law.parameter_names[0]
    parameters = lmfit.Parameters()
    for parameter, value in zip(law.parameters, theta, strict=True):
        lower, upper = parameter.lower, parameter.upper
        if parameter.name == alpha_name:
            lower, upper = law.alpha_bounds
        parameters.add(parameter.name, value=float(value), min=lower, max=upper)
    root = np.sqrt(points.weights)

    def coefficients(values: lmfit.Parameters) -> Array:
        return np.array([values[name].value for name in law.parameter_names])

    def jacobian(values: lmfit.Parameters) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            gradient = -root[:, None] * law.gradient(points.d, coefficients(values))
        return _bounded(gradient, 1e50)

    def residual(values: lmfit.Parameters) -> Array:
        now = coefficients(values)
        with np.errstate(over="ignore", invalid="ignore"):
            return _bounded(root * (points.y - law.value(points.d, now)), 1e3)

    result = lmfit.minimize(
        residual,
        parameters,
        method="leastsq",
        Dfun=jacobian,
        calc_covar=False,
        max_nfev=400,
        ftol=1e-12,
        xtol=1e-12,
    )
    polished = np.array([result.params[name].value for name in law.parameter_names])
    return polished if float(np.sum(residual(result.params) ** 2)) < ssr else theta


def _bounded(values: Array, most: float) -> Array:
    """Values that a step far off has sent beyond all bounds, kept finite in sums of squares too."""
    return np.asarray(np.clip(np.nan_to_num(values, nan=1e3), -most, most))


def _on_bound(limit: float, bounds: tuple[float, float]) -> float:
    """The bound that Levenberg-Marquardt has come to, from inside; else `limit`."""
    for bound in bounds:
        if abs(limit - bound) < _AT_BOUND:
            return bound
    return limit


def fit_least_squares(law: Law, points: Points, polish: bool = True) -> LeastSquares:
    """Global weighted least-squares fit of a law under its physical bounds.

    Parameters
    ----------
    law : Law
        Law to fit; alpha within ``law.alpha_bounds``, limit within ``law.limit_bounds``.
    points : Points
        At least ``law.n_parameters`` points.
    polish : bool
        Finish with Levenberg-Marquardt (skipped inside resampling loops).
    """
    axes = law.shape_grid(points.span, _COARSE[law.n_shape])
    shapes = mesh(axes)
    sizes = tuple(axis.size for axis in axes)
    solution = scan(law, points, shapes)
    step = np.array([np.log(axis[1] / axis[0]) for axis in axes])
    limits = np.array([[np.log(axis[0]), np.log(axis[-1])] for axis in axes])
    candidates = [
        _zoom(law, points, shapes[i], 1.5 * step, limits)
        for i in _local_minima(solution.ssr.reshape(sizes))[:_BASINS]
    ]
    refined = scan(law, points, np.array(candidates))
    i = int(np.argmin(refined.ssr))
    shape = np.array(candidates[i])
    amplitude, limit, ssr = refined.amplitude[i], refined.limit[i], float(refined.ssr[i])
    theta = law.to_theta(shape, amplitude, limit, points.span)
    on_alpha = shape[0] <= law.alpha_bounds[0] * (1 + 1e-6)
    inside = law.limit_bounds[0] < limit < law.limit_bounds[1] and not on_alpha and amplitude > 0
    if polish and inside and np.all(np.isfinite(theta)):
        theta = _polish(law, points, theta, ssr)
        theta[-1] = _on_bound(float(theta[-1]), law.limit_bounds)
        shape, amplitude, limit = law.from_theta(theta, points.span)
        residual = points.y - law.value(points.d, theta)
        ssr = float(np.sum(points.weights * residual**2))
        on_alpha = bool(shape[0] <= law.alpha_bounds[0] * (1 + 1e-6))
    hit = []
    if on_alpha:
        hit.append(f"{law.parameter_names[0]} = {law.alpha_bounds[0]:g}")
    if shape[0] >= law.alpha_bounds[1] * (1 - 1e-6):
        hit.append(f"{law.parameter_names[0]} = {law.alpha_bounds[1]:g}")
    for bound in law.limit_bounds:
        if limit == bound:
            hit.append(f"{law.parameter_names[-1]} = {bound:g}")
    if amplitude <= 0:
        hit.append("no trend in the law's direction")
    edge = law.edge_form if on_alpha else None
    return LeastSquares(
        theta, np.asarray(shape), float(amplitude), float(limit), ssr, tuple(hit), edge
    )
