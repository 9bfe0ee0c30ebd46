"""Does the law describe the points at all?

A law always fits something. These checks look for the ways in which training runs leave it: a curve
that goes the other way, one that turns, one whose end breaks off, and points that a smooth curve of
the same kind with two more coefficients would describe far better.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as f_distribution
from scipy.stats import spearmanr

from sparsefit.counts import count_text
from sparsefit.estimation.acceleration import acceleration_p_value
from sparsefit.estimation.late_change import late_change
from sparsefit.estimation.least_squares import LeastSquares
from sparsefit.estimation.noise import FADES, fading
from sparsefit.estimation.notes import Note
from sparsefit.estimation.points import Points
from sparsefit.laws import TOKENS_PER_UNIT, Law

Array = NDArray[np.float64]

# One false alarm in a thousand runs that follow the law, if their residuals were independent.
_ALARM = 1e-3
# Level of the test for acceleration: it is exact for a line in log D, the law's edge, and warns of
# some 2% of simulated runs that follow the law.
_ACCELERATES = 0.2
# One false alarm in a hundred runs that follow the law with independent residuals.
_DEPARTS = 0.01
# Most correlation of neighbouring residuals that the test for a pattern allows for.
_MOST_CORRELATION = 0.95
# Rank correlation that counts as going one way.
_MONOTONE = 0.8
# A turn rises by this many noise scales and by this share of the range of the data, which
# correlated noise around a clear trend does not reach.
_TURN_NOISE = 6.0
_TURN_RANGE = 0.1


def _noise(y: Array) -> float:
    """Noise scale from second differences, which a smooth curve hardly enters."""
    return float(np.median(np.abs(np.diff(y, 2))) / 0.6745 / np.sqrt(6.0))


def only_rounding(residual: Array, values: Array) -> bool:
    """Whether only the rounding of floats is left of values on a curve.

    Such numbers of the size of 1e-17 are alike: they pass for correlated, and for smooth.
    """
    return float(np.max(np.abs(residual))) <= 1e-13 * float(np.max(np.abs(values)))


def leaves_at_the_start(law: Law, points: Points, best: LeastSquares) -> bool:
    """Whether a departure that fades from the first point on improves a fit to all points.

    The evidence of models with such a departure says how far intervals have to allow for one; it
    grows on points that follow the law, too, where few shapes would do so. This is the test of one
    more coefficient, in the linear approximation about the optimum.

    Parameters
    ----------
    law, points : Law, Points
        The law and all points of the run.
    best : LeastSquares
        The least-squares fit to all of them.
    """
    root = np.sqrt(points.weights)
    residual = (points.y - law.value(points.d, best.theta)) * root
    slopes = law.gradient(points.d, best.theta) * root[:, None]
    norms = np.linalg.norm(slopes, axis=0)
    basis, _ = np.linalg.qr(slopes[:, norms > 0] / norms[norms > 0])
    fade = fading(points, FADES[-1]) * root
    fade = fade - basis @ (basis.T @ fade)
    left = residual - basis @ (basis.T @ residual)
    dof = len(points) - law.n_parameters - 1
    size = float(fade @ fade)
    if dof < 1 or size <= 1e-12 * len(points):
        return False
    gained = float(fade @ left) ** 2 / size
    rest = max(float(left @ left) - gained, 1e-300)
    return bool(f_distribution.sf(gained / (rest / dof), 1, dof) < _DEPARTS)


def goes_against(law: Law, points: Points) -> Note | None:
    """Note on points that go, or from some point on turn, against the law; None if they do not.

    Parameters
    ----------
    law, points : Law, Points
        The law and all points of the run.
    """
    n = len(points)
    log_d = np.log(points.d)
    way, against = ("fall", "rise") if law.sign > 0 else ("rise", "fall")
    # In these values the law falls.
    signed = law.sign * points.y
    noise = _noise(signed)
    smooth = np.convolve(signed, np.ones(3) / 3, mode="valid")
    wrong = spearmanr(log_d, signed).statistic > _MONOTONE
    # A turn: a stretch at the end of at least a quarter of the points, and at least five, that
    # goes against the law by much more than noise, correlated noise included.
    turning = int(np.argmin(smooth)) + 1
    gain = float(smooth[-1] - smooth.min())
    turned = (
        not wrong
        and n - turning >= max(5, n // 4)
        and gain > max(_TURN_NOISE * noise, _TURN_RANGE * points.range)
        and spearmanr(log_d[turning:], signed[turning:]).statistic > _MONOTONE
    )
    if wrong:
        return Note(
            f"the points {against} with training where {law.name} can only {way}: this law does "
            "not describe this run",
            "misfit",
        )
    if turned:
        after = count_text(points.d[turning] * TOKENS_PER_UNIT)
        return Note(
            f"the points turn and {against} after {after} tokens where {law.name} can only {way}: "
            "this law does not describe this run, and its limit and forecast should not be used",
            "misfit",
        )
    return None


def departures(law: Law, points: Points, drop: int, best: LeastSquares) -> tuple[Note, ...]:
    """Notes on how points that go the way of the law still leave it (none if they do not).

    Parameters
    ----------
    law, points : Law, Points
        The law and all points of the run.
    drop, best : int, LeastSquares
        The least-squares fit and the number of first points that it leaves out.
    """
    used = points.since(drop)
    notes = []
    if _accelerates(law, used):
        words = (
            f"the curve accelerates in log D, which {law.name} cannot represent: its forecast "
            "would flatten too early, and its limit should not be used"
        )
        notes.append(Note(words, "speeds up"))
    changed = late_change(law, used, best.theta)
    if changed is not None:
        since = count_text(changed.first * TOKENS_PER_UNIT)
        words = (
            f"the points after {since} tokens leave the curve of those before them: no law "
            "describes the decay of a learning rate, or new data. Leave them out (--before "
            f"{since}, or the rows with fewer tokens) and add to the forecast what such a phase "
            "changes"
        )
        notes.append(Note(words, "late change"))
    elif _has_pattern(law, used, best):
        words = (
            "the residuals form a smooth pattern in log D that the law cannot follow: its form is "
            "only approximate for this run"
        )
        notes.append(Note(words, "pattern"))
    return tuple(notes)


def _accelerates(law: Law, used: Points) -> bool:
    """Whether the points speed up in log D and the law can only slow down."""
    if law.edge_has_limit or law.response != "activation_ratio":
        return False
    return acceleration_p_value(np.log(used.d), -law.sign * used.y) < _ACCELERATES


def _has_pattern(law: Law, used: Points, best: LeastSquares) -> bool:
    """Whether a polynomial of degree 4 in log D describes the residuals far better than noise.

    An F test, its variance that of residuals correlated from checkpoint to checkpoint.
    """
    dof = len(used) - law.n_parameters - 2
    if dof < 4:
        return False
    residual = used.y - law.value(used.d, best.theta)
    if only_rounding(residual, used.y):
        return False
    residual = residual * np.sqrt(used.weights)
    x = np.log(used.d)
    x = (x - x.mean()) / max(float(np.ptp(x)), 1e-12)
    design = np.stack([np.ones(x.size), x, x**2, x**3, x**4], axis=1)
    coefficients, *_ = np.linalg.lstsq(design, residual, rcond=None)
    left = residual - design @ coefficients
    total, rest = float(residual @ residual), float(left @ left)
    if rest <= 0:
        return False
    # Correlated residuals form such curves by themselves, the more points the more clearly. What is
    # left of a pattern when its polynomial is taken out tells the correlation.
    lag1 = float(np.clip(left[1:] @ left[:-1] / rest, 0.0, _MOST_CORRELATION))
    inflation = (1.0 + lag1) / (1.0 - lag1)
    statistic = (total - rest) / 2.0 / (rest / dof * inflation)
    return bool(f_distribution.sf(statistic, 2, dof) < _ALARM)
