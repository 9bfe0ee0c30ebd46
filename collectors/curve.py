"""One layer's CETT as a function of its threshold, and the inverse (Eq. 3)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparsefit.errors import CollectorError

# Thresholds are never 0: a neuron whose output is exactly zero must not count as active.
TINY = float(np.finfo(np.float32).tiny)
_ROUNDING = 1e-12


class CurveRangeError(CollectorError):
    """A CETT value lies outside the range in which a layer's curve was calibrated."""


@dataclass(frozen=True, eq=False)
class LayerCurve:
    """Calibrated curve of one layer.

    Around a known target, the shape comes from a spread-out sample of tokens on a grid of
    thresholds, in logarithms; the level from every token at thresholds near the target (a ratio
    estimator), so that the curve is exact there up to second order and never extrapolated. While a
    root is looked for, the values on the grid are of all tokens already (`turns.Turns`).

    Attributes
    ----------
    log_eps : numpy.ndarray
        Grid of log thresholds on ``||n_i||``, increasing, shape (K,).
    cett : numpy.ndarray
        CETT at the grid, on the token sample or on all tokens, shape (K,), fraction.
    active : numpy.ndarray
        Share of neurons kept at the grid in the dense run, shape (K,).
    anchor_log_eps, anchor_factor : numpy.ndarray
        Mean log threshold and ratio all-tokens / sample of CETT at each target, shape (M,); empty
        where `cett` is to be taken as it is.
    dead : bool
        True where the layer's output was zero at every token: every threshold has CETT 0.
    """

    log_eps: np.ndarray
    cett: np.ndarray
    active: np.ndarray
    anchor_log_eps: np.ndarray
    anchor_factor: np.ndarray
    dead: bool = False

    @cached_property
    def _forward(self) -> Any:
        from scipy.interpolate import CubicSpline, PchipInterpolator

        x, y = self._knots
        if x.size >= 4:
            # Fourth-order accurate on smooth curves, where the monotone interpolant is second.
            spline = CubicSpline(x, y, extrapolate=False)
            if (spline(np.linspace(x[0], x[-1], 16 * x.size), nu=1) > 0).all():
                return spline
        return PchipInterpolator(x, y, extrapolate=False)

    @cached_property
    def _knots(self) -> tuple[np.ndarray, np.ndarray]:
        return strictly_increasing(self.log_eps, self.cett)

    def factor(self, log_eps: np.ndarray | float) -> np.ndarray:
        """Ratio of all-tokens CETT to sample CETT at a log threshold."""
        if self.anchor_factor.size == 0:
            return np.ones_like(np.asarray(log_eps, dtype=float))
        order = np.argsort(self.anchor_log_eps)
        return np.interp(log_eps, self.anchor_log_eps[order], self.anchor_factor[order])

    def sample(self, log_eps: np.ndarray | float) -> np.ndarray:
        """CETT of the token sample at log thresholds inside the grid (NaN outside)."""
        at = np.asarray(log_eps, dtype=float)
        low, high = self._knots[0][[0, -1]]
        # log(exp(x)) of an end of the grid can lie a rounding error outside.
        inside = np.where((at >= low - _ROUNDING) & (at <= high + _ROUNDING), at, np.nan)
        return np.exp(self._forward(np.clip(inside, low, high)))

    def value(self, eps: float) -> float:
        """CETT at a threshold (NaN outside the calibrated range, 0 for a dead layer)."""
        if self.dead:
            return 0.0
        at = np.log(eps)
        return float(self.sample(at) * self.factor(at))

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest CETT that `threshold` can reach."""
        if self.dead:
            return 0.0, np.inf
        x, y = self._knots
        ends = np.exp(y[[0, -1]]) * self.factor(x[[0, -1]])
        return float(ends[0]), float(ends[1])

    def threshold(self, cett: float) -> float:
        """Threshold at which the layer's CETT is `cett`.

        Parameters
        ----------
        cett : float
            Target, fraction. 0 keeps every non-zero neuron; 1 or more drops all.

        Raises
        ------
        CurveRangeError
            Outside the calibrated range.
        """
        if self.dead or cett <= 0:
            return TINY
        if cett >= 1:
            return float("inf")
        low, high = self.range
        if not low <= cett <= high:
            raise CurveRangeError(
                f"CETT {cett:.6g} is outside the calibrated {low:.6g}..{high:.6g}"
            )
        a, b = (float(end) for end in self._knots[0][[0, -1]])
        if cett == low:
            return float(np.exp(a))
        if cett == high:
            return float(np.exp(b))
        from scipy.optimize import brentq

        root = brentq(
            lambda at: float(self._forward(at) + np.log(self.factor(at))) - np.log(cett),
            a,
            b,
            xtol=1e-10,
        )
        return max(TINY, float(np.exp(root)))

    def slope(self, eps: float) -> float:
        """Exponent d log CETT / d log eps around a threshold inside the range (NaN where dead)."""
        if self.dead:
            return np.nan
        low, high = self._around(eps)
        return float((self._forward(high) - self._forward(low)) / (high - low))

    def active_slope(self, eps: float) -> float:
        """Return d (activation ratio) / d log eps of the dense run around a threshold."""
        if self.dead:
            return 0.0
        low, high = self._around(eps)
        order = np.argsort(self.log_eps)
        ends = np.interp([low, high], self.log_eps[order], self.active[order])
        return float((ends[1] - ends[0]) / (high - low))

    def _around(self, eps: float, reach: float = 0.1) -> tuple[float, float]:
        """Log thresholds 10% to both sides: closer, a small sample's curve is all kinks."""
        x, _ = self._knots
        at = float(np.log(eps))
        return max(float(x[0]), at - reach), min(float(x[-1]), at + reach)


def strictly_increasing(
    log_eps: np.ndarray, cett: np.ndarray, tolerance: float = 1e-9
) -> tuple[np.ndarray, np.ndarray]:
    """Return (log eps, log CETT) knots of the curve's running maximum.

    The mean of vector norms can fall by a hair where neuron outputs cancel; the running maximum is
    the curve whose inverse is the first threshold that reaches a CETT. Knots with CETT 0 have no
    logarithm and are left out: their thresholds lie below the smallest neuron.
    """
    order = np.argsort(log_eps)
    x, y = log_eps[order], cett[order]
    positive = y > 0
    x, y = x[positive], np.log(y[positive])
    keep: list[int] = []
    for at in range(x.size):
        if not keep or (y[at] > y[keep[-1]] + tolerance and x[at] > x[keep[-1]] + 1e-12):
            keep.append(at)
    if len(keep) < 2:
        raise CurveRangeError(
            "a layer's CETT curve has fewer than two distinct points: too few of its neurons are "
            "active on this text"
        )
    return x[keep], y[keep]
