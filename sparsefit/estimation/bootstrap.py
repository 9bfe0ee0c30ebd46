"""Residual bootstrap of the least-squares fit.

Moving blocks of residuals are resampled, so that their correlation from checkpoint to checkpoint is
kept, and every resampled series is refitted by least squares.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.least_squares import LeastSquares, fit_least_squares
from sparsefit.estimation.points import Points
from sparsefit.laws import Law

Array = NDArray[np.float64]


def bootstrap_thetas(
    law: Law, points: Points, best: LeastSquares, size: int, rng: np.random.Generator
) -> Array:
    """Coefficients of `size` resampled series, shape (size, p).

    Blocks of about n ** (1/3) residuals, standardised by the weights and inflated by
    sqrt(n / (n - p)) for the coefficients fitted.
    """
    n = len(points)
    root = np.sqrt(points.weights)
    residual = (points.y - law.value(points.d, best.theta)) * root
    residual = (residual - residual.mean()) * np.sqrt(n / max(n - law.n_parameters, 1))
    block = max(1, round(n ** (1 / 3)))
    fitted = law.value(points.d, best.theta)
    thetas = []
    for _ in range(size):
        starts = rng.integers(0, n - block + 1, size=-(-n // block))
        index = (starts[:, None] + np.arange(block)).ravel()[:n]
        y = fitted + residual[index] / root
        again = Points(points.d, y, points.relative_se, points.robust_inflation)
        thetas.append(fit_least_squares(law, again, polish=False).theta)
    return np.array(thetas)
