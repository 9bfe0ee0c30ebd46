"""Tables inside JSON documents: read back with the same values, bit by bit, and the same types."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sparsefit.provenance import to_json

if TYPE_CHECKING:
    import pandas as pd

# Kinds of NumPy types, and of the pandas types beside them, whose values text can restore.
_RESTORED = "biufmM"


def frame_to_dict(frame: pd.DataFrame) -> dict[str, Any]:
    """Table as JSON: its index, and name, type and values of each column.

    Numbers are written as Python does, so that their text names them exactly. Missing values are
    None; infinite ones, dates and whatever else JSON does not know are text. Columns of categories
    and of other types than numbers, dates and text are read back as plain objects.
    """
    # By position, as names may be given twice.
    columns = [frame.iloc[:, position] for position in range(frame.shape[1])]
    return {
        "index": [_cell(value) for value in frame.index],
        "columns": [
            {"name": _cell(column.name), "dtype": _dtype(column), "values": _values(column)}
            for column in columns
        ],
    }


def frame_from_dict(plain: dict[str, Any]) -> pd.DataFrame:
    """Inverse of `frame_to_dict`."""
    import pandas as pd

    index = pd.Index(plain["index"])
    columns = [
        _column(one["values"], one["dtype"], index).rename(one["name"]) for one in plain["columns"]
    ]
    return pd.concat(columns, axis=1) if columns else pd.DataFrame(index=index)


def _dtype(column: pd.Series) -> str:
    name = str(column.dtype)
    return name if name == "str" or getattr(column.dtype, "kind", "O") in _RESTORED else "object"


def _values(column: pd.Series) -> list[Any]:
    missing = column.isna()
    return [None if gone else _cell(value) for value, gone in zip(column, missing, strict=True)]


def _cell(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return to_json(value)


def _column(values: list[Any], dtype: Any, index: pd.Index) -> pd.Series:
    import pandas as pd

    column = pd.Series(values, index=index, dtype=object)
    # Before pandas 3, text has no type of its own: as which it is read follows the release here.
    return column.infer_objects() if dtype == "str" else column.astype(dtype)
