"""CSV to rows and back, exactly.

The standard library's reader is used instead of pandas': it tells the line of each row, sees every
row with too many or too few cells, and leaves names such as "001" alone.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsefit.errors import Fault
from sparsefit.table.coerce import is_missing
from sparsefit.table.schema import COLUMNS

if TYPE_CHECKING:
    import pandas as pd

_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)
_PLAIN_WHOLE = re.compile(r"-?(0|[1-9]\d{0,18})")


@dataclass(frozen=True)
class Rows:
    """A text file's columns, before any check of their values.

    Attributes
    ----------
    columns : dict of str to list
        Cells by column.
    lines : list of int
        One-based line of the file on which each row starts.
    """

    columns: dict[str, list[Any]]
    lines: list[int]


def parse(
    content: bytes, text_columns: frozenset[str] = frozenset()
) -> tuple[Rows | None, list[Fault]]:
    """Read CSV.

    Parameters
    ----------
    content : bytes
        UTF-8, with or without a byte-order mark.
    text_columns : frozenset of str
        Further columns that hold text even where it looks like numbers.

    Returns
    -------
    rows : Rows or None
        None where the file has no usable header.
    faults : list of Fault
        Rows whose number of cells differs from the header's (they are padded or cut, so that the
        other cells can still be checked).
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} is not UTF-8"
        return None, [Fault(None, None, problem, "Save the file as UTF-8 text")]
    reader = csv.reader(io.StringIO(text, newline=""))
    records: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for record in reader:
            if record:
                records.append((line, record))
            line = reader.line_num + 1
    except csv.Error as error:
        problem = f"this is not CSV ({error})"
        return None, [Fault(None, None, problem, "Check the quotes", line=line)]
    if not records:
        return None, [Fault(None, None, "the file is empty", "Give a header line and rows")]
    header = [name.strip() for name in records[0][1]]
    faults = _header_faults(header)
    if faults:
        return None, faults
    width = len(header)
    for row, (line, record) in enumerate(records[1:]):
        if len(record) != width:
            problem = f"{len(record)} cells where the header has {width}"
            faults.append(Fault(row, None, problem, "Give one cell per column", line=line))
            record[:] = (record + [""] * width)[:width]
    body = [record for _, record in records[1:]]
    columns = {
        name: _typed(name, [record[place] for record in body], text_columns)
        for place, name in enumerate(header)
    }
    return Rows(columns, [line for line, _ in records[1:]]), faults


def _header_faults(header: list[str]) -> list[Fault]:
    if len(header) == 1:
        for mark, name in ((";", "semicolons"), ("\t", "tabs")):
            if mark in header[0]:
                remedy = (
                    "Separate the cells by commas and write decimals with a point (pandas: "
                    f"read_csv(path, sep={mark!r}, decimal=',').to_csv(path, index=False))"
                )
                return [Fault(None, None, f"the cells are separated by {name}", remedy, line=1)]
    faults = []
    for place, name in enumerate(header):
        if not name:
            remedy = "Name it (pandas: write with index=False)"
            faults.append(Fault(None, None, f"column {place} has no name", remedy, line=1))
        elif name in header[:place]:
            remedy = "Keep one of them or rename the others"
            faults.append(Fault(None, name, "several columns have this name", remedy, line=1))
    return faults


def _typed(name: str, cells: list[str], text_columns: frozenset[str]) -> list[Any]:
    known = COLUMNS.get(name)
    if (known and known.kind == "text") or name in text_columns:
        return [cell or None for cell in cells]
    if known:
        return [_number(cell) for cell in cells]
    return _inferred(cells)


def _number(cell: str) -> Any:
    text = cell.strip()
    if text.lower() in _MISSING:
        return None
    if _WHOLE.fullmatch(text):
        return int(text) if len(text) < 4000 else float(text)
    return float(text) if _NUMBER.fullmatch(text) else cell


def _inferred(cells: list[str]) -> list[Any]:
    """Type an unknown column, where that loses nothing: a column with "001" stays text."""
    filled = [cell for cell in cells if cell]
    if filled and all(_PLAIN_WHOLE.fullmatch(cell) and abs(int(cell)) < 2**63 for cell in filled):
        return [int(cell) if cell else None for cell in cells]
    if filled and all(_is_float(cell) for cell in filled):
        return [float(cell) if cell else float("nan") for cell in cells]
    if filled and all(cell in ("True", "False") for cell in filled) and len(filled) == len(cells):
        return [cell == "True" for cell in cells]
    return [cell or None for cell in cells]


def _is_float(cell: str) -> bool:
    if _NUMBER.fullmatch(cell):
        return _PLAIN_WHOLE.fullmatch(cell) is not None or not cell.lstrip("+-").isdigit()
    return cell.lower() == "nan"


def render(frame: pd.DataFrame) -> bytes:
    """Write CSV: shortest exact numbers, empty cells where missing, lines ending in a newline."""
    lines = [",".join(_quoted(str(name)) for name in frame.columns)]
    columns = [[_cell(value) for value in frame[name].tolist()] for name in frame.columns]
    lines.extend(",".join(cells) for cells in zip(*columns, strict=True))
    return ("\n".join(lines) + "\n").encode()


def _cell(value: Any) -> str:
    if is_missing(value):
        return ""
    return repr(value) if isinstance(value, float) else _quoted(str(value))


def _quoted(text: str) -> str:
    if any(mark in text for mark in ',"\n\r') or text != text.strip():
        return '"' + text.replace('"', '""') + '"'
    return text
