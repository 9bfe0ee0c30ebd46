"""What `fit`, `forecast` and `demo` share: options, reading, fitting with progress, sentences."""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsefit.cli import methods, selection
from sparsefit.cli.counting import PATIENCE, rewrite
from sparsefit.cli.outputs import check_figure, check_file
from sparsefit.counts import count_text
from sparsefit.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.results.estimates import Limit
    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

# Notes on files shown; one a file would bury the answer.
_NOTES = 2

_SI = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


def add_fit_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the files and the options that decide how they are fitted."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="measurement tables (CSV, Parquet, the authors' JSON): paths, URLs, folders, globs",
    )
    selection.add_run(
        parser,
        "fit this run only; --method pooled still learns from the others; names the run of a file "
        "without a column 'run'",
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
        help="auto, eq4 (or relu), eq5 (or silu), loss (default: by activation, else by evidence)",
    )
    parser.add_argument(
        "--warmup",
        type=warmup_rule,
        default="auto",
        help="early points to leave out: auto, none, a number of points, or of tokens (2e9, 2B)",
    )
    methods.add_method(parser)
    parser.add_argument("--robust", action="store_true", help="down-weight outliers")
    parser.add_argument("--seed", type=seed, default=0, help="seed of the draws (default: 0)")
    parser.add_argument(
        "--level", type=level, default=0.9, help="level of the intervals (default: 0.9)"
    )
    parser.add_argument("--out", metavar="FIGURE", help="write a figure (.png, .pdf, .svg)")
    parser.add_argument("--save-json", metavar="FILE", help="write the fits for sf.load_fit")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def token_count(text: str) -> float:
    """Parse a raw token count: 2e12, 2T, 500B."""
    words = text.strip().replace(",", "").replace("_", "")
    scale = _SI.get(words[-1:].lower(), 1.0)
    try:
        value = float(words[:-1] if scale != 1.0 else words) * scale
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no token count (such as 2e12, 2T or 500B)")
    return value


def fraction(text: str) -> float:
    """Parse a fraction strictly between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is no fraction between 0 and 1 (such as 0.93)")
    return value


def level(text: str) -> float:
    """Parse an interval level."""
    value = fraction(text)
    if value < 0.5:
        raise argparse.ArgumentTypeError(f"{text!r}: give a confidence level such as 0.9")
    return value


def seed(text: str) -> int:
    """Parse a seed."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number >= 0")
    return int(text)


def warmup_rule(text: str) -> str | float | None:
    """Parse a rule for the warm-up: auto, none, a number of points or of tokens."""
    if text.lower() in ("auto", "none"):
        return None if text.lower() == "none" else "auto"
    if text == "0":
        return 0
    try:
        return token_count(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no auto, none, number of points or of tokens (such as 2e9 or 2B)"
        ) from None


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
    """

    fits: dict[str, Fit]
    failed: dict[str, str]
    table: pd.DataFrame
    notes: tuple[str, ...]

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
    check_output(arguments)
    table, notes = read(arguments)
    return fit_table(table, arguments, notes, arguments.run)


def check_output(arguments: argparse.Namespace) -> None:
    """Refuse a bad output path before any work."""
    check_figure("--out", arguments.out)
    check_file("--save-json", arguments.save_json)


def read(arguments: argparse.Namespace) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the runs to fit, with what reading brought up; pooled, those to learn from as well."""
    from sparsefit.table import read_table

    files, runs = arguments.files, arguments.run
    name = runs[0] if runs and len(runs) == 1 and len(files) == 1 and _is_file(files[0]) else None
    table = read_table(
        files if len(files) > 1 else files[0],
        run=name,
        response=arguments.response,
        # A short run is judged against its own law, and does not stop the others.
        min_points=0,
    )
    notes = tuple(table.attrs.get("notes", ()))
    if runs and arguments.method == "pooled":
        selection.check_runs(table, runs)
        return table, notes
    return selection.select(table, runs), notes


def _is_file(path: str) -> bool:
    from pathlib import Path

    return Path(path).is_file()


def fit_table(
    table: pd.DataFrame,
    arguments: argparse.Namespace,
    notes: tuple[str, ...] = (),
    only: list[str] | None = None,
) -> Outcome:
    """Fit each run of a table, or those in `only`, with progress where it takes long."""
    from sparsefit.fitting import check_call, fit_each
    from sparsefit.seeds import seed_of

    seed = seed_of(arguments.seed)
    runs = {data.run: data for data in check_call(table, arguments.response)}
    fit_alone = methods.fitter(arguments, seed)
    progress = Progress(len(runs), "fitting")

    def fit_one(run: str) -> Fit:
        progress.step(run)
        return fit_alone(runs[run])

    alone, failed = fit_each(runs, fit_one)
    progress.done()
    fits = methods.together(alone, only or list(alone), arguments, seed)
    if not fits:
        raise FitError("; ".join(failed.values()))
    return Outcome(fits, failed, table, notes)


class Progress:
    """Lines on standard error, from the moment that a job takes longer than `PATIENCE`."""

    def __init__(self, total: int, verb: str) -> None:
        self._total, self._verb = total, verb
        self._count = 0
        self._start = time.monotonic()
        self._live = sys.stderr.isatty()
        self._shown = False

    def step(self, name: str) -> None:
        """Announce the next item."""
        self._count += 1
        if time.monotonic() - self._start < PATIENCE:
            return
        self._shown = True
        line = f"{self._verb} {self._count}/{self._total}: {name}"
        # A terminal gets one line that changes, a log one line an item.
        if self._live:
            rewrite(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def done(self) -> None:
        """Clear the line."""
        if self._shown and self._live:
            rewrite("")


def head_line(fit: Fit) -> str:
    """Name the run, its law and its data, with the value it has come to, in one line."""
    span = f"{count_text(fit.tokens[0])} to {count_text(fit.tokens[-1])} tokens"
    data = f"{len(fit.points)} checkpoints, {span}, the last at {fit.points.y[-1]:.4f}"
    return f"{fit.run}: {data}; {fit.law.name} ({fit.law_reason})"


def limit_sentence(limit: Limit) -> str:
    """State the limit, its interval and how far the data identify it."""
    percent = f"{100 * limit.level:g}%"
    ratio = limit.response == "activation_ratio"
    noun = "activation ratio" if ratio else "loss"

    if limit.identified == "yes":
        more = (
            f" (sparsity {1 - limit.estimate:.4f}, {1 - limit.upper:.4f} to {1 - limit.lower:.4f})"
            if ratio
            else ""
        )
        return (
            f"Limit: {noun} {limit.estimate:.4f}, {percent} interval {limit.lower:.4f} to "
            f"{limit.upper:.4f}{more}. Identified: yes."
        )
    if limit.identified == "no":
        return f"Limit: the data do not bound it on either side ({percent}). Identified: no."
    if limit.lower <= limit.bounds[0]:
        return (
            f"Limit: {noun} at most {limit.upper:.4f}"
            + (f" (sparsity at least {1 - limit.upper:.4f})" if ratio else "")
            + f" at {percent}; the data do not bound it below. Best fit {limit.estimate:.4f}. "
            "Identified: one-sided."
        )
    return (
        f"Limit: {noun} at least {limit.lower:.4f}"
        + (f" (sparsity at most {1 - limit.lower:.4f})" if ratio else "")
        + f" at {percent}; the data do not bound it above. Best fit {limit.estimate:.4f}. "
        "Identified: one-sided."
    )


def notes_of(fit: Fit) -> list[str]:
    """Notes of a fit as lines."""
    return [f"  note: {note}" for note in fit.notes]


def plain(value: Any) -> Any:
    """Make a value strict JSON: NaN and infinities become None, numpy and pandas plain types."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return plain(value.to_dict(orient="records"))
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def print_json(document: dict[str, Any]) -> None:
    """Print one strict JSON document."""
    import json

    print(json.dumps(plain(document), indent=2, allow_nan=False))


def run_document(fit: Fit, level: float) -> dict[str, Any]:
    """Describe a fit in JSON: what both `fit` and `forecast` report."""
    limit = fit.limit(level)
    document = {
        "run": fit.run,
        "method": fit.method,
        "law": fit.law.name,
        "law_reason": fit.law_reason,
        "response": fit.response,
        "n_points": len(fit.points),
        "n_warmup": fit.n_warmup,
        "warmup": fit.warmup,
        "tokens_seen": fit.tokens[-1],
        "last_measured": fit.points.y[-1],
        "limit": {**limit.to_dict(), "sentence": limit_sentence(limit)},
        "notes": list(fit.notes),
        "misfit": fit.misfit,
    }
    if limit.response == "activation_ratio":
        sparsity = limit.sparsity
        document["limit_sparsity"] = {
            "estimate": sparsity.estimate,
            "lower": sparsity.lower,
            "upper": sparsity.upper,
        }
    return document


def save(outcome: Outcome, arguments: argparse.Namespace) -> None:
    """Write the fits where --save-json says."""
    if arguments.save_json:
        outcome.result().to_json(arguments.save_json)


def report_side(outcome: Outcome, arguments: argparse.Namespace) -> None:
    """Print to standard error what is not part of the answer."""
    for note in outcome.notes[:_NOTES]:
        print(f"note: {note}", file=sys.stderr)
    if len(outcome.notes) > _NOTES:
        more = len(outcome.notes) - _NOTES
        print(f"note: {more} more on the files; sparsefit validate lists them", file=sys.stderr)
    for message in outcome.failed.values():
        print(f"not fitted: {message}", file=sys.stderr)
    for option, path in (("figure", arguments.out), ("fits", arguments.save_json)):
        if path:
            print(f"{option} written to {path}", file=sys.stderr)
