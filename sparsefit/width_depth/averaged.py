"""Likelihood ratio of a break averaged over where it may lie, for tests of no break.

The largest likelihood ratio over all breaks (sup-F) spends its power on breaks next to the first
and last ratios, of which noise makes many. Andrews and Ploberger (1994, Econometrica 62,
1383-1414) average ``exp(c / (1 + c) LR / 2)`` over the breaks instead, which has the best average
power over breaks whose size is of order c. Here c = 1. The break's logarithm is uniform between the
ends that the points can tell apart, as in the Bayesian version (the break itself where ratios are
not positive).
"""

from __future__ import annotations

import numpy as np

from sparsefit.width_depth.kernel import Array
from sparsefit.width_depth.models import Design

_NODES = 100
_POWER = 0.5  # c / (1 + c) with c = 1


def exp_average(
    design: Design, y: Array, rss_held: Array, known_share: float, floor: float
) -> Array:
    """Logarithm of the average over the breaks, shape (m,).

    Parameters
    ----------
    design : Design
        The model with a break.
    y : ndarray, shape (m, n)
        Responses times the square roots of the weights.
    rss_held : ndarray, shape (m,)
        Their residual sums of squares under the null.
    known_share : float
        Variance of the errors that is known, in units of the weights: the likelihood is maximised
        over variances from there on.
    floor : float
        Residual sum of squares that is rounding error.
    """
    n = len(design.x)
    kernel = design.kernel
    r = kernel.residual(y)
    total = np.einsum("ij,ij->i", r, r)
    columns = kernel.residual(design.moving(breaks(design)))
    size = np.einsum("ij,ij->i", columns, columns)
    top = r @ columns.T
    if kernel.rising:
        np.maximum(top, 0.0, out=top)
    rss = total[:, None] - top**2 / size

    def log_likelihood(rss: Array) -> Array:
        rss = np.maximum(rss, max(floor, 1e-300))
        variance = np.maximum(rss / n, known_share)
        return -0.5 * (n * np.log(variance) + rss / variance)

    ratio = _POWER * (log_likelihood(rss) - log_likelihood(rss_held)[:, None])
    most = ratio.max(axis=1)
    return np.asarray(most + np.log(np.mean(np.exp(ratio - most[:, None]), axis=1)))


def breaks(design: Design) -> Array:
    """Breaks of equal weight: the middles of equal cells between the ends."""
    low, high = design.ends
    if low > 0:
        edges = np.geomspace(low, high, _NODES + 1)
        return np.asarray(np.sqrt(edges[:-1] * edges[1:]))
    edges = np.linspace(low, high, _NODES + 1)
    return 0.5 * (edges[:-1] + edges[1:])
