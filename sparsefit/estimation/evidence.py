"""Evidence of a shape, a noise model and a warm-up choice, with the linear part integrated out.

Given shape, noise model and the number k of warm-up points, a law is a linear model in (limit,
amplitude) with Gaussian noise of unknown scale. Under a flat measure for the pair inside its bounds
and 1/sigma for the scale, the integral over all three has a closed form (Student-t algebra). That
turns the fit into a sum over a small grid: no chains, no starts.

All warm-up choices come from one pass: with the points in reversed order, dropping the first k
points of the run means summing over the leading rows of what was whitened.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, log_ndtr

from sparsefit.estimation.points import Points
from sparsefit.estimation.whitening import Whitener
from sparsefit.laws import Law

Array = NDArray[np.float64]

LEAST_NOISE = 3e-4
"""Noise that is always there, as a share of the range of the data: what a grid of shapes resolves.

With points computed from a law, cells that keep fewer of them would look better for lying nearer to
the centre of a cell.
"""


@dataclass(frozen=True)
class Conditional:
    """Student-t conditional of (limit, amplitude) and the log evidence; arrays share one shape.

    Attributes
    ----------
    log_evidence : ndarray
        Log of the integral over limit, amplitude and sigma, up to a constant of the data.
    limit, amplitude : ndarray
        Unconstrained least-squares pair.
    ssr : ndarray
        Whitened sum of squares at that pair.
    dof : ndarray
        Degrees of freedom, points kept minus 2.
    s_oo, s_og, s_gg : ndarray
        Entries of the 2 x 2 information matrix of (limit, amplitude).
    """

    log_evidence: Array
    limit: Array
    amplitude: Array
    ssr: Array
    dof: Array
    s_oo: Array
    s_og: Array
    s_gg: Array

    @property
    def unit_limit_sd(self) -> Array:
        """Standard deviation of the limit for a noise scale of one."""
        det = np.maximum(self.s_oo * self.s_gg - self.s_og**2, 1e-12 * self.s_oo * self.s_gg)
        return np.sqrt(self.s_gg / det)

    @property
    def limit_scale(self) -> Array:
        """Scale of the limit's marginal Student-t."""
        return np.sqrt(self.ssr / self.dof) * self.unit_limit_sd


def normal_score(t: Array, dof: Array) -> Array:
    """Normal quantile of a Student-t value (Wallace's approximation, error below .02)."""
    stretch = (8.0 * dof + 1.0) / (8.0 * dof + 3.0)
    return np.sign(t) * stretch * np.sqrt(dof * np.log1p(t * t / dof))


def log_interval_probability(lower: Array, upper: Array) -> Array:
    """log(Phi(upper) - Phi(lower)), stable in both tails."""
    flip = lower > 0
    a = np.where(flip, -upper, lower)
    b = np.where(flip, -lower, upper)
    log_a, log_b = log_ndtr(a), log_ndtr(b)
    return log_b + np.log1p(-np.exp(np.minimum(log_a - log_b, -1e-15)))


def log_share_within(
    centre: Array, scale: Array, dof: Array, bounds: tuple[float, float]
) -> Array | float:
    """Log probability that a Student-t value lies within bounds.

    Nothing is computed for entries whose bounds are too far off to matter, which are mostly all.
    """
    # Squared distance beyond which the normal score exceeds 5: a share below 3e-7.
    far = dof * np.expm1(25.0 / dof)
    lower, upper = (bounds[0] - centre) / scale, (bounds[1] - centre) / scale
    safe = (lower < 0) & (lower**2 > far)
    if np.isfinite(bounds[1]):
        safe &= (upper > 0) & (upper**2 > far)
    if safe.all():
        return 0.0
    out = np.zeros(safe.shape)
    near = ~safe
    near_dof = np.broadcast_to(dof, safe.shape)[near]
    low = normal_score(lower[near], near_dof)
    if np.isfinite(bounds[1]):
        out[near] = log_interval_probability(low, normal_score(upper[near], near_dof))
    else:
        out[near] = log_ndtr(-low)
    return out


def reversed_basis(law: Law, points: Points, shape: Array) -> Array:
    """Signed basis at the points in reversed order, shape (n, len(shape))."""
    return np.asarray((law.sign * law.basis(points.d[::-1], shape, points.span)).T)


def _running(left: Array | None, right: Array, sizes: NDArray[np.intp]) -> Array:
    """Sums of products over the first rows, one for each of the ascending sizes, shape (sizes, m).

    `left` of shape (n,) multiplies each row of `right`; without it the columns are squared.
    """
    out = np.empty((sizes.size, right.shape[1]))
    total, first = np.zeros(right.shape[1]), 0
    for row, size in enumerate(sizes.tolist()):
        block = right[first:size]
        if left is None:
            total = total + np.einsum("ij,ij->j", block, block)
        else:
            total = total + left[first:size] @ block
        out[row], first = total, size
    return out


def cumulative_sums(
    points: Points, whitener: Whitener, basis: Array, sizes: NDArray[np.intp]
) -> tuple[Array, ...]:
    """Sums of whitened products over the last points of the run.

    Response and basis are taken relative to their values at the last point, which are returned with
    the sums. A basis that hardly differs from the constant (a power law with alpha near 0) would
    else lose its information to rounding: sums of squares came out negative.

    Parameters
    ----------
    points, whitener : Points, Whitener
        Points and noise model.
    basis : ndarray, shape (n, m)
        `reversed_basis` of m shapes.
    sizes : ndarray of int, shape (k,)
        Numbers of points summed over, ascending.

    Returns
    -------
    tuple of ndarray
        (oo, oy, yy, y at the last point) of shape (k, 1) and (og, yg, gg, g at the last point) of
        shape (k, m), with o the constant, y the response and g the signed basis.
    """
    n = len(points)
    y_last, g_last = points.y[-1], basis[:1]
    columns = np.column_stack([np.ones(n), points.y[::-1] - y_last, basis - g_last])
    white = whitener.whiten(columns)
    o, y, g = white[:, 0], white[:, 1], white[:, 2:]
    alone = [_running(a, b[:, None], sizes) for a, b in ((o, o), (o, y), (y, y))]
    paired = [_running(o, g, sizes), _running(y, g, sizes), _running(None, g, sizes)]
    return (
        *alone,
        np.full_like(alone[0], y_last),
        *paired,
        np.broadcast_to(g_last, paired[0].shape),
    )


def conditional(
    sums: tuple[Array, ...],
    kept: NDArray[np.intp],
    left_out: NDArray[np.intp],
    log_det: Array,
    bounds: tuple[float, float],
    data_range: float,
    log_width: float,
) -> Conditional:
    """Integrate limit, amplitude and sigma out.

    Parameters
    ----------
    sums : tuple of ndarray
        Sums over the points kept, from `cumulative_sums`, broadcastable against `kept`.
    kept : ndarray of int
        Number of points kept (n - k).
    left_out : ndarray of int
        Number of points that are data but not kept: those that another warm-up choice keeps.
    log_det : ndarray
        Log determinant of the covariance of the points kept.
    bounds : tuple of float
        Physical bounds of the limit.
    data_range : float
        Range of the response.
    log_width : float
        Log of the width of the uniform density that describes a warm-up point, in the unit of the
        response: leaving a point out has a price, the same for all shapes and noise models, and
        warm-up choices can be compared.
    """
    s_oo, s_oy, s_yy, y_last, s_og, s_yg, s_gg, g_last = sums
    # The same with the columns as they are and relative to their last values.
    det = np.maximum(s_oo * s_gg - s_og**2, 1e-12 * s_oo * s_gg + 1e-300)
    last = (s_gg * s_oy - s_og * s_yg) / det
    amplitude = (s_oo * s_yg - s_og * s_oy) / det
    floor = s_oo * (LEAST_NOISE * data_range) ** 2
    ssr = np.maximum(s_yy - last * s_oy - amplitude * s_yg, 0.0) + floor
    # From the fitted departure at the last point to the limit, and so with the information.
    limit = y_last + last - amplitude * g_last
    s_gg = s_gg + g_last * (2.0 * s_og + g_last * s_oo)
    s_og = s_og + g_last * s_oo
    dof = np.asarray(kept - 2.0, dtype=np.float64)
    log_ssr = np.log(ssr)
    # What does not depend on the shape is added up first.
    alone = gammaln(dof / 2.0) - dof / 2.0 * np.log(np.pi) - 0.5 * log_det - left_out * log_width
    evidence = alone - 0.5 * dof * log_ssr - 0.5 * np.log(det)
    scale = np.sqrt(ssr / dof / det)
    evidence += log_share_within(limit, scale * np.sqrt(s_gg), dof, bounds)
    evidence += log_share_within(amplitude, scale * np.sqrt(s_oo), dof, (0.0, np.inf))
    full = np.broadcast_to
    return Conditional(
        evidence, limit, amplitude, ssr, full(dof, limit.shape), full(s_oo, limit.shape), s_og, s_gg
    )
