"""Reference measure for a law that somebody else wrote, from the density that it declares.

As for the laws of the paper, the value at the last point and the change over the data get a flat
measure, and the rest is the law's own density of its shape. What that says about the limit has no
formula: it is read off the law's own grid of shapes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.priors import ShapePrior
from sparsefit.laws import Law

Array = NDArray[np.float64]

# Nodes of the grid of shapes, by the number of shape coordinates.
_NODES = {1: 4001, 2: 301}
# Half the window, in log excess, over which the density is averaged.
_WINDOW = 0.15


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
    shape = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, law.n_shape)
    # Axes are even in the logarithm: a cell is as large as the product of its shapes.
    step = float(np.prod([np.log(axis[-1] / axis[0]) / (axis.size - 1) for axis in axes]))
    log_weight = law.log_shape_density(shape) + np.log(shape).sum(axis=1)
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
        # Beyond what the law's shapes can bring, the density at the end: it is divided by.
        at = np.clip(np.log(excess / change), ratio[0] + _WINDOW, ratio[-1] - _WINDOW)
        above, below = (np.interp(at + shift, ratio, cumulated) for shift in (_WINDOW, -_WINDOW))
        density = np.maximum(above - below, 1e-12) / (2.0 * _WINDOW)
        return np.asarray(np.log(density) - np.log(excess))

    return ShapePrior(log_density, log_limit_density, law.shape_density_text)
