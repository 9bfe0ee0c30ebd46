"""Profile intervals of coefficients by projecting the likelihood region.

For a given shape the sum of squares is quadratic in (limit, amplitude), so the region
{SSR <= cut} is an ellipse there and its projection on the limit is exact. The union over a grid of
shapes, narrowed to the region, gives the profile interval of every coefficient at once. Residuals
are taken as independent with the weights given: the classical interval, kept for comparison.

The region in (alpha, kappa) is a thin oblique ridge. Each alpha therefore has its own range of
kappa, which closes in on the ridge there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution

from sparsefit.estimation.condense import NOTHING, Within
from sparsefit.estimation.least_squares import LeastSquares, scan
from sparsefit.estimation.points import Points
from sparsefit.laws import Law

Array = NDArray[np.float64]

# Values of alpha and of kappa for each, while the region is searched and in the end.
_ROWS, _COLUMNS = {1: 400, 2: 48}, {1: 1, 2: 24}
_FINAL_ROWS, _FINAL_COLUMNS = {1: 400, 2: 100}, {1: 1, 2: 28}
# Passes before the range of alpha is narrowed: kappa must have come to the ridge by then.
_SETTLE = {1: 1, 2: 3}
_NARROWINGS = 3


def _columns(low: Array, high: Array, size: int) -> Array:
    """Evenly spaced values from low to high for each row, shape (len(low), size)."""
    return low[:, None] + (high - low)[:, None] * np.linspace(0.0, 1.0, size)


def _region(law: Law, points: Points, best: LeastSquares, cut: float) -> Array:
    """Log shapes on a grid that covers {SSR <= cut} closely, shape (rows, columns, n_shape)."""
    n_shape = law.n_shape
    ranges = np.log([[axis[0], axis[-1]] for axis in law.shape_grid(points.span, 2)])
    rows = np.linspace(ranges[0, 0], ranges[0, 1], _ROWS[n_shape])
    # Without a kappa there is one column of ones.
    low, high = (np.full(rows.size, ranges[1][i] if n_shape == 2 else 0.0) for i in (0, 1))

    def shapes(columns: Array) -> Array:
        alpha = np.repeat(rows, columns.shape[1])
        return np.stack([alpha, columns.ravel()], axis=-1)[:, :n_shape]

    settle, last_pass = _SETTLE[n_shape], _SETTLE[n_shape] + _NARROWINGS - 2
    for step in range(last_pass + 1):
        columns = _columns(low, high, _COLUMNS[n_shape])
        ssr = scan(law, points, np.exp(shapes(columns))).ssr.reshape(columns.shape)
        lowest = ssr.min(axis=1)
        # Rows that miss the region close in on their own best value.
        near = ssr <= np.maximum(cut, lowest)[:, None]
        first = np.maximum(near.argmax(axis=1) - 1, 0)
        last = np.minimum(columns.shape[1] - near[:, ::-1].argmax(axis=1), columns.shape[1] - 1)
        low, high = (np.take_along_axis(columns, at[:, None], 1)[:, 0] for at in (first, last))
        if step < settle - 1:
            continue
        kept = np.append(
            np.flatnonzero(lowest <= cut), np.abs(rows - np.log(best.shape[0])).argmin()
        )
        start, stop = max(kept.min() - 1, 0), min(kept.max() + 1, rows.size - 1)
        size = (_FINAL_ROWS if step == last_pass else _ROWS)[n_shape]
        finer = np.linspace(rows[start], rows[stop], size)
        # The ridge is oblique: take the union of a row's and its neighbours' ranges.
        gap = rows[1] - rows[0]
        at = [np.clip(finer + shift, rows[0], rows[-1]) for shift in (-gap, 0.0, gap)]
        low = np.min([np.interp(x, rows, low) for x in at], axis=0)
        high = np.max([np.interp(x, rows, high) for x in at], axis=0)
        rows = finer
    return shapes(_columns(low, high, _FINAL_COLUMNS[n_shape])).reshape(rows.size, -1, n_shape)


def _crossings(path: Array, ssr: Array, cut: float) -> Array:
    """Log shapes where SSR crosses the cut along paths, shape (crossings, n_shape).

    Parameters
    ----------
    path : ndarray, shape (paths, steps, n_shape)
        Log shapes.
    ssr : ndarray, shape (paths, steps)
        Sums of squares there, taken as linear from step to step.
    cut : float
        Level.
    """
    before, after = ssr[:, :-1], ssr[:, 1:]
    cross = (before <= cut) != (after <= cut)
    share = ((cut - before[cross]) / (after[cross] - before[cross]))[:, None]
    return np.asarray(path[:, :-1][cross] * (1.0 - share) + path[:, 1:][cross] * share)


def profile_intervals(
    law: Law, points: Points, best: LeastSquares, level: float, within: Within = NOTHING
) -> Array:
    """Profile-likelihood interval of each published coefficient.

    Parameters
    ----------
    law, points, best
        The fit.
    level : float
        Confidence level in (0, 1).
    within : Within
        What the points have lost by averaging (`condense`).

    Returns
    -------
    ndarray, shape (p, 2)
        Lower and upper ends inside the law's bounds; an unbounded profile ends on its bound
        (of the search for alpha, of the physics for the limit).
    """
    dof = len(points) + within.points - law.n_parameters
    cut = best.ssr + (best.ssr + within.ssr) * f_distribution.ppf(level, 1, dof) / dof
    cut = max(cut, best.ssr + 1e-18 * float(np.sum(points.weights * points.y**2)))
    region = _region(law, points, best, cut)
    grid = np.exp(region.reshape(-1, law.n_shape))
    found = scan(law, points, grid)
    ssr = found.ssr.reshape(region.shape[:2])
    lowest = np.arange(len(region)), ssr.argmin(axis=1)
    edges = np.concatenate(
        [_crossings(region, ssr, cut), _crossings(region[lowest][None], ssr[lowest][None], cut)]
    )
    more = np.vstack([np.exp(edges), best.shape[None, :]])
    solved, inside = scan(law, points, more), found.ssr <= cut
    shape = np.vstack([grid[inside], more])
    limit = np.append(found.limit[inside], solved.limit)
    amplitude = np.append(found.amplitude[inside], solved.amplitude)
    ssr = np.append(found.ssr[inside], solved.ssr)
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
