"""Coordinates without bounds for the sampler, in which the hard-to-identify priors are normal.

    x = (logit of last within its range, logit of change within its room, z_alpha[, z_excess], s)

z_alpha and z_excess are normal quantiles of their truncated priors; sigma is its least value times
1 + exp(s), which is log sigma but for a constant unless it is near that value. No wall is left that
a trajectory could run into. `symbolic` writes the same map for PyTensor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri

from sparsefit.bayes.coordinates import to_coordinates
from sparsefit.bayes.priors import (
    SIGMA_FLOOR,
    Priors,
    alpha_range,
    change_room,
    excess_cdf,
    excess_quantile,
    excess_range,
    last_range,
)
from sparsefit.estimation.draws import Draws
from sparsefit.laws import Law

Array = NDArray[np.float64]

_EDGE = 1e-9


def _share(value: Array, low: Array, high: Array) -> Array:
    return np.clip((value - low) / np.maximum(high - low, 1e-300), _EDGE, 1 - _EDGE)


def encode(law: Law, priors: Priors, draws: Draws) -> Array:
    """Sampler's coordinates of draws, shape (m, 3 + n_shape)."""
    u = to_coordinates(law, draws)
    last, change, alpha = u[:, 0], np.exp(u[:, 1]), np.exp(u[:, 2])
    low, high = last_range(law)
    columns = [logit(_share(last, np.asarray(low), np.asarray(high)))]
    columns.append(logit(_share(change, np.zeros_like(change), change_room(law, last))))
    bounds = alpha_range(law, last, change, draws.span)
    columns.append(ndtri(_share(*(priors.alpha.cdf(v) for v in (alpha, *bounds)))))
    if law.n_shape == 2:
        excess = change / np.expm1(np.exp(u[:, 3]))
        bounds = excess_range(law, last, change)
        at = (excess_cdf(priors.excess, v, change) for v in (excess, *bounds))
        columns.append(ndtri(_share(*at)))
    above = u[:, -1] - np.log(SIGMA_FLOOR[law.response])
    columns.append(np.log(np.expm1(np.maximum(above, _EDGE))))
    return np.column_stack(columns)


def decode(law: Law, priors: Priors, span: tuple[float, float], x: Array) -> Array:
    """Inverse of `encode`, as `coordinates.to_coordinates` has them."""
    low, high = last_range(law)
    last = low + (high - low) * expit(x[:, 0])
    change = change_room(law, last) * expit(x[:, 1])
    lower, upper = alpha_range(law, last, change, span)
    alpha = priors.alpha.draw_within(ndtr(x[:, 2]), lower, upper)
    columns = [last, np.log(change), np.log(alpha)]
    if law.n_shape == 2:
        bounds = excess_range(law, last, change)
        first, end = (excess_cdf(priors.excess, b, change) for b in bounds)
        excess = excess_quantile(priors.excess, first + ndtr(x[:, 3]) * (end - first), change)
        columns.append(np.log(np.log1p(change / excess)))
    columns.append(np.log(SIGMA_FLOOR[law.response]) + np.logaddexp(0.0, x[:, -1]))
    return np.column_stack(columns)
