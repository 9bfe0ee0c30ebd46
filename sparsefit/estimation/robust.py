"""Outliers: noise inflation from an iteratively reweighted Student-t fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.least_squares import fit_least_squares
from sparsefit.estimation.points import Points
from sparsefit.laws import Law

Array = NDArray[np.float64]

DEGREES_OF_FREEDOM = 4.0
"""Tails of the Student-t that outliers are judged by (a common default for robust regression)."""


def robust_inflation(law: Law, points: Points, iterations: int = 8) -> Array:
    """Factor by which each point's noise is inflated, shape (n,).

    The weights are those of maximum likelihood under Student-t noise with 4 degrees of freedom,
    its scale taken from the median absolute residual.
    """
    inflation = np.ones_like(points.y)
    base = np.sqrt(replace(points, robust_inflation=None).weights)
    for _ in range(iterations):
        now = replace(points, robust_inflation=inflation)
        best = fit_least_squares(law, now, polish=False)
        residual = (points.y - law.value(points.d, best.theta)) * base
        scale = np.median(np.abs(residual)) / 0.6745
        if scale <= 1e-9 * points.range:
            break
        weight = (DEGREES_OF_FREEDOM + 1) / (DEGREES_OF_FREEDOM + (residual / scale) ** 2)
        inflation = np.sqrt(1.0 / weight)
    return np.asarray(inflation / np.median(inflation))
