"""Check a measurement table: every fault at once, or a normalised copy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.checks import check_choice, check_whole
from sparsefit.counts import count_text
from sparsefit.errors import Fault, TableError, quoted
from sparsefit.table import checks
from sparsefit.table.coerce import is_missing, to_numbers, to_text
from sparsefit.table.remedies import missing_remedy
from sparsefit.table.schema import COLUMNS, MIN_POINTS, REQUIRED, RESPONSES

if TYPE_CHECKING:
    import pandas as pd

# A run of a billion parameters that ends before a million tokens is hardly one: steps are counted.
_FEWEST_PER_PARAMETER = 1e-3


def validate(
    table: pd.DataFrame,
    *,
    response: str = "activation_ratio",
    law_params: int | None = None,
    min_points: int | None = None,
) -> pd.DataFrame:
    """Check a measurement table and return a normalised copy.

    Parameters
    ----------
    table : pandas.DataFrame
        One row per run and checkpoint: `run`, `tokens` (raw counts), `activation_ratio` (fraction
        in (0, 1]) and optional columns; further columns are kept as they are.
    response : {"activation_ratio", "loss"}
        The column that must be there; the other one is optional.
    law_params : int, optional
        Number of parameters of the law to be fitted; a run then needs ``law_params + 2`` usable
        points.
    min_points : int, optional
        Usable points that each run needs; overrides `law_params`. Without both, 5, which is what
        the smallest law needs; 0 accepts a run of any length.

    Returns
    -------
    pandas.DataFrame
        Sorted by `run` and `tokens`, index 0 to n - 1, `attrs` kept. Counts are int64 where every
        value is whole, else float64; known text columns have object dtype with None where missing;
        `activation` is in lower case; a missing `status` is "ok". Rows with status "failed" stay
        (see `usable_rows`). No row is dropped, no value changed. Without `law_params` and
        `min_points`, ``attrs["notes"]`` names runs that are too short for their own law.

    Raises
    ------
    TableError
        With one `Fault` for each thing wrong, each naming row, column and remedy.
    ArgumentError
        For another response, or a number of points that is none.
    """
    least = least_points(response, law_params, min_points)
    copy, faults = check(table, response=response, min_points=least)
    if faults:
        raise TableError(faults)
    assert copy is not None
    if law_params is None and min_points is None:
        add_notes(copy, short_runs(copy, response))
    add_notes(copy, step_like_runs(copy))
    return copy


def add_notes(table: pd.DataFrame, notes: list[str]) -> None:
    """Add to ``table.attrs["notes"]`` what is not there yet."""
    known = table.attrs.get("notes", [])
    if notes:
        table.attrs["notes"] = list(dict.fromkeys([*known, *notes]))


def short_runs(table: pd.DataFrame, response: str) -> list[str]:
    """Name the runs of a validated table that a fit would refuse for their number of points."""
    from sparsefit import laws

    usable = usable_rows(table, response)
    notes = []
    for run, rows in table.groupby("run", sort=False):
        known = rows["activation"].dropna().tolist() if "activation" in rows else []
        law = max(
            laws.candidates(known[0] if known else None, response), key=lambda one: one.least_points
        )
        count = int(usable[rows.index].sum())
        if count < law.least_points:
            notes.append(
                f"run {run!r} has {count} of the {law.least_points} usable points that a fit of "
                f"{law.name} needs: it cannot be fitted before more checkpoints are measured"
            )
    return notes


def step_like_runs(table: pd.DataFrame) -> list[str]:
    """Name the runs of a validated table whose tokens are too few for their parameters."""
    if "n_params" not in table:
        return []
    notes = []
    for run, rows in table.groupby("run", sort=False):
        last, size = float(rows["tokens"].max()), float(rows["n_params"].max())
        if last < _FEWEST_PER_PARAMETER * size:
            notes.append(
                f"run {run!r} ends at {count_text(last)} tokens with {count_text(size)} "
                "parameters: if 'tokens' counts optimiser steps, multiply it by the tokens of a "
                "batch (sequences times sequence length)"
            )
    return notes


def least_points(response: str, law_params: int | None, min_points: int | None) -> int:
    """Points that each run needs, from the arguments of `validate`."""
    check_choice("response", response, RESPONSES)
    parameters = None if law_params is None else check_whole("law_params", law_params, 0)
    if min_points is not None:
        return check_whole("min_points", min_points, 0)
    return MIN_POINTS if parameters is None else parameters + 2


def usable_rows(table: pd.DataFrame, response: str = "activation_ratio") -> np.ndarray:
    """Mask of the rows of a validated table that a fit may use.

    Parameters
    ----------
    table : pandas.DataFrame, n rows
    response : str
        Column to be fitted.

    Returns
    -------
    ndarray of bool, shape (n,)
        True where the row did not fail and has a response.
    """
    present = table[response].notna().to_numpy()
    if "status" in table:
        present = present & (table["status"] != "failed").to_numpy()
    return present


def unusable_rows(table: pd.DataFrame, response: str = "activation_ratio") -> list[tuple[int, str]]:
    """Tell the rows of a validated table that no fit may use, by reason.

    Parameters
    ----------
    table : pandas.DataFrame, n rows
    response : str
        Column to be fitted.

    Returns
    -------
    list of (int, str)
        Number of rows and what is the matter with them, the beginning of a sentence: first those
        without a value, then those with one that are marked as failed.
    """
    unusable = ~usable_rows(table, response)
    marked = int((unusable & table[response].notna().to_numpy()).sum())
    missing = int(unusable.sum()) - marked
    said = []
    if missing == 1:
        said.append((1, "1 row has no value (failed measurement)"))
    elif missing:
        said.append((missing, f"{missing} rows have no value (failed measurements)"))
    if marked:
        rows = "row has" if marked == 1 else "rows have"
        said.append((marked, f"{marked} {rows} a value of {response} but the status 'failed'"))
    return said


def check(
    table: Any,
    *,
    response: str,
    min_points: int,
    columns_checked: bool = False,
    where: checks.Where = checks.in_row,
) -> tuple[pd.DataFrame | None, list[Fault]]:
    """Check a table without raising.

    Parameters
    ----------
    table : object
        What is to be a DataFrame.
    response, min_points
        As in `validate`.
    columns_checked : bool
        Whether the absence of columns has been reported already.
    where : callable
        Says in a message where another row stands.

    Returns
    -------
    copy : pandas.DataFrame or None
        The normalised copy, None where there are faults.
    faults : list of Fault
        In the order table, column, row.
    """
    faults = shape_faults(table)
    if faults:
        return None, faults
    missing = column_faults(table, response)
    faults = [] if columns_checked else list(missing)
    if not len(table):
        faults.append(Fault(None, None, "the table has no rows", "Give at least one checkpoint"))
        return None, faults

    values: checks.Values = {}
    bad: dict[str, np.ndarray] = {}
    for name in (name for name in COLUMNS if name in table.columns):
        position = int(np.flatnonzero(table.columns == name)[0])
        convert = to_text if COLUMNS[name].kind == "text" else to_numbers
        values[name], bad[name], found = convert(table.iloc[:, position])
        faults.extend(found)
    if "activation" in values:
        values["activation"] = _each(
            values["activation"], lambda text: text.strip().lower() or None
        )
    if "status" in values:
        values["status"] = np.where(values["status"] == None, "ok", values["status"])  # noqa: E711

    faults.extend(_value_faults(values, bad, response, min_points, where))
    if faults or missing:
        order = {name: rank for rank, name in enumerate(COLUMNS)}
        faults.sort(key=lambda fault: (order.get(fault.column or "", -1), _rank(fault.row)))
        return None, faults
    return _normalised(table, values), []


def _rank(row: int | None) -> int:
    return -1 if row is None else row


def _each(values: np.ndarray, change: Any) -> np.ndarray:
    changed = np.empty_like(values)
    changed[:] = [None if value is None else change(value) for value in values]
    return changed


def shape_faults(table: Any) -> list[Fault]:
    """Faults that make it pointless to look at single columns."""
    import pandas as pd

    if not isinstance(table, pd.DataFrame):
        # Polars calls its tables DataFrame too.
        library = type(table).__module__.partition(".")[0]
        kind = type(table).__name__
        named = kind if library == "builtins" else f"{kind} of {library}"
        if callable(getattr(table, "to_pandas", None)):
            remedy = "Pass what its method to_pandas() returns"
        elif isinstance(table, dict | list):
            remedy = "Pass pandas.DataFrame(...) of it, or read a file with read_table"
        else:
            remedy = "Pass a DataFrame, or read a file with read_table"
        return [Fault(None, None, f"a {named} is not a pandas DataFrame", remedy)]
    faults = []
    if isinstance(table.columns, pd.MultiIndex):
        remedy = "Give the table one level of column names"
        return [Fault(None, None, "the column names have several levels", remedy)]
    for name in table.columns:
        if not isinstance(name, str):
            problem = f"the column name {quoted(name)} is not text"
            faults.append(Fault(None, str(name), problem, "Rename the column"))
    for name in table.columns[table.columns.duplicated()].unique():
        remedy = "Keep one of them or rename the others"
        faults.append(Fault(None, str(name), "several columns have this name", remedy))
    return faults


def column_faults(table: pd.DataFrame, response: str) -> list[Fault]:
    """Required columns that are not there."""
    faults = []
    for name in (*REQUIRED, response):
        if name not in table.columns:
            remedy = missing_remedy(name, [str(column) for column in table.columns], table)
            faults.append(Fault(None, name, "the required column is missing", remedy))
    return faults


def _value_faults(
    values: checks.Values,
    bad: dict[str, np.ndarray],
    response: str,
    min_points: int,
    where: checks.Where,
) -> list[Fault]:
    size = len(next(iter(values.values()))) if values else 0
    nobody = np.full(size, None, dtype=object)
    run, status = values.get("run", nobody), values.get("status", nobody)
    failed = status == "failed"
    faults: list[Fault] = []
    for name, column in COLUMNS.items():
        if name not in values:
            continue
        if column.kind == "text":
            faults.extend(checks.text_faults(name, values[name]))
        else:
            faults.extend(checks.number_faults(name, values[name], bad[name]))
        if name in (*REQUIRED, response):
            missing = np.array([is_missing(value) for value in values[name]]) & ~bad[name]
            faults.extend(checks.missing_faults(name, missing, failed))
        if column.constant:
            faults.extend(checks.constant_faults(name, run, values[name], where))
    if "n_params" in values:
        faults.extend(_scale_faults(values["n_params"], bad["n_params"]))
    if "tokens" in values:
        faults.extend(checks.billions_faults(run, values["tokens"], bad["tokens"]))
        faults.extend(checks.duplicate_faults(run, values["tokens"], where))
    if response in values:
        # A cell with a fault of its own is not counted a second time as a missing point.
        usable = ~failed & ~(np.isnan(values[response]) & ~bad[response])
        if "se" in values and response == "activation_ratio":
            faults.extend(checks.se_faults(run, values["se"], usable & ~bad["se"]))
        faults.extend(checks.few_points_faults(run, usable, min_points))
    return faults


def _scale_faults(n_params: np.ndarray, bad: np.ndarray) -> list[Fault]:
    judged = np.isfinite(n_params) & (n_params > 0) & ~bad
    small = judged & (n_params < checks.BILLIONS_BELOW) & (n_params != np.round(n_params))
    remedy = "Give the raw count of non-embedding parameters, such as 1.08e8"
    return [
        Fault(int(row), "n_params", f"{n_params[row]:g} looks like millions or billions", remedy)
        for row in np.flatnonzero(small)
    ]


def _normalised(table: pd.DataFrame, values: checks.Values) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    for position, name in enumerate(table.columns):
        if name in values:
            columns[name] = _stored(name, values[name])
        else:
            columns[name] = _kept(table.iloc[:, position].reset_index(drop=True))
    copy = pd.DataFrame(columns, index=pd.RangeIndex(len(table)))
    copy = copy.sort_values(["run", "tokens"], kind="stable", ignore_index=True)
    copy.attrs = dict(table.attrs)
    return copy


def _stored(name: str, values: np.ndarray) -> Any:
    import pandas as pd

    if COLUMNS[name].kind == "text":
        return pd.Series(values, dtype=object)
    if (
        COLUMNS[name].kind != "number"
        and np.all(np.isfinite(values))
        and np.all(values == np.round(values))
    ):
        return values.astype(np.int64)
    return values


def _kept(series: pd.Series) -> pd.Series:
    """Give missing cells of a free text column one form (files cannot tell None from NaN)."""
    if series.dtype != object:
        return series
    cells = [None if is_missing(cell) else cell for cell in series.tolist()]
    kept = series.copy()
    kept[:] = cells
    return kept
