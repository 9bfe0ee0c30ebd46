"""Read and write measurement tables: one file or many, checked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit import provenance as origin
from sparsefit.errors import ArgumentError, Fault, TableError, quoted
from sparsefit.table import locations
from sparsefit.table.files import RawFile, read_file, write_frame
from sparsefit.table.locations import Location
from sparsefit.table.validation import (
    add_notes,
    check,
    column_faults,
    least_points,
    shape_faults,
    short_runs,
    step_like_runs,
)

if TYPE_CHECKING:
    import pandas as pd


def read_table(
    path: Location | Iterable[Location],
    *,
    run: str | None = None,
    response: str = "activation_ratio",
    law_params: int | None = None,
    min_points: int | None = None,
) -> pd.DataFrame:
    """Read measurement tables and check them.

    Parameters
    ----------
    path : path or list of paths
        CSV (``.csv``, ``.csv.gz``), Parquet (``.parquet``) or the authors' JSON (``.json``,
        ``.txt``), local or at any fsspec URL; a folder, a glob pattern or a list gives one table.
        ``"-"`` is standard input; it and pipes are read as CSV.
    run : str, optional
        Name of the run, for one file that holds a single run and has no column `run`.
    response, law_params, min_points
        As in `validate`.

    Returns
    -------
    pandas.DataFrame
        As `validate` returns it. ``attrs["provenance"]`` holds the provenance that was stored with
        the file (empty without; with several files ``{"merged": [...]}``), ``attrs["sources"]``
        the name and SHA-256 of each file, ``attrs["notes"]`` what was taken from file names,
        which files of a folder were ignored and, without `law_params` and `min_points`, which runs
        are too short for their own law.

    Raises
    ------
    TableError
        With every fault of every file: row, column, line of the file, and what to do.
    ArgumentError
        If `run` is given for several files, or `path` is no path.

    Examples
    --------
    >>> import sparsefit as sf
    >>> table = sf.read_table("points.csv")  # doctest: +SKIP
    >>> both = sf.read_table(["first.csv", "second.csv"])  # doctest: +SKIP
    """
    least = least_points(response, law_params, min_points)
    paths, ignored = locations.expand(path)
    if run is not None and len(paths) > 1:
        raise ArgumentError(
            f"run={quoted(run)} names one run, but {len(paths)} files are to be read"
        )
    files = [read_file(one, run) for one in paths]
    for file in files:
        _check_form(file, response)
    joined = _Joined([file for file in files if file.frame is not None])
    faults = [
        replace(fault, file=file.path if len(files) > 1 else None)
        for file in files
        for fault in file.faults
    ]
    table = None
    if joined.size:
        # Even if a file cannot be read, the others are checked, so that all faults show at once.
        table, found = check(
            joined.frame(),
            response=response,
            min_points=least,
            columns_checked=True,
            where=joined.where,
        )
        faults += joined.locate(found, name_file=len(files) > 1)
    if faults or table is None:
        raise TableError(faults, paths[0] if len(paths) == 1 else None)
    table.attrs.update(_attributes(files, ignored))
    if law_params is None and min_points is None:
        add_notes(table, short_runs(table, response))
    add_notes(table, step_like_runs(table))
    return table


def _check_form(file: RawFile, response: str) -> None:
    if file.frame is None:
        return
    shape = shape_faults(file.frame)
    if shape:
        file.faults += shape
        file.frame = None
        return
    file.faults += column_faults(file.frame, response)
    if not len(file.frame):
        file.faults.append(
            Fault(None, None, "the table has no rows", "Give at least one checkpoint")
        )


def _attributes(files: list[RawFile], ignored: list[str]) -> dict[str, Any]:
    sources = [{"file": locations.file_name(file.path), "sha256": file.sha256} for file in files]
    notes = [note for file in files for note in file.notes]
    if ignored:
        notes.append(f"ignored, no tables by their suffix: {', '.join(ignored)}")
    provenance = files[0].provenance
    if len(files) > 1:
        provenance = {
            "merged": [
                {**source, "provenance": file.provenance}
                for source, file in zip(sources, files, strict=True)
            ]
        }
    return {"provenance": provenance, "sources": sources, "notes": notes}


class _Joined:
    """Files laid end to end, and the way back from a row to its file."""

    def __init__(self, files: list[RawFile]) -> None:
        self.files = files
        self.frames: list[pd.DataFrame] = [file.frame for file in files if file.frame is not None]
        self.ends = list(accumulate(len(frame) for frame in self.frames))
        self.size = self.ends[-1] if self.ends else 0

    def frame(self) -> pd.DataFrame:
        """One frame; a column that a file lacks is missing in its rows."""
        import pandas as pd

        if len(self.frames) == 1:
            return self.frames[0]
        names = dict.fromkeys(name for frame in self.frames for name in frame.columns)
        # Lists rather than pandas.concat, which would turn numbers into text or back.
        return pd.DataFrame(
            {
                name: [
                    cell
                    for frame in self.frames
                    for cell in (frame[name].tolist() if name in frame else [None] * len(frame))
                ]
                for name in names
            }
        )

    def place(self, row: int) -> tuple[RawFile, int]:
        """Return the file of a row and the row within that file."""
        which = int(np.searchsorted(self.ends, row, side="right"))
        return self.files[which], row - (self.ends[which - 1] if which else 0)

    def where(self, row: int) -> str:
        """Say where a row stands."""
        file, own = self.place(row)
        text = f"row {own}"
        if file.lines is not None:
            text += f" (line {file.lines[own]})"
        return text if len(self.files) == 1 else f"{text} of {file.path}"

    def locate(self, faults: list[Fault], name_file: bool) -> list[Fault]:
        """Give faults the row, line and file where they stand."""
        located = []
        for fault in faults:
            if fault.row is None:
                located.append(fault)
                continue
            file, row = self.place(fault.row)
            assert file.frame is not None
            if fault.column is not None and fault.column not in file.frame.columns:
                continue  # this file's missing column has a fault of its own
            line = None if file.lines is None else file.lines[row]
            path = file.path if name_file else None
            located.append(replace(fault, row=row, line=line, file=path))
        return located


def write_table(
    table: pd.DataFrame, path: Location, *, provenance: dict[str, Any] | None = None
) -> None:
    """Check a measurement table and write it with its provenance.

    Parameters
    ----------
    table : pandas.DataFrame
        See `validate`; runs may have any number of points. A table without `activation_ratio` must
        have `loss`.
    path : path
        Local path or fsspec URL; the suffix gives the format: ``.csv``, ``.csv.gz`` or
        ``.parquet``. A local file appears complete or not at all. `read_table` gives back exactly
        what was written, except that CSV cannot tell an empty text from a missing one and knows no
        types but text, numbers and booleans.
    provenance : dict, optional
        What to store; without it ``table.attrs["provenance"]``, or else this process's own (see
        `sparsefit.provenance`). For CSV it goes to ``<path>.provenance.json``.

    Raises
    ------
    TableError
        If the table has faults or cannot be written.
    ArgumentError
        If the suffix is none of the three, or `path` is no path.
    """
    loss_only = hasattr(table, "columns") and "activation_ratio" not in table.columns
    response = "loss" if loss_only and "loss" in table.columns else "activation_ratio"
    checked, faults = check(table, response=response, min_points=0)
    if checked is None:
        raise TableError(faults, f"table to be written to {locations.path_text(path)}")
    attributes = checked.attrs
    if provenance is None:
        kept = {key: attributes[key] for key in ("sources", "notes") if attributes.get(key)}
        provenance = attributes.get("provenance") or origin.provenance(**kept)
    write_frame(checked, path, origin.to_json(provenance))
