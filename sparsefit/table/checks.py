"""Faults of the values of a table whose cells have been converted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from difflib import get_close_matches

import numpy as np

from sparsefit.errors import Fault, quoted
from sparsefit.table.coerce import shorten
from sparsefit.table.schema import BILLIONS_BELOW, COLUMNS, Column

Values = dict[str, np.ndarray]
Where = Callable[[int], str]


def in_row(row: int) -> str:
    """Say where a row stands, in a table that is not made of several files."""
    return f"row {row}"


def number_faults(name: str, values: np.ndarray, bad: np.ndarray) -> Iterator[Fault]:
    """Infinite values and values outside the column's range (missing ones are not judged here)."""
    column = COLUMNS[name]
    holds = f"The column holds the {column.meaning}"
    for row in np.flatnonzero(np.isinf(values) & ~bad):
        yield Fault(
            int(row), name, f"{values[row]} is not finite", "Give the value or drop the row"
        )
    judged = np.isfinite(values) & ~bad
    low, high = np.zeros_like(bad), np.zeros_like(bad)
    with np.errstate(invalid="ignore"):
        if column.lower is not None:
            low = values <= column.lower if column.open_lower else values < column.lower
        if column.upper is not None:
            high = values > column.upper
    for row in np.flatnonzero(judged & low):
        least = "positive" if column.open_lower else f"at least {column.lower:g}"
        yield Fault(int(row), name, f"{values[row]:g} must be {least}", holds)
    for row in np.flatnonzero(judged & high):
        yield Fault(int(row), name, *_too_high(column, float(values[row])))
    if column.kind == "whole":
        whole = judged & ~low & ~high & (values != np.round(np.where(judged, values, 0)))
        for row in np.flatnonzero(whole):
            yield Fault(int(row), name, f"{quoted(values[row])} is not whole", holds)


def _too_high(column: Column, value: float) -> tuple[str, str]:
    if column.fraction and value <= 100:
        return f"{value:g} looks like percent", "Divide by 100: the column holds fractions"
    if column.kind in ("count", "whole"):
        return f"{value:g} is too large to be true", "Give a raw count: was it scaled up twice?"
    return f"{value:g} is above {column.upper:g}", f"The column holds the {column.meaning}"


def billions_faults(run: np.ndarray, tokens: np.ndarray, bad: np.ndarray) -> Iterator[Fault]:
    """Token counts given in billions.

    A run whose largest count is below 1,000 cannot be a training run, nor can a count below 1,000
    that is not whole. Short runs of 10,000 to a million tokens pass, whole or not.
    """
    judged = np.isfinite(tokens) & (tokens > 0) & ~bad
    remedy = "Give raw counts: multiply billions by 1e9, trillions by 1e12"
    for name, rows in runs(run):
        seen = rows[judged[rows]]
        if not seen.size:
            continue
        largest = tokens[seen].max()
        if largest < BILLIONS_BELOW:
            problem = f"run {name!r} ends at {largest:g} tokens, which looks like billions"
            yield Fault(int(seen[0]), "tokens", problem, remedy)
            continue
        partial = (tokens[seen] < BILLIONS_BELOW) & (tokens[seen] != np.round(tokens[seen]))
        for row in seen[partial]:
            problem = f"{quoted(tokens[row])} is not a whole count and looks like billions"
            yield Fault(int(row), "tokens", problem, remedy)


def text_faults(name: str, values: np.ndarray) -> Iterator[Fault]:
    """Values that are none of the column's choices."""
    choices = COLUMNS[name].choices
    if not choices:
        return
    for row, value in enumerate(values):
        if value is None or value in choices:
            continue
        close = get_close_matches(value.lower(), choices, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        remedy = f"{hint}Use one of {', '.join(choices)}"
        yield Fault(row, name, f"{shorten(value)} is not known", remedy)


def missing_faults(name: str, missing: np.ndarray, failed: np.ndarray) -> Iterator[Fault]:
    """Missing values of a column that must be there; a failed row may lack its response."""
    remedy = "Give the value or drop the row"
    if name not in ("run", "tokens"):
        missing = missing & ~failed
        remedy += ", or set its status to 'failed'"
    for row in np.flatnonzero(missing):
        yield Fault(int(row), name, "the value is missing", remedy)


def duplicate_faults(run: np.ndarray, tokens: np.ndarray, where: Where = in_row) -> Iterator[Fault]:
    """Rows whose (run, tokens) stands in an earlier row."""
    first: dict[tuple[str, float], int] = {}
    for row, key in enumerate(zip(run.tolist(), tokens.tolist(), strict=True)):
        if key[0] is None or not np.isfinite(key[1]):
            continue
        if key in first:
            problem = (
                f"run {key[0]!r} at {key[1]:.17g} tokens stands in {where(first[key])} already"
            )
            yield Fault(row, "tokens", problem, "Keep one row per run and checkpoint")
        else:
            first[key] = row


def constant_faults(
    name: str, run: np.ndarray, values: np.ndarray, where: Where = in_row
) -> Iterator[Fault]:
    """Values that change within a run although they belong to the run."""
    for label, rows in runs(run):
        first = None
        for row in rows:
            value = values[row]
            if value is None or (not isinstance(value, str) and not np.isfinite(value)):
                continue
            if first is None:
                first = row
            elif value != values[first]:
                shown, before = _plain(value), _plain(values[first])
                problem = (
                    f"{shown} differs from {before} in {where(first)} of the same run {label!r}"
                )
                yield Fault(int(row), name, problem, "Give one value per run, or name two runs")


def _plain(value: object) -> str:
    return repr(value) if isinstance(value, str) else f"{value:.12g}"


def se_faults(run: np.ndarray, se: np.ndarray, usable: np.ndarray) -> Iterator[Fault]:
    """Standard errors that are given, or positive, for a part of a run only."""
    for label, rows in runs(run):
        fit_rows = rows[usable[rows]]
        given = np.isfinite(se[fit_rows])
        if given.any():
            for row in fit_rows[~given]:
                remedy = f"Give it for all usable rows of run {label!r}, or for none"
                yield Fault(int(row), "se", "the value is missing here and not elsewhere", remedy)
        if (se[fit_rows] > 0).any():
            for row in fit_rows[se[fit_rows] == 0]:
                remedy = "Give the standard error, or leave the column out for the whole run"
                yield Fault(int(row), "se", "0 would give this row an infinite weight", remedy)


def few_points_faults(run: np.ndarray, usable: np.ndarray, least: int) -> Iterator[Fault]:
    """Runs with fewer usable rows than `least`."""
    for label, rows in runs(run):
        count = int(usable[rows].sum())
        if count < least:
            problem = (
                f"run {label!r} has {count} usable point{'' if count == 1 else 's'} of {least}"
            )
            remedy = (
                "A law needs two points more than it has parameters: add checkpoints or drop the "
                "run (min_points=0 reads the table all the same)"
            )
            yield Fault(int(rows[0]), "run", problem, remedy)


def runs(run: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the rows of each named run, in order of first appearance."""
    groups: dict[str, list[int]] = {}
    for row, name in enumerate(run):
        if name is not None:
            groups.setdefault(name, []).append(row)
    for name, rows in groups.items():
        yield name, np.asarray(rows)
