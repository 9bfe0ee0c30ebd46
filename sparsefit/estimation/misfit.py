"""Does the law describe the points at all?

A law always fits something. These checks look for the ways in which training runs leave it: a curve
that goes the other way, one that turns, and points that a smooth curve of the same kind with two
more coefficients would describe far better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution
from scipy.stats import t as student_t

from sparsefit.estimation.least_squares import LeastSquares
from sparsefit.estimation.points import Points
from sparsefit.laws import Law

Array = NDArray[np.float64]

# One false alarm in a thousand runs that follow the law, if their residuals were independent.
_ALARM = 1e-3


def _trend(x: Array, y: Array) -> tuple[float, float]:
    """Slope of y on x and its one-sided p-value for a positive slope, allowing for correlation."""
    n = x.size
    centred = x - x.mean()
    slope = float(centred @ (y - y.mean()) / (centred @ centred))
    residual = y - y.mean() - slope * centred
    total = float(residual @ residual)
    if total <= 1e-30:
        return slope, 0.0 if slope > 0 else 1.0
    lag1 = min(max(float(residual[1:] @ residual[:-1]) / total, 0.0), 0.9)
    # Correlated residuals are worth fewer independent ones.
    dof = max((n - 2) * (1 - lag1) / (1 + lag1), 1.0)
    se = np.sqrt(total / dof / (centred @ centred))
    return slope, float(student_t.sf(slope / se, dof))


def misfit_notes(law: Law, points: Points, best: LeastSquares) -> tuple[str, ...]:
    """Sentences on how the law fails to describe the points (none if it does).

    Parameters
    ----------
    law, points, best
        The law, the points that the least-squares fit used, and the fit.
    """
    notes = []
    n = len(points)
    log_d = np.log(points.d)
    way, against = ("fall", "rise") if law.sign > 0 else ("rise", "fall")
    _, p_wrong = _trend(log_d, law.sign * points.y)
    turned = False
    # A turn: a stretch of at least a quarter of the points at the end, and at least five, that goes
    # against the law after the best value was met.
    signed = law.sign * points.y
    smooth = np.convolve(signed, np.ones(3) / 3, mode="valid") if n >= 8 else signed
    turning = int(np.argmin(smooth)) + (1 if n >= 8 else 0)
    rest = n - turning
    if rest >= max(5, n // 4) and turning > 0:
        gain, p_turn = _trend(log_d[turning:], signed[turning:])
        gain *= float(log_d[-1] - log_d[turning])
        # Picking the lowest point makes a rise after it likelier: ask for more.
        turned = p_turn < _ALARM / 10 and gain > 0.05 * points.range
    if p_wrong < _ALARM and not turned:
        notes.append(
            f"the points {against} with training where {law.name} can only {way}: this law does "
            "not describe this run"
        )
    elif turned:
        notes.append(
            f"the points turn and {against} after {points.d[turning] * 1e9:.3g} tokens where "
            f"{law.name} can only {way}: this law does not describe this run, and its limit and "
            "forecast should not be used"
        )
    elif n >= law.n_parameters + 6:
        residual = (points.y - law.value(points.d, best.theta)) * np.sqrt(points.weights)
        x = (log_d - log_d.mean()) / max(float(np.ptp(log_d)), 1e-12)
        design = np.stack([np.ones(n), x, x**2, x**3, x**4], axis=1)
        coefficients, *_ = np.linalg.lstsq(design, residual, rcond=None)
        left = residual - design @ coefficients
        total, rest_ss = float(residual @ residual), float(left @ left)
        dof = n - law.n_parameters - 2
        if rest_ss > 0:
            statistic = (total - rest_ss) / 2.0 / (rest_ss / dof)
            if f_distribution.sf(statistic, 2, dof) < _ALARM:
                notes.append(
                    "the residuals form a smooth pattern in log D that the law cannot follow: "
                    "its form is only approximate for this run"
                )
    return tuple(notes)
