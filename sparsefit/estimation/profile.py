"""Profile intervals of coefficients by projecting the likelihood region.

For a given shape the sum of squares is quadratic in (limit, amplitude), so the region
{SSR <= cut} is an ellipse there and its projection on the limit is exact. The union over a grid of
shapes, narrowed to the region, gives the profile interval of every coefficient at once. Residuals
are taken as independent with the weights given: the classical interval, kept for comparison.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

from sparsefit.estimation.least_squares import LeastSquares, mesh, scan
from sparsefit.estimation.points import Points
from sparsefit.laws import Law

Array = NDArray[np.float64]

_SIZE = {1: 2000, 2: 90}
_PASSES = 4


def profile_intervals(law: Law, points: Points, best: LeastSquares, level: float) -> Array:
    """Profile-likelihood interval of each published coefficient.

    Parameters
    ----------
    law, points, best
        The fit.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    ndarray, shape (p, 2)
        Lower and upper ends inside the law's bounds; an unbounded profile ends on its bound
        (of the search for alpha, of the physics for the limit).
    """
    dof = len(points) - law.n_parameters
    cut = best.ssr * (1.0 + f_distribution.ppf(level, 1, dof) / dof)
    cut = max(cut, best.ssr + 1e-18 * float(np.sum(points.weights * points.y**2)))
    axes = law.shape_grid(points.span, _SIZE[law.n_shape])
    ranges = np.array([[np.log(a[0]), np.log(a[-1])] for a in axes])
    shape, solution = np.empty((0, law.n_shape)), scan(law, points, best.shape[None, :])
    for _ in range(_PASSES):
        grid = tuple(np.exp(np.linspace(low, high, _SIZE[law.n_shape])) for low, high in ranges)
        shape = np.vstack([mesh(grid), best.shape[None, :]])
        solution = scan(law, points, shape)
        inside = solution.ssr <= cut
        step = (ranges[:, 1] - ranges[:, 0]) / (_SIZE[law.n_shape] - 1)
        log_inside = np.log(shape[inside])
        ranges = np.stack(
            [
                np.maximum(log_inside.min(0) - step, ranges[:, 0]),
                np.minimum(log_inside.max(0) + step, ranges[:, 1]),
            ],
            axis=1,
        )
    shape = shape[inside]
    limit, amplitude, ssr = (v[inside] for v in (solution.limit, solution.amplitude, solution.ssr))
    basis = law.sign * law.basis(points.d, shape, points.span)
    weights = points.weights
    s_oo, s_og, s_gg = weights.sum(), basis @ weights, (basis**2) @ weights
    det = np.maximum(s_oo * s_gg - s_og**2, 1e-14 * s_oo * s_gg)
    slack = np.maximum(cut - ssr, 0.0)
    reach_limit = np.sqrt(slack * s_gg / det)
    reach_amplitude = np.sqrt(slack * s_oo / det)
    lower_bound, upper_bound = law.limit_bounds
    floor = 1e-9 * points.range
    ends = []
    for sign in (-1.0, 1.0):
        for by_limit in (True, False):
            if by_limit:
                new_limit = np.clip(limit + sign * reach_limit, lower_bound, upper_bound)
                new_amplitude = amplitude - s_og / s_gg * (new_limit - limit)
            else:
                new_amplitude = amplitude + sign * reach_amplitude
                new_limit = limit - s_og / s_oo * (new_amplitude - amplitude)
                new_limit = np.clip(new_limit, lower_bound, upper_bound)
            new_amplitude = np.maximum(new_amplitude, floor)
            ends.append(law.to_theta(shape, new_amplitude, new_limit, points.span))
    everything = np.concatenate([*ends, best.theta[None, :]])
    with np.errstate(invalid="ignore"):
        return np.stack([np.nanmin(everything, axis=0), np.nanmax(everything, axis=0)], axis=1)
