"""Reference measure for a law that somebody else wrote, from the density that it declares.

As for the laws of the paper, the value at the last point and the change over the data get a flat
measure, and the rest is the law's own density of its shape. What that says about the limit has no
formula: it is read off the law's own grid of shapes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sparsefit.errors import ArgumentError
from sparsefit.estimation.least_squares import mesh
from sparsefit.estimation.priors import ShapePrior
from sparsefit.laws import Law

Array = NDArray[np.float64]

# Nodes of the grid of shapes, by the number of shape coordinates.
_NODES = {1: 4001, 2: 301}
# Half the window, in log excess, over which the density is averaged.
_WINDOW = 0.15
# Where a declared density of the limit is below this share of its peak it counts as information,
# and is not divided out: so far in its tails, that would be a ratio of two small errors.
_TAIL = 0.05


def _remaining(law: Law, shape: Array, span: tuple[float, float]) -> Array:
    """Share of the amplitude that is left at the end of the span, shape (m,)."""
    left = law.basis(np.array(span), shape, span)[:, 1]
    return np.clip(left, 1e-300, 1.0 - 1e-12)


@lru_cache(maxsize=64)
def _grid(law: Law, span: tuple[float, float]) -> tuple[Array, Array, float]:
    """Log of (excess / change) in ascending order, its distribution function, and log of the mass.

    Parameters
    ----------
    law : Law
        The law.
    span : tuple of float
        First and last D.
    """
    axes = law.shape_grid(span, _NODES[law.n_shape])
    shape = mesh(axes)
    # Axes are even in the logarithm: a cell is as large as the product of its shapes.
    step = float(np.prod([np.log(axis[-1] / axis[0]) / (axis.size - 1) for axis in axes]))
    declared = np.asarray(law.log_shape_density(shape), dtype=float)
    if declared.shape != (len(shape),) or np.isnan(declared).any() or declared.max() == -np.inf:
        raise ArgumentError(
            f"law {law.name!r}: log_shape_density must return a log density for each of the "
            f"{len(shape)} shapes, of which one at least is possible; got shape {declared.shape}, "
            f"{int(np.isnan(declared).sum())} of them not a number"
        )
    log_weight = declared + np.log(shape).sum(axis=1)
    weight = np.exp(log_weight - log_weight.max())
    left = _remaining(law, shape, span)
    ratio = np.log(left) - np.log1p(-left)
    order = np.argsort(ratio)
    total = np.cumsum(weight[order])
    mass = float(np.log(total[-1] * step) + log_weight.max())
    return ratio[order], total / total[-1], mass


def declared_prior(law: Law) -> ShapePrior:
    """Build the reference measure of a law from `Law.log_shape_density`."""

    def log_density(shape: Array, span: tuple[float, float]) -> Array:
        mass = _grid(law, span)[2]
        # From (last value, change) to (limit, amplitude): the share of the amplitude that is gone.
        return np.asarray(
            law.log_shape_density(shape) - mass + np.log1p(-_remaining(law, shape, span))
        )

    def log_limit_density(excess: Array, change: float, span: tuple[float, float]) -> Array:
        ratio, cumulated, _ = _grid(law, span)

        def density(at: Array) -> Array:
            ends = (np.interp(at + shift, ratio, cumulated) for shift in (_WINDOW, -_WINDOW))
            above, below = ends
            return np.asarray((above - below) / (2.0 * _WINDOW))

        least = _TAIL * float(density(ratio).max())
        found = np.maximum(density(np.log(excess / change)), least)
        return np.asarray(np.log(found) - np.log(excess))

    return ShapePrior(log_density, log_limit_density, law.shape_density_text)
