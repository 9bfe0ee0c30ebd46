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


def _off_neighbours(x: Array, y: Array) -> Array:
    """Distance from what the neighbours say, in units that suit independent noise, shape (n,).

    Between points it is that from the cubic (next to the ends: the parabola) through the nearest
    ones, at the last point that from the line through the three before. The first point has none:
    leaving it out is a choice of the warm-up.
    """
    n = len(x)
    out = np.zeros(n)
    for i in range(1, n):
        near = [j for j in range(max(i - 2, 0), min(i + 3, n)) if j != i]
        if i == n - 1:
            near = [n - 4, n - 3, n - 2]
        degree = 1 if i == n - 1 else len(near) - 1
        design = np.vander(x[near] - x[i], degree + 1, increasing=True)
        # The value at x[i] is the constant of the polynomial.
        weights = np.linalg.pinv(design)[0]
        out[i] = (y[i] - weights @ y[near]) / np.sqrt(1.0 + weights @ weights)
    return out


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
    found: list[int] = []
    x, y = np.log(points.d), points.y.copy()
    spreads = [(points.d / points.d[-1]) ** -power for power in (0.0, 0.5, 1.0)]
    if points.relative_se is not None:
        spreads += [spread * points.relative_se for spread in spreads]
    least = LEAST_NOISE * points.range
    while len(found) < min(len(points) // _ONE_IN, _MOST):
        off = np.abs(_off_neighbours(x, y))
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
