"""A smooth map that makes rough posterior draws nearly standard normal, for NUTS to sample in.

    t = centre + root z + bend q(z),   x = offset + scale sinh-like(t)

q holds the products of bounded functions of pairs of coordinates, each coordinate bent only by the
ones before it, so that the Jacobian of the first step is that of `root`. The second step gives each
coordinate its skew and tails. Sampling is exact whatever the map: it is part of the density.
`nuts_groups` fits one to each group of noise models.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]

# Standard deviations within which bends are quadratic; outside they level off.
BOUND = 2.5
# Least weight of tails and most skew of a coordinate.
_TAIL, _SKEW = 0.02, 1.0
# Normal quantiles at which a coordinate's skew and tails are fitted; far ones, because two modes
# side by side look like heavy tails from near.
_NORMAL = np.array([-2.75, -1.96, -1.0, 0.0, 1.0, 1.96, 2.75])


@dataclass(frozen=True)
class Map:
    """Map from sampled coordinates z to the coordinates x of `nuts_coordinates`, p of each.

    Attributes
    ----------
    centre : ndarray, shape (p,)
        Middle, in t.
    root : ndarray, shape (p, p)
        Lower triangular.
    bend : ndarray, shape (p, p * p)
        Coefficients of the products q(z): in row i of those of coordinates before i only.
    offset, scale, skew, tail : ndarray, shape (p,)
        Of each coordinate: median, slope at the median, skew and weight of the tails.
    """

    centre: Array
    root: Array
    bend: Array
    offset: Array
    scale: Array
    skew: Array
    tail: Array

    @property
    def log_volume(self) -> float:
        """The part of the log Jacobian that does not depend on z."""
        return float(np.log(np.diag(self.root) * self.scale / np.cosh(self.skew)).sum())

    @property
    def flat(self) -> Array:
        """All numbers, in the order of the attributes, then `log_volume`."""
        return np.concatenate([np.ravel(v) for v in (*vars(self).values(), self.log_volume)])

    def forward(self, z: Array) -> Array:
        """Coordinates x at z of shape (..., p)."""
        t = self.centre + z @ self.root.T + products(z) @ self.bend.T
        return self.offset + self.scale * _wide(t, self.skew, self.tail)


def products(z: Array) -> Array:
    """Products of the bounded coordinates, shape (..., p * p)."""
    bounded = BOUND * np.tanh(z / BOUND)
    return np.asarray((bounded[..., :, None] * bounded[..., None, :]).reshape(*z.shape[:-1], -1))


def _wide(t: Array, skew: Array | float, tail: Array | float) -> Array:
    return np.asarray((np.sinh(skew + tail * t) - np.sinh(skew)) / (tail * np.cosh(skew)))


def map_with_jacobian(z: Array, flat: Array) -> tuple[Array, float, Array, Array]:
    """`Map.forward` and its derivatives, in plain loops to be compiled by numba.

    Parameters
    ----------
    z : ndarray, shape (p,)
        Sampled coordinates.
    flat : ndarray
        Begins with `Map.flat`.

    Returns
    -------
    x : ndarray, shape (p,)
    log_jacobian : float
        Log of the determinant of `jacobian`.
    jacobian : ndarray, shape (p, p)
        Of x with respect to z.
    slope : ndarray, shape (p,)
        Gradient of `log_jacobian`.
    """
    p = z.size
    root, bend = p, p + p * p
    offset = bend + p * p * p
    scale, skew, tail = offset + p, offset + 2 * p, offset + 3 * p
    bounded, inside = np.empty(p), np.empty(p)
    for i in range(p):
        bounded[i] = BOUND * np.tanh(z[i] / BOUND)
        inside[i] = 1.0 - (bounded[i] / BOUND) ** 2
    x, jacobian, slope = np.empty(p), np.zeros((p, p)), np.zeros(p)
    log_jacobian = flat[tail + p]
    for i in range(p):
        t = flat[i] + flat[root + i * p + i] * z[i]
        jacobian[i, i] = flat[root + i * p + i]
        for a in range(i):
            by_a = 0.0
            for b in range(i):
                ab, ba = bend + (i * p + a) * p + b, bend + (i * p + b) * p + a
                t += flat[ab] * bounded[a] * bounded[b]
                by_a += (flat[ab] + flat[ba]) * bounded[b]
            t += flat[root + i * p + a] * z[a]
            jacobian[i, a] = flat[root + i * p + a] + by_a * inside[a]
        s, w = flat[skew + i], flat[tail + i]
        sinh, cosh = np.sinh(s + w * t), np.cosh(s + w * t)
        wide = flat[scale + i] / np.cosh(s)
        x[i] = flat[offset + i] + wide * (sinh - np.sinh(s)) / w
        log_jacobian += np.log(cosh)
        for a in range(i + 1):
            slope[a] += w * sinh / cosh * jacobian[i, a]
            jacobian[i, a] *= wide * cosh
    return x, log_jacobian, jacobian, slope


def fit_map(x: Array, tail_most: float = 0.7) -> Map:
    """Fit a map to draws of shape (m, p).

    Tails are made at most `tail_most` heavy: where the posterior's are lighter, far trajectories
    meet a wall.
    """
    p = x.shape[1]
    offset, scale, skew, tail = (
        np.array(v) for v in zip(*(_marginal(v, tail_most) for v in x.T), strict=True)
    )
    wide = np.sinh(skew) + (x - offset) / scale * tail * np.cosh(skew)
    t = (np.arcsinh(wide) - skew) / tail
    # The core of the draws: rough ones may have wild tails.
    core = t[np.all(np.abs(t) < 4.0, axis=1)]
    if len(core) <= 20 * p * p:
        return Map(np.zeros(p), np.eye(p), np.zeros((p, p * p)), offset, scale, skew, tail)
    centre, root, bend = np.zeros(p), np.zeros((p, p)), np.zeros((p, p * p))
    z = np.zeros_like(core)
    for i in range(p):
        pairs = [a * p + b for a in range(i) for b in range(a, i)]
        design = np.column_stack([np.ones(len(core)), z[:, :i], products(z)[:, pairs]])
        found = np.linalg.lstsq(design, core[:, i], rcond=None)[0]
        rest = core[:, i] - design @ found
        centre[i], root[i, :i], bend[i, pairs] = found[0], found[1 : i + 1], found[i + 1 :]
        root[i, i] = max(float(rest.std()), 1e-3)
        z[:, i] = rest / root[i, i]
    return Map(centre, root, bend, offset, scale, skew, tail)


def _marginal(x: Array, tail_most: float) -> tuple[float, float, float, float]:
    """Median, slope, skew and tail of one coordinate from its quantiles."""
    quantiles = np.quantile(x, ndtr(_NORMAL))
    left, middle, right = quantiles[2:5]
    width = max(right - left, 1e-12 * max(1.0, abs(middle))) / 2.0
    wanted = (quantiles - middle) / width
    best = (np.inf, 0.0, _TAIL)
    for tail in np.geomspace(_TAIL, tail_most, 12):
        for skew in np.linspace(-_SKEW, _SKEW, 21):
            found = _wide(_NORMAL, skew, tail)
            found = found / ((found[4] - found[2]) / 2.0)
            error = np.abs(np.arcsinh(found) - np.arcsinh(wanted)).sum()
            best = min(best, (float(error), float(skew), float(tail)))
    _, skew, tail = best
    found = _wide(_NORMAL, skew, tail)
    return float(middle), float(width / ((found[4] - found[2]) / 2.0)), skew, tail
