"""Files about several architectures: a table of limits, or checkpoints whose runs are fitted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sparsefit.cli import fitting
from sparsefit.cli.methods import FitOptions
from sparsefit.errors import Fault, TableError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.results.fits import Fits


@dataclass(frozen=True)
class Architectures:
    """What a command knows about the architectures of its files.

    Attributes
    ----------
    points : DataFrame or Fits
        Table of limits as it was read, or the fits of the runs.
    ratios : dict or None
        Run to width-depth ratio, of fits.
    losses : DataFrame or None
        Losses at the ratios, if the files have them.
    said : tuple of str
        How the limits and the losses came about, where the files do not give them.
    notes : tuple of str
        What reading the files brought up, and why there are no losses.
    failed : dict
        Run to why it could not be fitted.
    """

    points: pd.DataFrame | Fits
    ratios: dict[str, float] | None = None
    losses: pd.DataFrame | None = None
    said: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """Exit status: 0, or 3 where some runs could not be fitted."""
        return 3 if self.failed else 0

    def arguments(self) -> dict[str, Any]:
        """Return what the fits of the width-depth law take."""
        return {"points": self.points, "ratios": self.ratios}


def read_architectures(files: list[str], seed: int, *, losses: bool = True) -> Architectures:
    """Read a table of limits as it is, or checkpoints, and fit their runs as `sf.fit` does.

    Parameters
    ----------
    files : list of str
        One table of limits, or measurement tables: paths, folders or globs.
    seed : int
        Seed of the fits.
    losses : bool
        Look for losses in the files as well.

    Raises
    ------
    TableError
        Names the file and, before any fit, the run or column whose architecture is missing.
    FitError
        If no run can be fitted.
    """
    from sparsefit.results.fits import Fits
    from sparsefit.width_depth.checkpoints import last_losses, ratios_of_runs

    table = _points_table(files)
    if table is not None:
        return Architectures(table, losses=_own_losses(table) if losses else None)
    options = FitOptions(seed=seed)
    table, notes = fitting.read(files, None, options)
    with _of_files(files):
        ratios = ratios_of_runs(table)
    last = None
    if losses and "loss" in table:
        try:
            last = last_losses(table)
        except TableError as error:
            notes = (*notes, *(f"no recommendation: {fault}" for fault in error.faults))
    outcome = fitting.fit_table(table, options, notes)
    count = "1 run" if len(outcome.fits) == 1 else f"{len(outcome.fits)} runs"
    said = [
        f"Limits of {count}, fitted as by sparsefit fit. Those that are identified are the points,",
        "and their 90% intervals give the standard errors.",
    ]
    if last is not None:
        said.append("Losses: the last measured ones, the mean of the runs that share a ratio.")
    fits = Fits(outcome.fits, outcome.failed)
    return Architectures(fits, ratios, last, tuple(said), notes, outcome.failed)


def read_losses(file: str) -> pd.DataFrame:
    """Read losses at the ratios: a table with one row per ratio, or the last ones of checkpoints.

    Raises
    ------
    TableError
        Names the file, and says why the losses of its checkpoints cannot be compared.
    """
    from sparsefit.width_depth.checkpoints import last_losses

    table = _points_table([file])
    if table is not None:
        return table
    checkpoints, _ = fitting.read([file], None, FitOptions(response="loss"))
    with _of_files([file]):
        return last_losses(checkpoints)


def _points_table(files: list[str]) -> pd.DataFrame | None:
    """Read a plain table with one row per architecture; None where there are checkpoints."""
    from sparsefit.table.locations import expand
    from sparsefit.width_depth.checkpoints import is_checkpoints

    paths, _ = expand(files)
    if len(paths) > 1:
        return None
    table = _read_plain(paths[0])
    return None if is_checkpoints(table) else table


def _read_plain(path: str) -> pd.DataFrame:
    """Read a table without any check (the checks come with the fit)."""
    import pandas as pd

    try:
        if path.lower().endswith((".parquet", ".pq")):
            return pd.read_parquet(path)
        return pd.read_csv(path)
    except FileNotFoundError:
        fault = Fault(None, None, "no such file", "Check the path")
        raise TableError([fault], source=path) from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        # ValueError covers pandas' ParserError and EmptyDataError, and pyarrow's ArrowInvalid.
        fault = Fault(None, None, f"cannot be read: {error}", "Give a CSV or Parquet table")
        raise TableError([fault], source=path) from error


def _own_losses(table: pd.DataFrame) -> pd.DataFrame | None:
    """Losses in the table of the limits, where `se` belongs to the limits and not to them."""
    if "loss" not in table:
        return None
    return table.drop(columns="se", errors="ignore").rename(columns={"loss_se": "se"})


@contextmanager
def _of_files(files: list[str]) -> Iterator[None]:
    """Name the files whose table has the fault."""
    try:
        yield
    except TableError as error:
        raise TableError(error.faults, source=" ".join(files)) from None
