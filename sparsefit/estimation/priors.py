"""Reference measures for the shape of a law: what is assumed before seeing any curve.

Both laws are described by what the data show, the value at the last point and the change over the
data, plus what they do not show. Those two shown quantities get a flat measure. The rest:

* alpha: exponential with mean 1. Exponential relaxation (Eq. 4) and 1/D convergence (Eq. 5) are the
  centre, plain power laws and logarithms (alpha near 0) are as likely as alpha near 1.
* Eq. 4's excess e over the limit at the last point, next to the change over the data Delta: flat
  in its logarithm, so that no order of magnitude of what is still to come is preferred, and flat in
  e itself below 3% of Delta, where the limit is as good as reached: density proportional to
  1 / (e + 0.03 Delta) between 0 and the last value. The arcsine measure 1 / sqrt(e (e + Delta)),
  which `sparsefit.fit_bayes` has, prefers larger excesses: with few or noisy points its bands lay
  too low (simulated truths above 90% bands in up to .2 of runs, below them in .01).

Neither was fitted to a series; both were chosen by the coverage of intervals on simulated curves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsefit.laws import Law, LogspacePower, LossPower, VanillaPower
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


RESOLUTION = 0.03
"""Excess, as a share of the change over the data, below which the limit is as good as reached."""


def _two_shape(shape: Array, span: tuple[float, float]) -> Array:
    # density(e) = 1 / (e + r Delta) is 1 / ((1 - exp(-kappa)) (1 + r expm1(kappa))) d kappa; the
    # map from (last value, change) to (limit, amplitude) brings a factor 1 - exp(-kappa).
    return -shape[:, 0] - np.log1p(RESOLUTION * np.expm1(shape[:, 1]))


def _two_limit(excess: Array, change: float, span: tuple[float, float]) -> Array:
    return np.asarray(-np.log(excess + RESOLUTION * change))


def _arcsine_shape(shape: Array, span: tuple[float, float]) -> Array:
    # density(e) = 1 / sqrt(e (e + Delta)) is exp(-kappa / 2) / (1 - exp(-kappa)) d kappa; the map
    # from (last value, change) to (limit, amplitude) brings a factor 1 - exp(-kappa).
    return -shape[:, 0] - 0.5 * shape[:, 1]


def _arcsine_limit(excess: Array, change: float, span: tuple[float, float]) -> Array:
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
    f"the data: density 1 / (e + {RESOLUTION:g} Delta); flat in the last value and in the fall",
)
_ARCSINE = ShapePrior(
    _arcsine_shape,
    _arcsine_limit,
    "alpha ~ Exponential(1); excess e over the limit at the last point, given the fall Delta over "
    "the data: density 1 / sqrt(e (e + Delta)); flat in the last value and in the fall",
)
_ONE = ShapePrior(
    _one_shape,
    _one_limit,
    "alpha ~ Exponential(1); flat in the last value and in the change over the data",
)


def has_formula(law: Law) -> bool:
    """Whether the law is one of those that the measures here are written for."""
    return isinstance(law, LogspacePower | VanillaPower | LossPower)


def reference_prior(law: Law) -> ShapePrior:
    """Return the reference measure for a law's shape."""
    if has_formula(law):
        return _TWO if isinstance(law, LogspacePower) else _ONE
    from sparsefit.estimation.declared_prior import declared_prior

    return declared_prior(law)


def arcsine_prior(law: Law) -> ShapePrior:
    """The measure with the arcsine density of Eq. 4's excess, `fit_bayes`'s default."""
    return _ARCSINE if isinstance(law, LogspacePower) else _ONE


def log_normaliser(law: Law, change: float, last: float) -> float:
    """Log of the integral of the reference measure of the excess, 0 for laws but Eq. 4.

    Parameters
    ----------
    law : Law
        Law fitted.
    change, last : float
        Change over the data and last value, which bounds the excess.
    """
    if not isinstance(law, LogspacePower):
        return 0.0
    return float(np.log(np.log1p(max(last, 1e-300) / (RESOLUTION * max(change, 1e-300)))))
