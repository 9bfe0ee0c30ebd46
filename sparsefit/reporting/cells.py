"""Data frames as texts of a page's tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsefit.records import records
from sparsefit.reporting import words

if TYPE_CHECKING:
    import pandas as pd


def cells(table: pd.DataFrame, digits: int = 4) -> list[tuple[str, ...]]:
    """Rows as texts; missing numbers are dashes."""

    def cell(value: Any) -> str:
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, str):
            return value
        if isinstance(value, float) and 0.0 < abs(value) < 1e-3:
            return "< 0.001"
        return words.number(value, digits)

    return [tuple(cell(value) for value in row) for row in records(table, index=False)]
