"""Information criteria of least-squares fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.least_squares import fit_least_squares
from sparsefit.estimation.points import Points

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit


@dataclass(frozen=True)
class Criteria:
    """AICc and BIC (lower is better)."""

    aicc: float
    bic: float


def least_squares_criteria(fit: Fit, drop: int) -> Criteria:
    """Criteria of the fit's law on all points but the first `drop`, unweighted.

    The residual variance counts as a parameter. AICc is infinite where there are too few points for
    its correction.

    References
    ----------
    Burnham & Anderson (2002), Model Selection and Multimodel Inference, section 2.4.
    """
    kept = fit.points.since(drop)
    plain = Points(kept.d, kept.y)
    ssr = fit_least_squares(fit.law, plain).ssr
    return from_sum_of_squares(ssr, len(plain), fit.law.n_parameters + 1)


def from_sum_of_squares(ssr: float, n: int, k: int) -> Criteria:
    """Criteria of n independent normal residuals with k parameters, their variance included."""
    deviance = n * (np.log(2 * np.pi * max(ssr, 1e-300) / n) + 1.0)
    correction = 2 * k * (k + 1) / (n - k - 1) if n > k + 1 else np.inf
    return Criteria(float(deviance + 2 * k + correction), float(deviance + k * np.log(n)))


def weights_of(log_values: Sequence[float]) -> NDArray[np.float64]:
    """Softmax: weights from log evidence, or from -AICc / 2 (missing where any value is)."""
    values = np.asarray(log_values, dtype=float)
    if not np.isfinite(values).all():
        return np.full(values.shape, np.nan)
    weights = np.exp(values - values.max())
    return weights / weights.sum()
