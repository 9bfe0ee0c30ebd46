"""Slope of the curve, with its band."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sparsefit.errors import ArgumentError
from sparsefit.laws import TOKENS_PER_UNIT

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit


def slopes(fit: Fit, d: NDArray[np.float64], wrt: str, level: float) -> pd.DataFrame:
    """See `Fit.derivative`; `d` in billions of tokens, other arguments checked."""
    if wrt == "data_scale_ratio" and fit.n_params is None:
        raise ArgumentError(
            f"run {fit.run!r}: the derivative in the data-scale ratio needs the column "
            "'n_params' (non-embedding parameters) in the table"
        )
    factor = {
        "tokens": np.full_like(d, 1.0 / TOKENS_PER_UNIT),
        "data_scale_ratio": np.full_like(d, (fit.n_params or np.nan) / TOKENS_PER_UNIT),
        "log_tokens": d,
    }[wrt]
    tail = (1.0 - level) / 2.0
    found = fit.law.derivative(d, fit.averaged.draws.theta(fit.law)) * factor
    low, middle, high = np.quantile(found, [tail, 0.5, 1 - tail], axis=0)
    out = pd.DataFrame({"tokens": d * TOKENS_PER_UNIT})
    if fit.n_params is not None:
        out["data_scale_ratio"] = out["tokens"] / fit.n_params
    return out.assign(estimate=middle, median=middle, lower=low, upper=high)
