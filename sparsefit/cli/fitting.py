"""Reading tables and fitting their runs, as `fit`, `forecast`, `report` and `demo` do."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sparsefit.by_run import each_run
from sparsefit.cli import ending, selection, values
from sparsefit.cli.methods import STACKED, FitOptions, add_method, fitter, together
from sparsefit.cli.outputs import check_figure, check_file
from sparsefit.cli.progress import Progress
from sparsefit.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

# Notes on files shown; one a file would bury the answer.
_NOTES = 2


def add_fit_arguments(parser: argparse.ArgumentParser, *, stacked: bool = False) -> None:
    """Declare the files and the options that decide how they are fitted; see `add_method`."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="measurement tables (CSV, Parquet, the authors' JSON): paths, URLs, folders or globs",
    )
    learn = "pooled and best still learn" if stacked else "pooled still learns"
    selection.add_run(
        parser,
        f"fit only this run (--method {learn} from the others), or name the run of a file without "
        "a column 'run'",
    )
    parser.add_argument(
        "--response",
        choices=("activation_ratio", "loss"),
        default="activation_ratio",
        help="column to fit (default: %(default)s)",
    )
    parser.add_argument(
        "--law",
        default="auto",
        help="auto, eq4 (or relu), eq5 (or silu), or loss (default: auto, by activation or else by "
        "evidence)",
    )
    parser.add_argument(
        "--warmup",
        type=values.warmup_rule,
        default="auto",
        help="early points to leave out: auto, none, a number of points, or of tokens (2e9, 2B)",
    )
    ending.add_before(parser)
    add_method(parser, stacked=stacked)
    parser.add_argument("--robust", action="store_true", help="down-weight outliers")
    parser.add_argument(
        "--seed", type=values.seed, default=0, help="seed of the draws (default: 0)"
    )
    parser.add_argument(
        "--level", type=values.level, default=0.9, help="level of the intervals (default: 0.9)"
    )
    parser.add_argument("--out", metavar="FIGURE", help="write a figure (.png, .pdf, .svg)")
    parser.add_argument(
        "--save-json",
        metavar="FILE",
        help=f"save the {'result' if stacked else 'fits'} for sf.load_fit",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


@dataclass(frozen=True)
class Outcome:
    """Fits of the runs that could be fitted, and why the others could not.

    Attributes
    ----------
    fits : dict
        Run to `Fit`.
    failed : dict
        Run to the error message.
    table : DataFrame
        The table read, all runs that were asked for.
    notes : tuple of str
        What reading the files brought up.
    later : DataFrame, optional
        Rows that --before leaves out.
    """

    fits: dict[str, Fit]
    failed: dict[str, str]
    table: pd.DataFrame
    notes: tuple[str, ...]
    later: pd.DataFrame | None = None

    @property
    def status(self) -> int:
        """Exit status: 0, or 3 where some runs failed."""
        return 3 if self.failed else 0

    def result(self) -> Fit | Fits:
        """Return the fits as `sf.fit` returns them."""
        from sparsefit.results.fits import Fits

        only = next(iter(self.fits.values()))
        return only if len(self.fits) == 1 else Fits(self.fits, self.failed)


def fit_files(arguments: argparse.Namespace) -> Outcome:
    """Read the files and fit each run; a run that cannot be fitted does not stop the others.

    Raises
    ------
    FitError
        If no run can be fitted.
    """
    # A bad output path is refused before any work.
    check_figure("--out", arguments.out)
    check_file("--save-json", arguments.save_json)
    options = FitOptions(
        law=arguments.law,
        warmup=arguments.warmup,
        response=arguments.response,
        method=arguments.method,
        robust=arguments.robust,
        seed=arguments.seed,
    )
    table, notes = read(arguments.files, arguments.run, options)
    table, later, told = ending.split(table, arguments.before)
    return replace(fit_table(table, options, (*told, *notes), arguments.run), later=later)


def read(
    files: list[str], runs: list[str] | None, options: FitOptions
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the runs to fit, with what reading brought up; pooled, those to learn from as well."""
    from sparsefit.table import read_table

    # One name for one file may name the run of a file without a column `run`.
    one = runs and len(runs) == 1 and len(files) == 1 and Path(files[0]).is_file()
    table = read_table(
        files if len(files) > 1 else files[0],
        run=runs[0] if runs and one else None,
        response=options.response,
        # A short run is judged against its own law, and does not stop the others.
        min_points=0,
    )
    notes = tuple(table.attrs.get("notes", ()))
    if runs and options.method in ("pooled", STACKED):
        selection.check_runs(table, runs)
        return table, notes
    return selection.select(table, runs), notes


def fit_table(
    table: pd.DataFrame,
    options: FitOptions,
    notes: tuple[str, ...] = (),
    only: list[str] | None = None,
) -> Outcome:
    """Fit each run of a table, or those in `only`, with progress where it takes long."""
    from sparsefit.fitting import check_call

    runs = {data.run: data for data in check_call(table, options.response)}
    if options.method == "pooled":
        from sparsefit.bayes.pooling import covariate_values

        for data in runs.values():
            # A missing column is said before anything is fitted.
            covariate_values(data, ("n_params",))
    fit_alone = fitter(options)
    with Progress(len(runs), "fitting") as progress:

        def fit_one(run: str) -> Fit:
            progress.step(run)
            return fit_alone(runs[run])

        alone, failed = each_run(runs, fit_one)
    fits = together(alone, only or list(alone), options)
    if not fits:
        raise FitError("; ".join(failed.values()))
    return Outcome(fits, failed, table, notes)


def save(outcome: Outcome, arguments: argparse.Namespace) -> None:
    """Write the fits where --save-json says."""
    if arguments.save_json:
        outcome.result().to_json(arguments.save_json)


def report_side(outcome: Outcome, arguments: argparse.Namespace) -> None:
    """Print to standard error what is not part of the answer."""
    say_beside(outcome.notes, outcome.failed, "not fitted", arguments)


def say_beside(
    notes: tuple[str, ...],
    failed: dict[str, str],
    what: str,
    arguments: argparse.Namespace,
    saved: str = "fits",
) -> None:
    """Print to standard error notes on the files, runs that failed, and the files written."""
    say_notes(notes, failed, what)
    for written, path in (("figure", arguments.out), (saved, arguments.save_json)):
        if path:
            print(f"{written} written to {path}", file=sys.stderr)


def say_notes(notes: tuple[str, ...], failed: dict[str, str], what: str = "not fitted") -> None:
    """Print to standard error notes on the files and the runs that failed."""
    for note in notes[:_NOTES]:
        print(f"note: {note}", file=sys.stderr)
    if len(notes) > _NOTES:
        more = len(notes) - _NOTES
        print(f"note: {more} more on the files; sparsefit validate lists them", file=sys.stderr)
    for message in failed.values():
        print(f"{what}: {message}", file=sys.stderr)
