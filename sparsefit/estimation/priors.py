"""Reference measures for the shape of a law: what is assumed before seeing any curve.

Both laws are described by what the data show, the value at the last point and the change over the
data, plus what they do not show. Those two shown quantities get a flat measure. The rest:

* alpha: exponential with mean 1. Exponential relaxation (Eq. 4) and 1/D convergence (Eq. 5) are the
  centre, plain power laws and logarithms (alpha near 0) are as likely as alpha near 1.
* Eq. 4's excess e over the limit at the last point, next to the change over the data Delta:
  density proportional to 1 / sqrt(e (e + Delta)) between 0 and the last value. It is the arcsine
  (Jeffreys-like) measure for the share of the fall that is still to come and says little about the
  limit: any A0 between 0 and the last value keeps weight.

Neither was fitted to a series; both were chosen by the coverage of intervals on simulated curves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsefit.laws import Law
from sparsefit.laws.base import span_ratio

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ShapePrior:
    """Measure over shapes in the law's (log-)shape coordinates.

    Attributes
    ----------
    log_density : callable
        ``(shape (m, n_shape), span) -> (m,)``: log density over d(shape), including the Jacobian
        from (value at the last point, change over the data) to (limit, amplitude).
    log_limit_density : callable
        ``(excess (m,), change, span) -> (m,)``: log density of the limit's distance from the last
        value, given that value and the change over the data. Dividing a posterior by it gives the
        integrated likelihood of the limit.
    text : str
        The measure in words.
    """

    log_density: Callable[[Array, tuple[float, float]], Array]
    log_limit_density: Callable[[Array, float, tuple[float, float]], Array]
    text: str


def _two_shape(shape: Array, span: tuple[float, float]) -> Array:
    # density(e) = 1 / sqrt(e (e + Delta)) is exp(-kappa / 2) / (1 - exp(-kappa)) d kappa; the map
    # from (last value, change) to (limit, amplitude) brings a factor 1 - exp(-kappa).
    return -shape[:, 0] - 0.5 * shape[:, 1]


def _two_limit(excess: Array, change: float, span: tuple[float, float]) -> Array:
    return -0.5 * np.log(excess) - 0.5 * np.log(excess + change)


def _one_shape(shape: Array, span: tuple[float, float]) -> Array:
    return -shape[:, 0] + np.log(-np.expm1(-shape[:, 0] * span_ratio(span)))


def _one_limit(excess: Array, change: float, span: tuple[float, float]) -> Array:
    total = span_ratio(span)
    alpha = np.log1p(change / excess) / total
    return -alpha + np.log(change / total) - np.log(excess) - np.log(excess + change)


_TWO = ShapePrior(
    _two_shape,
    _two_limit,
    "alpha ~ Exponential(1); excess e over the limit at the last point, given the fall Delta over "
    "the data: density 1 / sqrt(e (e + Delta)); flat in the last value and in the fall",
)
_ONE = ShapePrior(
    _one_shape,
    _one_limit,
    "alpha ~ Exponential(1); flat in the last value and in the change over the data",
)


def reference_prior(law: Law) -> ShapePrior:
    """Return the reference measure for a law's shape."""
    return _TWO if law.n_shape == 2 else _ONE
