"""When a forecast curve meets a target, from its quantiles: pure functions on arrays.

An interval for the tokens is the band of the curve, read sideways: its ends are where the ends of
the band meet the target. This is what a backtest scores as budgets, it takes marginal
distributions only, and for curves that move one way it is the distribution of their crossings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEVELS = (np.arange(1000) + 0.5) / 1000


@dataclass(frozen=True)
class Curve:
    """Quantiles of a curve.

    Attributes
    ----------
    tokens : ndarray, shape (n,)
        Raw token counts, increasing.
    quantiles : ndarray, shape (m, n)
        At `LEVELS`, from low to high.
    """

    tokens: Array
    quantiles: Array

    @classmethod
    def of_draws(cls, tokens: Array, draws: Array) -> Curve:
        """Build from draws, shape (any, n)."""
        return cls(tokens, np.asarray(np.quantile(draws, LEVELS, axis=0)))

    @property
    def median(self) -> Array:
        """Median at each of `tokens`."""
        return np.asarray(np.median(self.quantiles, axis=0))

    def meets(self, target: float, rising: bool) -> Array:
        """Tokens at which each quantile first comes to the target, shape (m,).

        Log-linear between the counts; ``-inf`` where it is there from the start, ``inf`` where it
        never gets there.
        """
        gap = (self.quantiles - target) * (1.0 if rising else -1.0)
        # Once met, a target is met: a band may widen again.
        gap = np.maximum.accumulate(gap, axis=1)
        met = gap >= 0
        at = np.minimum(np.maximum(met.argmax(axis=1), 1), gap.shape[1] - 1)
        row = np.arange(len(gap))
        before, after = gap[row, at - 1], gap[row, at]
        between = met[:, -1] & ~met[:, 0]
        share = np.zeros(len(gap))
        np.divide(-before, after - before, out=share, where=between)
        log_tokens = np.log(self.tokens)
        found = np.exp(log_tokens[at - 1] + share * (log_tokens[at] - log_tokens[at - 1]))
        return np.where(met[:, 0], -np.inf, np.where(met[:, -1], found, np.inf))


def crossings(ahead: Curve, within: Callable[[], Curve], target: float, rising: bool) -> Array:
    """Evenly weighted tokens at which the target is met, in the data or ahead.

    Parameters
    ----------
    ahead : Curve
        Forecast from the last point on.
    within : callable
        Returns the curve from the first point to the last. It is asked only if the forecast has met
        the target at the last point, with some probability; that part of it is dated by this curve.
    target : float
        Target.
    rising : bool
        Which way the curve moves.

    Returns
    -------
    ndarray, shape (m,)
        Raw tokens: just below the first point's where the target was met before it, ``inf`` where
        it is not met as far as the forecast goes.
    """
    found = np.sort(ahead.meets(target, rising))
    by_now = np.isneginf(found)
    count = int(by_now.sum())
    if count:
        past = within()
        first, last = past.tokens[0], past.tokens[-1]
        dated = np.sort(past.meets(target, rising))
        dated = np.where(np.isneginf(dated), np.nextafter(first, 0.0), dated)
        dated = dated[np.isfinite(dated)]
        found[by_now] = np.quantile(dated, (np.arange(count) + 0.5) / count) if dated.size else last
    return found


def scatter(tokens: Array, values: Array) -> float:
    """Standard deviation of single points, from each one's distance to the line of its neighbours.

    References
    ----------
    Gasser, Sroka & Jennen-Steinmetz (1986), Residual variance and residual pattern in nonlinear
    regression, Biometrika 73.
    """
    if len(values) < 3:
        return float(np.std(values))
    x = np.log(tokens)
    left = (x[2:] - x[1:-1]) / (x[2:] - x[:-2])
    right = 1.0 - left
    gap = left * values[:-2] + right * values[2:] - values[1:-1]
    return float(np.sqrt(np.mean(gap**2 / (left**2 + right**2 + 1.0))))
