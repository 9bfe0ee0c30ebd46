"""From whatever a cell holds to numbers and text, listing each cell that cannot be used."""

from __future__ import annotations

import re
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.errors import Fault, quoted

if TYPE_CHECKING:
    import pandas as pd

_LARGEST = int(np.finfo(float).max)

_WHOLE_COLUMN = {
    "b": ("booleans", "Give numbers"),
    "M": ("dates", "Give numbers"),
    "m": ("time differences", "Give numbers"),
    "c": ("complex numbers", "Give real numbers"),
}


def is_missing(cell: Any) -> bool:
    """Whether a cell is None, NaN, NaT or pandas' NA."""
    import pandas as pd

    return (
        cell is None
        or cell is pd.NA
        or cell is pd.NaT
        or (isinstance(cell, float) and cell != cell)
    )


def as_floats(column: pd.Series) -> pd.Series:
    """Numbers of a column of any kind, NaN for what is none, infinite what is too large."""
    import pandas as pd

    if column.dtype == object or getattr(column.dtype, "kind", "O") == "c":
        column = column.astype(object).map(_manageable)
    return pd.to_numeric(column, errors="coerce")


def _manageable(cell: Any) -> Any:
    """Without what pandas.to_numeric stumbles over: integers beyond floats, complex numbers."""
    if isinstance(cell, int) and abs(cell) > _LARGEST:
        return np.inf
    return np.nan if isinstance(cell, complex | np.complexfloating) else cell


def to_numbers(series: pd.Series) -> tuple[np.ndarray, np.ndarray, list[Fault]]:
    """Convert a column to floats.

    Parameters
    ----------
    series : pandas.Series, length n

    Returns
    -------
    values : ndarray of float, shape (n,)
        NaN where a cell is missing or unusable.
    bad : ndarray of bool, shape (n,)
        Cells that already have a fault.
    faults : list of Fault
    """
    name, size = str(series.name), len(series)
    values, bad = np.full(size, np.nan), np.zeros(size, dtype=bool)
    kind = getattr(series.dtype, "kind", "O")
    if isinstance(series.dtype, np.dtype) and kind in "iuf":
        return series.to_numpy(dtype=float), bad, []
    if kind in _WHOLE_COLUMN:
        held, remedy = _WHOLE_COLUMN[kind]
        return values, ~bad, [Fault(None, name, f"the column holds {held}", remedy)]
    faults = []
    for row, cell in enumerate(series.tolist()):
        if is_missing(cell):
            continue
        fault = _number_fault(cell)
        if fault is None:
            values[row] = _as_float(cell)
        else:
            bad[row] = True
            faults.append(Fault(row, name, *fault))
    return values, bad, faults


def _as_float(cell: Any) -> float:
    try:
        return float(cell)
    except OverflowError:
        return float("inf") if cell > 0 else float("-inf")


def _number_fault(cell: Any) -> tuple[str, str] | None:
    if isinstance(cell, bool | np.bool_):
        return f"the boolean {cell}", "Give a number"
    if isinstance(cell, Real | Decimal):
        return None
    if isinstance(cell, str):
        text = cell.strip()
        shown = shorten(cell)
        if text.endswith("%"):
            return f"percent as text, {shown}", "Give a fraction as a plain number: 8.5% is 0.085"
        if _is_number(text):
            return f"a number stored as text, {shown}", "Convert the column with pandas.to_numeric"
        return f"text where a number is needed, {shown}", _plain_number(text)
    if isinstance(cell, complex | np.complexfloating):
        return f"the complex number {cell}", "Give a real number"
    return f"a {type(cell).__name__} where a number is needed", "Give a plain number"


def _plain_number(text: str) -> str:
    """What to write instead of a number as people and spreadsheets write it.

    Cells of one kind get the same words: those of a whole column are then listed as one fault.
    """
    if text.startswith("#"):
        return "This is an error of a spreadsheet: mend it there, or leave the row out"
    # No group of thousands begins with 0: 0,118 is a decimal.
    if re.fullmatch(r"[+-]?[1-9]\d{0,2}([,' ]\d{3})+", text):
        return "Write numbers without separators: 1,299,680 is 1299680"
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return "Write decimals with a point: 0,085 is 0.085"
    if re.fullmatch(r"\d+(\.\d+)?\s*[kmbtKMBT]", text):
        return "Write numbers out: 1.5B is 1500000000"
    return "Give a plain number such as 0.085 or 1e9"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def to_text(series: pd.Series) -> tuple[np.ndarray, np.ndarray, list[Fault]]:
    """Convert a column to text (object array, None where missing or empty).

    Whole numbers are taken as names in the column `run` only.

    Returns
    -------
    values : ndarray of object, shape (n,)
    bad : ndarray of bool, shape (n,)
    faults : list of Fault
    """
    name, size = str(series.name), len(series)
    values, bad = np.full(size, None, dtype=object), np.zeros(size, dtype=bool)
    faults = []
    for row, cell in enumerate(series.tolist()):
        if is_missing(cell):
            continue
        if isinstance(cell, str):
            values[row] = str(cell) or None
        elif name == "run" and isinstance(cell, int | np.integer) and not isinstance(cell, bool):
            values[row] = str(cell)
        else:
            bad[row] = True
            problem = f"a {type(cell).__name__} where text is needed, {shorten(cell)}"
            faults.append(Fault(row, name, problem, "Convert it with str()"))
    return values, bad, faults


def shorten(cell: Any, width: int = 40) -> str:
    """Show a value in a message, cut to `width` characters."""
    shown = quoted(cell)
    return shown if len(shown) <= width else f"{shown[: width - 3]}..."
