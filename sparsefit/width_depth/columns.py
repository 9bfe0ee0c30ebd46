"""Columns of the tables of the width-depth law: finite numbers, and ratios."""

from __future__ import annotations

import numpy as np
import pandas as pd

from sparsefit.errors import Fault, quoted
from sparsefit.table.coerce import as_floats
from sparsefit.width_depth.kernel import Array

# Two ways of giving a ratio may differ by rounding in a printed table.
_RATIO_TOLERANCE = 5e-3


def ratio_column(table: pd.DataFrame, faults: list[Fault]) -> Array:
    """Ratios of a table, from the column or from hidden size and number of layers."""
    n = len(table)
    given = architecture = None
    if "width_depth_ratio" in table:
        given = number_column(table, "width_depth_ratio", faults, positive=True)
    if {"hidden_size", "n_layers"} <= set(table.columns):
        hidden = number_column(table, "hidden_size", faults, positive=True)
        layers = number_column(table, "n_layers", faults, positive=True)
        architecture = hidden / layers
    if given is None and architecture is None:
        faults.append(
            Fault(
                None,
                "width_depth_ratio",
                "is missing",
                "Add it, or add the columns 'hidden_size' and 'n_layers'",
            )
        )
        return np.full(n, np.nan)
    if given is None or architecture is None:
        ratio = given if given is not None else architecture
        assert ratio is not None
        return ratio
    for row in np.flatnonzero(np.abs(given / architecture - 1) > _RATIO_TOLERANCE):
        faults.append(
            Fault(
                int(row),
                "width_depth_ratio",
                f"{given[row]:g} differs from hidden_size / n_layers = {architecture[row]:g}",
                "Correct one of them or leave one out",
            )
        )
    return given


def number_column(
    table: pd.DataFrame, name: str, faults: list[Fault], *, positive: bool = False
) -> Array:
    """A column as finite numbers; faulty entries are reported and become NaN."""
    if name not in table:
        faults.append(Fault(None, name, "is missing", "Add the column"))
        return np.full(len(table), np.nan)
    column = table[name]
    numbers = as_floats(column).to_numpy(dtype=float, na_value=np.nan)
    numbers = numbers.copy()
    for row in range(len(table)):
        value = numbers[row]
        if not np.isfinite(value):
            problem = f"{quoted(column.iloc[row])} is not a finite number"
            faults.append(Fault(row, name, problem, "Give a number or remove the row"))
            numbers[row] = np.nan
        elif positive and value <= 0:
            faults.append(Fault(row, name, f"{value:g} is not positive", "Correct the value"))
            numbers[row] = np.nan
    return numbers
