"""The table of a forecast, of a law or stacked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit.records import records
from sparsefit.reporting import words
from sparsefit.reporting.blocks import Table

if TYPE_CHECKING:
    import pandas as pd


def table_tokens(seen: float, last: float, factors: Sequence[float]) -> NDArray[np.float64]:
    """Multiples of the tokens seen before the last token count, and that."""
    return np.array([*(factor * seen for factor in factors if factor * seen < last), last])


def forecast_table(
    key: str, caption: str, forecast: pd.DataFrame, seen: float, level: float
) -> Table:
    """Table of a forecast in the columns of `Fit.forecast`; a dash where there is no curve."""
    rows = [
        (
            f"{words.count(row.tokens)} ({row.tokens / seen:.3g}×)",
            f"{row.median:.4f}",
            "–" if np.isnan(row.curve_lower) else f"{row.curve_lower:.4f} to {row.curve_upper:.4f}",
            f"{row.obs_lower:.4f} to {row.obs_upper:.4f}",
        )
        for row in records(forecast)
    ]
    percent = f"{100 * level:g}%"
    header = ("tokens", "median", f"curve, {percent}", f"new measurement, {percent}")
    return Table(key, f"{caption}; × tokens seen", header, rows)
