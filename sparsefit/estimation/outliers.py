"""Single points that lie off the course of their neighbours: which are worth a noise model.

A checkpoint can be off for a reason of its own (a loss spike, a measurement gone wrong). A Gaussian
fit follows such a point, most of all the last one. Whether a point is an outlier is decided by the
evidence of noise models in which it has a large error of its own; this module only finds the points
for which such models are worth their time. It asks the neighbours and not a law, so that a run that
leaves its law smoothly has no outliers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.evidence import LEAST_NOISE
from sparsefit.estimation.noise import NoiseModel
from sparsefit.estimation.points import Points

Array = NDArray[np.float64]

OUTLIER_PRIOR = 0.1
"""Prior number of outliers in a run: each of n points is one with probability 0.1 / n."""

# Robust standard deviations off its neighbours from which on a point is worth a model: 1.5% of
# simulated runs without outliers have such a point.
_SUSPECT = 4.0
# Points of which one may be an outlier, and most outliers of a run.
_ONE_IN, _MOST = 8, 3


def _neighbours(x: Array) -> tuple[NDArray[np.intp], Array]:
    """Neighbours of each point, and the weights with which they tell its value; shape (n, 4) each.

    Between points it is that of the cubic (next to the ends: the parabola) through the nearest
    ones, at the last point that of the line through the three before. The first point has none:
    leaving it out is a choice of the warm-up.
    """
    n = len(x)
    near = np.clip(np.arange(n)[:, None] + np.array([-2, -1, 1, 2]), 0, n - 1)
    weights = np.zeros((n, 4))
    weights[2:-2] = _through(x[near[2:-2]], x[2:-2])
    weights[1, 1:] = _through(x[near[1:2, 1:]], x[1:2])[0]
    weights[-2, :3] = _through(x[near[-2:-1, :3]], x[-2:-1])[0]
    near[-1, :3] = [n - 4, n - 3, n - 2]
    # The value at the last point is the constant of the line.
    line = np.vander(x[near[-1, :3]] - x[-1], 2, increasing=True)
    weights[-1, :3] = np.linalg.pinv(line)[0]
    return near, weights


def _through(x: Array, at: Array) -> Array:
    """Lagrange's weights of the polynomial through k points, at another: shapes (m, k) and (m,)."""
    itself = np.eye(x.shape[1], dtype=bool)
    away = np.where(itself, 1.0, (at[:, None] - x)[:, None, :])
    apart = np.where(itself, 1.0, x[:, :, None] - x[:, None, :])
    return np.asarray(away.prod(axis=2) / apart.prod(axis=2))


def suspects(points: Points) -> tuple[int, ...]:
    """Points far off the course of their neighbours, the farthest first.

    Parameters
    ----------
    points : Points
        All points of a run.

    Returns
    -------
    tuple of int
        At most one in eight of the points and at most three. Neighbouring points can seem to be off
        because of one of them, so they are found one by one.
    """
    most = min(len(points) // _ONE_IN, _MOST)
    if not most:
        return ()
    found: list[int] = []
    x, y = np.log(points.d), points.y.copy()
    near, weights = _neighbours(x)
    # Distances from what the neighbours say are in units that suit independent noise.
    unit = np.sqrt(1.0 + np.sum(weights**2, axis=1))
    spreads = [(points.d / points.d[-1]) ** -power for power in (0.0, 0.5, 1.0)]
    if points.relative_se is not None:
        spreads += [spread * points.relative_se for spread in spreads]
    least = LEAST_NOISE * points.range
    while len(found) < most:
        off = np.abs(y - np.sum(weights * y[near], axis=1)) / unit
        off[0] = 0.0
        size = np.full(len(y), np.inf)
        for spread in spreads:
            scale = max(float(np.median(off[1:] / spread[1:])) / 0.6745, least)
            size = np.minimum(size, off / (scale * spread))
        size[found] = 0.0
        worst = int(np.argmax(size))
        if size[worst] < _SUSPECT:
            break
        found.append(worst)
        # Its neighbours are judged without it.
        others = np.delete(np.arange(len(y)), found)
        y[found] = np.interp(x[found], x[others], y[others])
    return tuple(found)


def with_outliers(
    noises: Sequence[NoiseModel], suspected: Sequence[int], n: int
) -> tuple[NoiseModel, ...]:
    """Noise models, and the same with the first suspect, the first two, ... as outliers.

    Parameters
    ----------
    noises : sequence of NoiseModel
        Models without outliers, prior probabilities summing to one.
    suspected : sequence of int
        From `suspects`.
    n : int
        Number of points of the run.
    """
    out: list[NoiseModel] = []
    shares = [(OUTLIER_PRIOR / n) ** (k + 1) for k in range(len(suspected))]
    for k, share in enumerate([1.0 - sum(shares), *shares]):
        outliers = tuple(sorted(suspected[:k]))
        out += [replace(one, prior=share * one.prior, outliers=outliers) for one in noises]
    return tuple(out)


def outliers_of(noises: Sequence[NoiseModel], weight: Array) -> tuple[int, ...]:
    """Points that are outliers with a probability of at least a half, in the order of the run.

    Parameters
    ----------
    noises : sequence of NoiseModel
        Noise models of a fit.
    weight : ndarray, shape (len(noises),)
        Their weights.
    """
    found: dict[int, float] = {}
    for noise, share in zip(noises, weight, strict=True):
        for i in noise.outliers:
            found[i] = found.get(i, 0.0) + float(share)
    return tuple(sorted(i for i, total in found.items() if total >= 0.5))
