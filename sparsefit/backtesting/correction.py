"""Forecasts corrected by how forecasts of the user's other runs went: pure functions on arrays.

An interval holds only under its model. A backtest shows how far the later points of similar runs
were from their forecasts, in units of the forecasts' own spread. The next forecast is moved and
widened accordingly, at each horizon by the errors made at about that horizon. Each run counts once,
however many points it has, and imagined runs that err as much as claimed hold the correction back.
A run's own earlier errors are left out: on simulated families they told nothing about its later
ones, which are forecast from a fit that has seen those points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

PRIOR_RUNS = 2.0
"""Runs forecast as well as the method claims that are assumed before any error is seen. Chosen on
simulated families of runs."""

REACH = 0.3
"""Errors count less by 1/e for each such difference in log horizon. Chosen there as well."""

LARGE_WIDENING, LARGE_SHIFT = 1.75, 1.25
"""Corrections that are put into words: above those of simulated families that follow the law."""

_LARGEST = 10.0
# Predictive standard deviation of a new run before any error is seen.
_UNSEEN = np.sqrt(1 + 1 / PRIOR_RUNS)
_CENTRAL = (0.1587, 0.5, 0.8413)


@dataclass(frozen=True)
class Errors:
    """Standardised forecast errors of one run.

    Attributes
    ----------
    run, kind : str
        The run, and what it has in common with runs that it can speak for.
    horizon : ndarray, shape (n,)
        Tokens forecast over tokens seen.
    z : ndarray, shape (n,)
        Errors in units of the forecast's spread, see `standardised`.
    relative : ndarray, shape (n,)
        Errors over the range of the points that were seen.
    covered : ndarray of bool, shape (n,)
        Whether the point lay inside its 90% interval.
    """

    run: str
    kind: str
    horizon: Array
    z: Array
    relative: Array
    covered: NDArray[np.bool_]


def centre_and_spread(sample: Array) -> tuple[Array, Array]:
    """Median and half the central 68% range of each column."""
    low, middle, high = np.quantile(sample, _CENTRAL, axis=0)
    return middle, np.maximum((high - low) / 2.0, 1e-12)


def standardised(sample: Array, observed: Array) -> Array:
    """Errors of forecasts in units of their spread, positive where the measurement is higher.

    Parameters
    ----------
    sample : ndarray, shape (m, n)
        Evenly weighted sample of each forecast.
    observed : ndarray, shape (n,)
        Measurements.
    """
    middle, spread = centre_and_spread(sample)
    # One forecast that was certain and wrong must not decide everything.
    return np.asarray(np.clip((observed - middle) / spread, -_LARGEST, _LARGEST))


@dataclass(frozen=True)
class Correction:
    """What past errors suggest at each of n horizons.

    Attributes
    ----------
    shift : ndarray, shape (n,)
        Mean error in units of the forecast's spread; 0 without errors.
    relative : ndarray, shape (n,)
        Mean error over the range of the points seen.
    widening : ndarray, shape (n,)
        Factor; below 1 it narrows.
    """

    shift: Array
    relative: Array
    widening: Array

    def move(self, spread: Array, seen_range: float) -> Array:
        """How far to move a forecast: the smaller of what the two units say, 0 if they disagree.

        A young run's wide forecast must not be moved by a multiple of its width.
        """
        first, second = self.shift * spread, self.relative * seen_range
        smaller = np.minimum(np.abs(first), np.abs(second))
        return np.where(first * second > 0, np.sign(first) * smaller, 0.0)

    def applied(self, draws: Array, centre: Array, spread: Array, seen_range: float) -> Array:
        """Draws (m, n) moved and widened about the forecast's `centre`, kept inside (0, 1]."""
        moved = centre + self.move(spread, seen_range) + self.widening * (draws - centre)
        return np.asarray(np.clip(moved, np.finfo(float).tiny, 1.0))


def correction_at(horizon: Array, errors: Sequence[Errors]) -> Correction:
    """Shift and widening that past errors suggest, by horizon.

    Mean and mean square of the standardised errors are those of a normal distribution of runs with
    a conjugate prior worth `PRIOR_RUNS` runs of mean 0 and variance 1. The widening is the
    predictive standard deviation of a new run: above 1 in units of that without any error seen,
    below 1 as it is, so that only errors that are clearly smaller than claimed narrow a forecast.

    Parameters
    ----------
    horizon : ndarray, shape (n,)
        Tokens forecast over tokens seen.
    errors : sequence of Errors
        Of runs of the same kind.

    Returns
    -------
    Correction
    """
    shift, relative = np.zeros(len(horizon)), np.zeros(len(horizon))
    widening = np.ones(len(horizon))
    for i, at in enumerate(np.log(horizon)):
        runs, total, moved, square = 0.0, 0.0, 0.0, 0.0
        for one in errors:
            near = np.exp(-np.abs(np.log(one.horizon) - at) / REACH)
            weight = near.max(initial=0.0)
            if weight > 0:
                near /= near.sum()
                runs += weight
                total += weight * float(near @ one.z)
                moved += weight * float(near @ one.relative)
                square += weight * float(near @ one.z**2)
        count = PRIOR_RUNS + runs
        shift[i], relative[i] = total / count, moved / count
        variance = (PRIOR_RUNS + square) / count - shift[i] ** 2
        predictive = np.sqrt(variance * (1 + 1 / count))
        widening[i] = max(predictive / _UNSEEN, min(predictive, 1.0))
    return Correction(shift, relative, widening)


def sentence(errors: Sequence[Errors]) -> str | None:
    """What the errors say in words, None where they call for no more than a small correction."""
    if not any(one.z.size for one in errors):
        return None
    seen = np.concatenate([one.horizon for one in errors])
    horizon = np.geomspace(seen.min(), seen.max(), 12)
    found = correction_at(horizon, errors)
    size = np.maximum(found.widening / LARGE_WIDENING, np.abs(found.shift) / LARGE_SHIFT)
    at = int(np.argmax(size))
    if size[at] < 1.0:
        return None
    shift, widening = found.shift[at], found.widening[at]
    held = np.mean([one.covered.mean() for one in errors])
    runs = "one run" if len(errors) == 1 else f"{len(errors)} runs"
    way = "above" if shift > 0 else "below"
    return (
        f"The methods do not describe these runs well: their 90% intervals held {100 * held:.0f}% "
        f"of the later points of {runs}, which lay {way} the forecasts. At "
        f"{horizon[at]:.2g} times the tokens seen, intervals are widened {widening:.1f} times and "
        f"medians moved by up to {shift:+.1f} of the forecast's spread. Do not rely on a limit "
        "from the law alone."
    )
