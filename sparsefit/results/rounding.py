"""Values rounded so coarsely that neighbours are equal: an error that all points share.

Rounding errors of values that scatter, or change, by more than the step of the rounding differ from
point to point, and the residuals show them. Where the values hardly leave a step they do not: the
last points of a run that is given in whole percent may be one number, which a curve meets exactly.
The limit may then lie anywhere within half a step of it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.notes import Note

if TYPE_CHECKING:
    from sparsefit.estimation.engine import Averaged
    from sparsefit.estimation.least_squares import LeastSquares
    from sparsefit.estimation.limit_likelihood import LimitLikelihood
    from sparsefit.estimation.points import Points
    from sparsefit.laws import Law

Array = NDArray[np.float64]

# Decimals looked at, and how near to a decimal number a value must be (single precision).
_DECIMALS = range(1, 6)
_FLOAT = 1e-7
# Below this share of equal neighbours, and above this scatter in steps, intervals cover rounded
# simulated runs as they cover others; beyond both they miss the limit of most.
_EQUAL = 0.5
_SCATTER = 0.5


def coarse_step(points: Points, drop: int, fitted: Array) -> float:
    """Step of a rounding that the scatter of points does not show, else 0.

    Parameters
    ----------
    points : Points
        All points of a run: what they end in may be a rounder number than they are given in.
    drop : int
        Number of first points that least squares leaves out.
    fitted : ndarray, shape (n - drop,)
        Its curve at the others.
    """
    values, used = points.y, points.y[drop:]
    for decimals in _DECIMALS:
        error = np.abs(values - np.round(values, decimals))
        if np.all(error <= _FLOAT * np.maximum(np.abs(values), 1e-3)):
            break
    else:
        return 0.0
    step = float(f"1e-{decimals}")
    scatter = float(np.sqrt(np.mean((used - fitted) ** 2)))
    equal = float(np.mean(np.abs(np.diff(used)) < 0.5 * step))
    return step if equal >= _EQUAL and scatter < _SCATTER * step else 0.0


def allowing_for_rounding(
    law: Law,
    points: Points,
    best: LeastSquares,
    drop: int,
    averaged: Averaged,
    rng: np.random.Generator,
) -> tuple[Averaged, tuple[Note, ...]]:
    """Draws and the limit's likelihood with an unknown error of up to half a step, and a note.

    Each draw is moved as a whole; the likelihood is the best over all moves, so that the interval
    of the limit grows by half a step at each end. Nothing changes where the scatter of the points
    shows how they are rounded.

    Parameters
    ----------
    law, points, averaged
        The law, all points of the run, and its fit.
    best, drop : LeastSquares, int
        The least-squares fit and the number of first points that it leaves out.
    rng : numpy.random.Generator
        Source of the moves.
    """
    step = coarse_step(points, drop, law.value(points.d[drop:], best.theta))
    if not step:
        return averaged, ()
    half = 0.5 * step
    lower, upper = law.limit_bounds
    moved = averaged.draws.limit + rng.uniform(-half, half, len(averaged.draws))
    # A limit stays inside its bounds, but need not leave one that it is on.
    moved = np.clip(moved, lower, np.maximum(np.nextafter(upper, lower), averaged.draws.limit))
    allowed = replace(
        averaged,
        draws=replace(averaged.draws, limit=moved),
        likelihood=_widened(averaged.likelihood, half),
    )
    words = (
        f"the values are rounded to {step:g}, and neighbours are equal: intervals allow for half "
        "of that on either side; give more digits"
    )
    return allowed, (Note(words, "rounding"),)


def _widened(likelihood: LimitLikelihood, half: float) -> LimitLikelihood:
    best = int(np.argmax(likelihood.relative))
    low, high = likelihood.bounds
    limit = np.concatenate([likelihood.limit[: best + 1] - half, likelihood.limit[best:] + half])
    relative = np.concatenate([likelihood.relative[: best + 1], likelihood.relative[best:]])
    # The nearest limit beyond a bound stands for the bound.
    first = max(int(np.searchsorted(limit, low, side="right")) - 1, 0)
    last = min(int(np.searchsorted(limit, high, side="left")), limit.size - 1)
    return replace(
        likelihood,
        limit=np.clip(limit[first : last + 1], low, high),
        relative=relative[first : last + 1],
    )
