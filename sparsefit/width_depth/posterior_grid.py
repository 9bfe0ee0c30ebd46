"""Posterior of the line-then-level law with everything but the break integrated exactly.

Model, in internal units (ratio over the largest, response centred and scaled to unit spread):
``y_i ~ Normal(a + b min(x_i, tau), se_i^2 + s^2)``. Priors: flat in a and in
b, b at least 0 with the sign "rising"; the logarithm of tau uniform between the second and the last
ratio (tau itself where ratios are not positive); s with density 1/s without standard errors,
half-normal of scale 1 (the spread of the responses) with them. Given (tau, s) the linear
parameters are normal (b cut at 0), so only tau (and s with standard errors) needs a grid; without
standard errors s is integrated in closed form too. The same law with the break at the last ratio is
the straight line, with the same linear parameters and the same priors on them, so the Bayes factor
against a break is well defined in spite of the flat priors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sparsefit.width_depth.kernel import Array

_COARSE = 200
_FINE = 200
_NEGLIGIBLE = 1e-10
_SCATTER_NODES = 120


class Cells(NamedTuple):
    """Cells of the break: borders (T + 1,), middles (T,) and prior probabilities (T,)."""

    edges: Array
    middle: Array
    prior: Array


class GridPosterior(NamedTuple):
    """Posterior on the grid and draws from it, internal units.

    Attributes
    ----------
    cells : Cells
        Grid of the break.
    weight : ndarray, shape (T,)
        Posterior probability of each cell, given a break.
    log_bayes_factor : float
        Log marginal likelihood of a break minus that of the straight line.
    draws : ndarray, shape (m, 4)
        a, b, tau, s.
    """

    cells: Cells
    weight: Array
    log_bayes_factor: float
    draws: Array

    def relevant(self) -> Cells:
        """The cells that hold all of the posterior but a negligible part."""
        held = np.flatnonzero(self.weight > _NEGLIGIBLE)
        low, high = int(held[0]), int(held[-1]) + 1
        edges, middle, prior = self.cells
        return Cells(edges[low : high + 1], middle[low:high], prior[low:high])


def cells_between(edges: Array) -> Cells:
    """Cells of the break with their middles and prior probabilities."""
    if edges[0] > 0:
        prior = np.diff(np.log(edges))
        middle = np.sqrt(edges[:-1] * edges[1:])
    else:
        prior = np.diff(edges)
        middle = 0.5 * (edges[:-1] + edges[1:])
    return Cells(edges, middle, prior / prior.sum())


def _merge(first: Array, second: Array) -> Array:
    """Union of two sets of borders without cells of rounding size."""
    edges = np.sort(np.append(first, second))
    apart = np.append(True, np.diff(edges) > 1e-12 * (edges[-1] - edges[0]))
    return edges[apart]


def _spread(low: float, high: float, count: int) -> Array:
    return np.geomspace(low, high, count) if low > 0 else np.linspace(low, high, count)


def grid_posterior(
    x: Array, y: Array, se: Array | None, rising: bool, draws: int, rng: np.random.Generator
) -> GridPosterior:
    """Compute the posterior and draw from it.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Internal units.
    se : ndarray, shape (n,), or None
        Standard errors of y, internal units.
    rising : bool
        Whether slopes below 0 are outside the law.
    draws : int
        Number of draws.
    rng : Generator
        Source of randomness.
    """
    if se is None:
        scatter, log_prior = np.ones(1), np.zeros(1)
        weight = np.ones((1, len(x)))
    else:
        scatter, log_prior = _scatter_nodes(se)
        weight = 1.0 / (se**2 + scatter[:, None] ** 2)

    def evaluate(cells: Cells) -> tuple[_Moments, Array, float, float]:
        nodes = np.append(cells.middle, np.max(x))  # the last entry is the straight line
        moments = _moments(nodes, x, y, weight)
        log_evidence = _log_evidence(moments, weight, len(x), integrate=se is None)
        log_evidence = log_evidence + log_prior[:, None]  # (S, T + 1)
        if rising:
            log_evidence = log_evidence + _log_rises(moments, len(x), integrate=se is None)
        log_cells = log_evidence[:, :-1] + np.log(cells.prior)
        log_break = float(np.logaddexp.reduce(log_cells.ravel()))
        log_line = float(np.logaddexp.reduce(log_evidence[:, -1]))
        return moments, np.exp(log_cells - log_break), log_break, log_line

    knots = np.unique(x)
    cells = cells_between(_spread(float(knots[1]), float(knots[-1]), _COARSE + 1))
    probability = evaluate(cells)[1]
    # A well located break fills few of the first cells: split those that matter.
    held = np.flatnonzero(probability.sum(axis=0) > _NEGLIGIBLE)
    low, high = float(cells.edges[held[0]]), float(cells.edges[held[-1] + 1])
    cells = cells_between(_merge(cells.edges, _spread(low, high, _FINE + 1)))
    moments, probability, log_break, log_line = evaluate(cells)
    picks = rng.choice(probability.size, size=draws, p=(probability / probability.sum()).ravel())
    row, column = np.unravel_index(picks, probability.shape)
    sample = _draw(moments, row, column, scatter, se is None, len(x), rising, rng)
    width = cells.edges[column + 1] - cells.edges[column]
    sample[:, 2] = cells.edges[column] + rng.uniform(size=draws) * width
    return GridPosterior(cells, probability.sum(axis=0), log_break - log_line, sample)


class _Moments(NamedTuple):
    """Weighted normal equations at every node, arrays of shape (S, T)."""

    mean: Array  # (S, T, 2)
    covariance: Array  # (S, T, 2, 2), the inverse of the normal matrix
    log_det: Array
    rss: Array


def _moments(nodes: Array, x: Array, y: Array, weight: Array) -> _Moments:
    capped = np.minimum(x[None, :], nodes[:, None])  # (T, n)
    s0 = weight.sum(axis=1)[:, None] * np.ones(len(nodes))
    s1, s2 = weight @ capped.T, weight @ (capped**2).T
    t0 = (weight @ y)[:, None] * np.ones(len(nodes))
    t1 = weight @ (capped * y).T
    det = s0 * s2 - s1**2
    covariance = np.empty((*det.shape, 2, 2))
    covariance[..., 0, 0] = s2 / det
    covariance[..., 1, 1] = s0 / det
    covariance[..., 0, 1] = covariance[..., 1, 0] = -s1 / det
    a = (s2 * t0 - s1 * t1) / det
    b = (s0 * t1 - s1 * t0) / det
    residual = y - a[..., None] - b[..., None] * capped
    rss = np.einsum("stn,sn->st", residual**2, weight)
    # Noise-free points would make the posterior a spike of infinite height.
    floor = 1e-20 * np.einsum("n,sn->s", y**2, weight)[:, None]
    floor = np.maximum(floor, 1e-30)
    return _Moments(np.stack([a, b], axis=-1), covariance, np.log(det), np.maximum(rss, floor))


def _log_evidence(m: _Moments, weight: Array, n: int, integrate: bool) -> Array:
    """Log marginal likelihood of every node up to one common constant, shape (S, T)."""
    if integrate:
        return -0.5 * m.log_det - 0.5 * (n - 2) * np.log(m.rss)
    return -0.5 * m.log_det - 0.5 * m.rss + 0.5 * np.log(weight).sum(axis=1)[:, None]


def _log_rises(m: _Moments, n: int, integrate: bool) -> Array:
    """Log probability of b > 0 at every node, shape (S, T)."""
    from scipy.special import log_ndtr, stdtr

    variance = m.covariance[..., 1, 1]
    if not integrate:
        return np.asarray(log_ndtr(m.mean[..., 1] / np.sqrt(variance)))
    z = m.mean[..., 1] / np.sqrt(variance * m.rss / (n - 2))
    return np.asarray(np.log(np.maximum(stdtr(n - 2, z), 1e-300)))


def _scatter_nodes(se: Array) -> tuple[Array, Array]:
    """Nodes of s and their log prior mass (half-normal of scale 1, trapezoid rule)."""
    lowest = 1e-2 * min(float(np.min(se)), 1.0)
    s = np.concatenate([[0.0], np.geomspace(lowest, 5.0, _SCATTER_NODES)])
    width = np.gradient(s)
    width[0] *= 0.5
    return s, np.log(width) - 0.5 * s**2


def _draw(
    m: _Moments,
    row: NDArray[np.intp],
    column: NDArray[np.intp],
    scatter: Array,
    integrate: bool,
    n: int,
    rising: bool,
    rng: np.random.Generator,
) -> Array:
    """Draw b from its marginal (Student or normal, cut where the law rises), then s, then a."""
    from scipy.special import log_ndtr, ndtri_exp, stdtr, stdtrit

    count = len(row)
    mean, covariance = m.mean[row, column], m.covariance[row, column]
    aa, ab, bb = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    rss, s, scale = m.rss[row, column], scatter[row], np.ones(count)
    # Open at 0, whose quantile is infinite.
    uniform = 1.0 - rng.uniform(size=count)
    if integrate:
        spread = np.sqrt(bb * rss / (n - 2))
        share = np.maximum(stdtr(n - 2, mean[:, 1] / spread), 1e-300) if rising else 1.0
        b = mean[:, 1] - spread * stdtrit(n - 2, uniform * share)
        s = np.sqrt((rss + (b - mean[:, 1]) ** 2 / bb) / rng.chisquare(n - 1, count))
        scale = s
    else:
        spread = np.sqrt(bb)
        log_share = log_ndtr(mean[:, 1] / spread) if rising else 0.0
        b = mean[:, 1] - spread * ndtri_exp(np.log(uniform) + log_share)
    if rising:
        b = np.maximum(b, 0.0)  # rounding next to the cut
    centre = mean[:, 0] + ab / bb * (b - mean[:, 1])
    a = centre + scale * np.sqrt(np.maximum(aa - ab**2 / bb, 0.0)) * rng.standard_normal(count)
    return np.column_stack([a, b, np.zeros(count), s])
