"""What a fit of one run holds: the law, its points, the least-squares curve through them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sparsefit import checks
from sparsefit.estimation.engine import Averaged
from sparsefit.estimation.least_squares import LeastSquares
from sparsefit.estimation.notes import kind_of
from sparsefit.estimation.points import Points
from sparsefit.laws import TOKENS_PER_UNIT, Law

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class FittedCurve:
    """Record of a fit, its coefficients, its curve and residuals; see `Fit` for the attributes."""

    run: str
    law: Law
    law_reason: str
    frame: pd.DataFrame
    points: Points
    n_warmup: int
    warmup: str
    least_squares: LeastSquares
    averaged: Averaged
    method: str
    robust: bool
    n_params: float | None
    notes: tuple[str, ...]
    seed: int
    provenance: dict[str, Any]

    @property
    def response(self) -> str:
        """Column fitted: ``"activation_ratio"`` or ``"loss"``."""
        return self.law.response

    @property
    def tokens(self) -> Array:
        """Raw tokens of the usable points, shape (n,)."""
        return self.points.d * TOKENS_PER_UNIT

    @property
    def params(self) -> pd.Series:
        """Coefficients as in the law's equation, D in billions of tokens."""
        return pd.Series(self._theta, index=list(self.law.parameter_names), name=self.run)

    @property
    def _theta(self) -> Array:
        return self.least_squares.theta

    @property
    def _used(self) -> Points:
        return self.points.since(self.n_warmup)

    @property
    def bse(self) -> pd.Series:
        """Standard errors of the coefficients from the curvature at the optimum (Wald).

        Not a number where the curvature is singular (a coefficient on its bound).
        """
        from sparsefit.results.intervals import wald_covariance

        se = np.sqrt(np.diag(wald_covariance(self.law, self._used, self.least_squares)))
        return pd.Series(se, index=list(self.law.parameter_names), name=self.run)

    def predict(self, tokens: ArrayLike) -> Array:
        """Curve of the least-squares coefficients.

        This is one curve, for one warm-up choice and independent residuals. It can leave the band
        of `forecast`, whose median is the better point forecast.

        Parameters
        ----------
        tokens : array_like
            Raw token counts, checked as in `forecast`.

        Returns
        -------
        ndarray, shape (n,)
        """
        return self.law.value(self._billions(tokens), self._theta)

    def _billions(self, tokens: ArrayLike) -> Array:
        """Raw token counts in billions; counts that were given in billions are refused."""
        counts = checks.check_tokens(tokens)
        checks.check_ahead(counts, float(self.tokens[0]))
        return counts / TOKENS_PER_UNIT

    def residuals(self) -> Array:
        """Residuals of the points after the warm-up, shape (n - n_warmup,)."""
        used = self._used
        return used.y - self._fitted(used.d)

    def _fitted(self, d: Array) -> Array:
        """Curve from which residuals count, at billions of tokens."""
        return self.law.value(d, self._theta)

    @property
    def misfit(self) -> bool:
        """Whether the points go against the law (see `notes`).

        If they do, the limit is not identified and budgets have no answer. Forecasts are still
        computed, but should not be used.
        """
        return any(kind_of(note) == "misfit" for note in self.notes)
