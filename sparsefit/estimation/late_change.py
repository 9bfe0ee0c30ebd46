"""Do the last points leave the curve of those before them?

The decay of a learning rate moves the activation ratio within a few checkpoints, and so do new data
or another batch size. No law describes that, and with the law's direction it is no turn: a fit just
bends towards the last points, and its limit with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as t_distribution

from sparsefit.estimation.points import Points
from sparsefit.laws import Law

Array = NDArray[np.float64]

# Level of the test, over all places together. On simulated runs that follow a law it warns of 1 in
# 100 at most, also where neighbouring residuals correlate by 0.95; a change that matters is far
# beyond it.
_ALARM = 1e-3
# Correlations of neighbouring residuals that are tried.
_CORRELATIONS = (0.0, 0.3, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98)
# A polynomial of this degree in log D, beside the law, follows runs that depart from it slowly.
_DEGREE = 4
# Earlier points than this share of the tokens say nothing about the end.
_EARLIEST = 1.0 / 30.0
# Share of the points that may have left the curve, and how many places are tried.
_MOST, _PLACES = 0.25, 12
# Of more points, means of neighbours are taken.
_POINTS = 160
# Share of the range of these points by which the last point has to be off.
_LEAST = 0.01
# Fewer residual degrees of freedom tell nothing.
_FREEDOM = 5


@dataclass(frozen=True)
class LateChange:
    """Where the last points leave the curve.

    Attributes
    ----------
    first : float
        D between the last point on the curve and the first off it.
    shift : float
        How far the curve is off at the last point, in the unit of the response.
    """

    first: float
    shift: float


def late_change(law: Law, used: Points, theta: Array) -> LateChange | None:
    """Find a ramp at the end that a smooth curve with correlated residuals does not explain.

    The smooth curve is the law, with any coefficients near those of its fit, plus a polynomial.

    Parameters
    ----------
    law, used : Law, Points
        The law and the points without their warm-up.
    theta : ndarray, shape (p,)
        Coefficients of the least-squares fit.

    Returns
    -------
    LateChange or None
        None where there is no clear change, and where there are too few points to tell.
    """
    recent = used.d >= _EARLIEST * used.d[-1]
    d = used.d[recent]
    y = used.y[recent] - law.value(d, theta)
    slopes = law.gradient(d, theta)
    size = -(-len(d) // _POINTS)
    if size > 1:
        starts = np.arange(0, len(d), size)
        counts = np.diff(starts, append=len(d))
        d, y = (np.add.reduceat(values, starts) / counts for values in (d, y))
        slopes = np.add.reduceat(slopes, starts, axis=0) / counts[:, None]
    n = len(d)
    if n < _DEGREE + 4 or np.ptp(y) <= 0:
        return None
    smooth = _smooth(np.log(d), slopes)
    freedom = n - smooth.shape[1] - 1
    if freedom < _FREEDOM:
        return None
    places = np.unique(np.geomspace(2, max(2, int(_MOST * n)), _PLACES).round().astype(int))
    best = (_ALARM / places.size, 0, 0.0)
    for last in places:
        corner = d[-last - 1]
        ramp = np.clip((d - corner) / (d[-1] - corner), 0.0, None)
        p_value, shift = _ramp(np.column_stack([smooth, ramp]), y, freedom)
        if p_value < best[0] and abs(shift) > _LEAST * np.ptp(used.y[recent]):
            best = (p_value, int(last), shift)
    _, last, shift = best
    return LateChange(float(d[-last - 1] + d[-last]) / 2.0, shift) if last else None


def _smooth(log_d: Array, slopes: Array) -> Array:
    """Orthonormal basis of the smooth curves, shape (n, rank)."""
    powers = np.vander((log_d - log_d.mean()) / np.ptp(log_d), _DEGREE + 1)
    columns = np.column_stack([powers, slopes])
    sizes = np.linalg.norm(columns, axis=0)
    left, values, _ = np.linalg.svd(columns[:, sizes > 0] / sizes[sizes > 0], full_matrices=False)
    return np.asarray(left[:, values > 1e-4 * values[0]])


def _ramp(design: Array, y: Array, freedom: int) -> tuple[float, float]:
    """P-value and size of the last column, averaged over correlations of the residuals.

    The likeliest correlation alone would be too sure of itself: a few dozen points that wander
    often look less correlated than they are.
    """
    log_weight, p_value, size = np.empty((3, len(_CORRELATIONS)))
    for at, rho in enumerate(_CORRELATIONS):
        x, z = _whitened(design, rho), _whitened(y, rho)
        normal = x.T @ x
        coefficients = np.linalg.solve(normal, x.T @ z)
        # Rounding is all that is left of points on a curve.
        square = max(float(np.sum((z - x @ coefficients) ** 2)), (1e-9 * np.ptp(y)) ** 2)
        error = np.sqrt(square / freedom * np.linalg.inv(normal)[-1, -1])
        size[at] = coefficients[-1]
        p_value[at] = 2.0 * t_distribution.sf(abs(size[at]) / error, freedom)
        # Restricted likelihood: the coefficients would hide part of the correlation.
        log_weight[at] = 0.5 * np.log(1.0 - rho**2) - freedom / 2.0 * np.log(square)
        log_weight[at] -= 0.5 * np.linalg.slogdet(normal)[1]
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    return float(weight @ p_value), float(weight @ size)


def _whitened(values: Array, rho: float) -> Array:
    """Values from which what neighbours share is taken."""
    out = values.copy()
    out[1:] -= rho * values[:-1]
    out[0] *= np.sqrt(1.0 - rho**2)
    return out
