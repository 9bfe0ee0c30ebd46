"""The forecasting problems of a backtest: what is seen and what is held back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from sparsefit.backtesting.seen import with_target
from sparsefit.table import usable_rows

if TYPE_CHECKING:
    import pandas as pd

Scheme = Literal["rolling", "leave-one-run-out"]
Others = Literal["smaller", "all"]


@dataclass(frozen=True)
class Cell:
    """One forecasting problem: a run, a cut, and what may be seen of it."""

    run: str
    cut: float
    seen: pd.DataFrame
    tokens: np.ndarray
    observed: np.ndarray
    last_seen: float
    note: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A cell that could not be formed, and why; of rows that no cut can use, the cut is NaN."""

    run: str
    cut: float
    reason: str

    @property
    def place(self) -> str:
        """The cell in words."""
        return self.run if np.isnan(self.cut) else f"{self.run} at {self.cut:g}"


def usable(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Skipped]]:
    """Rows that hold a measurement, and one note a run for those that do not."""
    # Names are text from here on: a column of numbers would not match what methods are told.
    table = table.assign(run=table["run"].astype(str))
    keep = usable_rows(table)
    lost = table[~keep].groupby("run", sort=False).size()
    skipped = [
        Skipped(
            str(run), float("nan"), f"{count} row{'s' * (count != 1)} without a usable measurement"
        )
        for run, count in lost.items()
    ]
    return table[keep].sort_values(["run", "tokens"], kind="stable"), skipped


def form_cells(
    table: pd.DataFrame,
    runs: Sequence[str],
    cuts: Sequence[float],
    scheme: str,
    others: str,
    min_seen: int,
) -> Iterator[Cell | Skipped]:
    """Form one cell for each run to be forecast and cut, or say why it cannot be formed."""
    for run in runs:
        rows = table[table["run"] == run]
        if rows.empty:  # `usable` has counted what it lost
            continue
        rest, note = _others(table, rows, others)
        for cut in cuts:
            count = round(cut * len(rows))
            if scheme == "rolling" and count < min_seen:
                yield Skipped(str(run), cut, f"{count} points seen, fewer than {min_seen}")
                continue
            if count >= len(rows):
                yield Skipped(str(run), cut, "no point is left to forecast")
                continue
            if scheme == "leave-one-run-out" and rest.empty:
                yield Skipped(str(run), cut, note or "there is no other run to learn from")
                continue
            yield _cell(rows, rest, str(run), cut, count, note)


def _cell(
    rows: pd.DataFrame, rest: pd.DataFrame, run: str, cut: float, count: int, note: str | None
) -> Cell:
    import pandas as pd

    own, later = rows.iloc[:count], rows.iloc[count:]
    parts = [part for part in (own, rest) if not part.empty]
    seen = with_target(pd.concat(parts, ignore_index=True), run, known=rows)
    tokens = later["tokens"].to_numpy(dtype=float)
    observed = later["activation_ratio"].to_numpy(dtype=float)
    last = float(own["tokens"].iloc[-1]) if count else float("nan")
    return Cell(run, float(cut), seen, tokens, observed, last, note)


def _others(
    table: pd.DataFrame, rows: pd.DataFrame, others: str
) -> tuple[pd.DataFrame, str | None]:
    """Other runs that a pooled method may see in full."""
    rest = table[table["run"] != rows["run"].iloc[0]]
    if others == "all":
        return rest, None
    if "n_params" not in table.columns or rows["n_params"].isna().any():
        return rest.iloc[:0], "no n_params: smaller runs cannot be told, none is shown"
    return rest[rest["n_params"] < rows["n_params"].iloc[0]], None


def alone(cell: Cell) -> Cell:
    """The same cell without other runs."""
    seen = cell.seen[cell.seen["run"] == cell.run]
    seen.attrs = dict(cell.seen.attrs)
    return Cell(cell.run, cell.cut, seen, cell.tokens, cell.observed, cell.last_seen)
