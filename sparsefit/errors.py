"""Every error that sparsefit raises on purpose.

All derive from `SparsefitError`, so one ``except`` catches them; each also derives from the builtin
that a caller would expect (`ValueError`, `ImportError`, ...). A message names the row, column, file
or argument at fault and says what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


def first_line(error: BaseException) -> str:
    """Return the kind of an error of another library and the first line of its message."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def quoted(value: object) -> str:
    """Quote a value in a message: its ``repr``, but 0.0 for ``np.float64(0.0)``."""
    return repr(_plain(value))


def _plain(value: Any) -> Any:
    """Return a value with plain Python numbers and strings in place of NumPy's."""
    if type(value) in (list, tuple, set):
        return type(value)(map(_plain, value))
    if type(value) is dict:
        return {_plain(key): _plain(held) for key, held in value.items()}
    if type(value).__module__ != "numpy" or not hasattr(value, "dtype"):
        return value
    if value.ndim:
        # The repr of an array of numbers names no type of its entries, that of objects does.
        return _plain(value.tolist()) if value.dtype == object else value
    held = value.item()
    # A long double is its own item.
    return float(held) if type(held).__module__ == "numpy" else held


class SparsefitError(Exception):
    """Base class of all errors raised by sparsefit."""


class ArgumentError(SparsefitError, ValueError):
    """An argument of a call is outside what the call accepts."""


class _SentenceKeyError(KeyError):
    """A KeyError that shows its message as it is: KeyError itself shows ``repr(message)``."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class UnknownRunError(ArgumentError, _SentenceKeyError):
    """A mapping of runs has no run of this name."""


class NothingToForecastError(ArgumentError):
    """No run of a backtest has enough points before a cut and after it."""


class FitError(SparsefitError, ValueError):
    """A law cannot be fitted to the points given."""


class DatasetError(SparsefitError, _SentenceKeyError):
    """No shipped data set has this name, or its files are inconsistent."""


class MissingDependencyError(SparsefitError, ImportError):
    """An optional package is needed and not installed."""

    @classmethod
    def for_extra(cls, package: str, extra: str, purpose: str) -> MissingDependencyError:
        """Build the message that says which extra to install.

        Parameters
        ----------
        package : str
            The module that could not be imported.
        extra : str
            The sparsefit extra that brings it.
        purpose : str
            What it is needed for, as a noun phrase.
        """
        return cls(
            f"{purpose} needs the package {package!r}, which is not installed. "
            f'Install it with: pip install "sparsefit[{extra}]"'
        )


class CollectorError(SparsefitError, RuntimeError):
    """Measuring checkpoints failed before or outside a single checkpoint."""


class ModelError(CollectorError):
    """A model's feed-forward sites cannot be found or are not supported."""


class CheckpointError(CollectorError):
    """A checkpoint folder is missing, damaged or contradictory."""


class TextError(CollectorError):
    """The evaluation text cannot be used."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a measurement table.

    Attributes
    ----------
    row : int or None
        Zero-based row of the table as read (None where the whole column or table is meant).
    column : str or None
        Column name (None where the whole row or table is meant).
    problem : str
        What is wrong, with the offending value.
    remedy : str
        What to do about it.
    line : int or None
        One-based line of the text file that the row came from, where there is one.
    file : str or None
        File that the row came from, where several were read into one table.
    """

    row: int | None
    column: str | None
    problem: str
    remedy: str
    line: int | None = None
    file: str | None = None

    def __str__(self) -> str:
        place = []
        if self.file is not None:
            place.append(self.file)
        if self.line is not None:
            place.append(f"line {self.line}")
        if self.row is not None:
            place.append(f"row {self.row}")
        if self.column is not None:
            place.append(f"column {self.column!r}")
        where = ", ".join(place) or "table"
        return f"{where}: {self.problem}. {self.remedy}"


class TableError(SparsefitError, ValueError):
    """A measurement table has faults; all of them are listed at once.

    Attributes
    ----------
    faults : tuple of Fault
        Every fault found.
    source : str or None
        File that the table came from.
    """

    def __init__(self, faults: Sequence[Fault], source: str | None = None) -> None:
        self.faults = tuple(faults)
        self.source = source
        super().__init__(str(self))

    def __str__(self) -> str:
        count = len(self.faults)
        head = f"{self.source or 'table'}: {count} fault{'s' if count != 1 else ''}"
        return "\n".join([head, *(f"  - {line}" for line in _fault_lines(self.faults))])

    def __reduce__(self) -> tuple[type[TableError], tuple[tuple[Fault, ...], str | None]]:
        # Without this, unpickling (multiprocessing) would call __init__ with the message.
        return (type(self), (self.faults, self.source))


_SHOWN_IN_FULL = 5


def _fault_lines(faults: Sequence[Fault]) -> list[str]:
    """One line a fault; of many alike the first few in full, then the rows of the others."""
    kinds: dict[tuple[str | None, str | None, str], list[Fault]] = {}
    for fault in faults:
        kinds.setdefault((fault.file, fault.column, fault.remedy), []).append(fault)
    lines = []
    for alike in kinds.values():
        lines += [str(fault) for fault in alike[:_SHOWN_IN_FULL]]
        others = alike[_SHOWN_IN_FULL:]
        if len(others) == 1:
            lines.append(str(others[0]))
        elif others:
            rows = _ranges([fault.row for fault in others if fault.row is not None])
            where = f", column {others[0].column!r}" if others[0].column else ""
            file = f"{others[0].file}, " if others[0].file else ""
            lines.append(f"{file}rows {rows}{where}: the same kind of fault. {others[0].remedy}")
    return lines


def _ranges(rows: Sequence[int]) -> str:
    """Write row numbers as ranges: 3-5, 9."""
    parts: list[list[int]] = []
    for row in sorted(set(rows)):
        if parts and row == parts[-1][1] + 1:
            parts[-1][1] = row
        else:
            parts.append([row, row])
    return ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in parts)
