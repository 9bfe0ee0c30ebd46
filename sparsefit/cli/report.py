"""``sparsefit report``: write a self-contained HTML report."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sparsefit.cli import ending, fitting, values
from sparsefit.cli.architectures import Architectures, read_architectures
from sparsefit.cli.compare import fit_ways
from sparsefit.cli.methods import STACKED, FitOptions, add_method
from sparsefit.cli.printing import print_json
from sparsefit.cli.progress import counter
from sparsefit.cli.selection import add_run, select
from sparsefit.cli.targets import add_targets, check_targets
from sparsefit.errors import ArgumentError, FitError, NothingToForecastError
from sparsefit.outputs import writable_page

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", nargs="+", metavar="TABLE", help="measurement tables")
    add_run(parser, "show only this run (--method pooled still learns from the others)")
    parser.add_argument(
        "-o",
        "--out",
        default="report.html",
        metavar="FILE",
        help="page to write (default: report.html)",
    )
    parser.add_argument("--title", default=None, help="title of the page")
    parser.add_argument("--law", default="auto", help="law to fit (default: auto, by activation)")
    parser.add_argument(
        "--warmup",
        type=values.warmup_rule,
        default="auto",
        metavar="RULE",
        help="early points to leave out: auto, none, a number of points or of tokens (default: "
        "auto)",
    )
    ending.add_before(parser)
    add_method(parser)
    parser.add_argument(
        "--response",
        choices=("activation_ratio", "loss"),
        default="activation_ratio",
        help="column to fit (default: %(default)s)",
    )
    parser.add_argument(
        "--level", type=values.level, default=0.9, help="interval level (default: 0.9)"
    )
    parser.add_argument(
        "--until",
        type=values.token_count,
        metavar="TOKENS",
        help="last token count of the forecasts, such as 2e12 or 2T (default: 4 times the tokens "
        "seen)",
    )
    add_targets(parser)
    parser.add_argument(
        "--target",
        type=float,
        action="append",
        default=[],
        metavar="VALUE",
        help="the same as --target-activation, or --target-loss with --response loss (repeatable)",
    )
    parser.add_argument(
        "--compare", action="store_true", help="add a section that compares both laws on every run"
    )
    parser.add_argument(
        "--backtest", action="store_true", help="add a section that backtests all methods"
    )
    parser.add_argument(
        "--best",
        action="store_true",
        help="add a section with the stacked forecast of sf.forecast_best, which learns from all "
        "runs of the tables",
    )
    parser.add_argument(
        "--width-depth",
        metavar="FILE",
        help="add a section with a width-depth fit of this file: a table of ratios and limits, or "
        "of checkpoints (as sparsefit width-depth takes it)",
    )
    parser.add_argument(
        "--keep-replicates",
        action="store_true",
        help="with --width-depth: accept several points at one ratio",
    )
    parser.add_argument(
        "--figures", metavar="FOLDER", help="also write the figures as files into this folder"
    )
    parser.add_argument(
        "--formats",
        nargs="+",
        default=["pdf"],
        choices=("pdf", "svg", "png"),
        help="formats of --figures (default: pdf)",
    )
    parser.add_argument(
        "--width",
        default="single",
        help="width of --figures: single, onehalf, double or millimetres (default: single)",
    )
    parser.add_argument("--style", help="matplotlib style of the figures")
    parser.add_argument("--seed", type=values.seed, default=0, help="seed (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Fit, write the page and print the limits; 3 where some runs cannot be fitted or forecast."""
    from sparsefit.reporting import report, save_figures
    from sparsefit.results.fits import Fits

    # What would stop the page at its end is said before minutes of fitting.
    _check_extras(arguments)
    check_targets(arguments)
    writable_page(arguments.out, "--out")
    architectures = None
    if arguments.width_depth:
        files = [arguments.width_depth]
        architectures = read_architectures(files, arguments.seed, losses=False)
    # A run that cannot be fitted is named on the page and does not stop the others.
    how = FitOptions(
        law=arguments.law,
        warmup=arguments.warmup,
        response=arguments.response,
        method=arguments.method,
        seed=arguments.seed,
    )
    # A stacked forecast learns from all runs, as pooled fits do.
    whole = replace(how, method=STACKED) if arguments.best else how
    table, _ = fitting.read(arguments.files, arguments.run, whole)
    table, _, told = ending.split(table, arguments.before)
    own = table if how.method == "pooled" else select(table, arguments.run)
    outcome = fitting.fit_table(own, how, only=arguments.run)
    fits = Fits(outcome.fits)
    title = {} if arguments.title is None else {"title": arguments.title}
    extras = _extras(arguments, table, list(fits), architectures)
    path = report(
        fits,
        arguments.out,
        level=arguments.level,
        until=arguments.until,
        targets=[*arguments.target, *arguments.target_activation, *arguments.target_loss],
        sparsities=arguments.target_sparsity,
        style=arguments.style,
        left_out={**outcome.failed, **{note: note for note in told}},
        progress=counter("writing the page, parts", jobs=None),
        **title,
        **extras,
    )
    figures = []
    if arguments.figures:
        figures = save_figures(
            fits,
            arguments.figures,
            arguments.formats,
            _width(arguments.width),
            level=arguments.level,
            until=arguments.until,
            style=arguments.style,
        )
    not_forecast = _not_forecast(extras, list(fits))
    status = 3 if not_forecast else outcome.status
    limits = {name: fit.limit(arguments.level) for name, fit in fits.items()}
    if arguments.json:
        document = {
            "report": str(path),
            "figures": [str(figure) for figure in figures],
            "limits": {name: limit.to_dict() for name, limit in limits.items()},
            "failed": {**outcome.failed, **not_forecast},
        }
        print_json(document)
        return status
    for name, limit in limits.items():
        print(f"{name}: {limit.sentence}")
    if figures:
        print(f"{len(figures)} figures: {arguments.figures}")
    print(f"report: {path} ({path.stat().st_size / 1024:.0f} KiB)")
    fitting.say_notes(told, outcome.failed)
    fitting.say_notes((), not_forecast, "not forecast")
    return status


def _check_extras(arguments: argparse.Namespace) -> None:
    """Refuse targets that are none, and sections about something else than the page."""
    for target in arguments.target if arguments.response != "loss" else ():
        if not 0.0 < target < 1.0:
            raise ArgumentError(f"--target {target:g}: a fraction between 0 and 1 is expected")
    if arguments.response == "loss":
        for option in ("compare", "backtest", "best"):
            if getattr(arguments, option):
                raise ArgumentError(
                    f"--{option} is about the activation ratio, --response loss about the loss: "
                    f"leave --{option} out, or write a page without --response loss"
                )
    if arguments.compare and arguments.method != "fit":
        raise ArgumentError(
            f"--compare fits both laws by --method fit, not by {arguments.method}: leave one of "
            "the two out, or compare fits of sf.fit_bayes in Python and pass them to "
            "sf.report(..., comparison=sf.compare(fits))"
        )


def _extras(
    arguments: argparse.Namespace,
    whole: pd.DataFrame,
    fitted: list[str],
    architectures: Architectures | None,
) -> dict[str, Any]:
    """Results of the further sections; `whole` is the table, `fitted` are the runs of the page."""
    extras: dict[str, Any] = {}
    table = whole[whole["run"].isin(fitted)]
    if arguments.compare:
        from sparsefit.backtesting import compare

        rules = {law: (law, arguments.warmup) for law in ("logspace_power", "vanilla_power")}
        with _asked_by("--compare"):
            both, failed = fit_ways(table, rules, arguments.seed)
            steps = counter("comparing: refitting truncated runs", jobs=None)
            comparison = compare(both, rng=arguments.seed, progress=steps)
        missing = tuple(f"Not compared: {why}." for why in failed.values())
        extras["comparison"] = replace(comparison, remarks=(*comparison.remarks, *missing))
    if arguments.backtest:
        from sparsefit.backtesting import backtest

        with _asked_by("--backtest"):
            steps = counter("backtest, forecasts", jobs=None)
            extras["backtest"] = backtest(table, rng=arguments.seed, progress=steps)
    if arguments.best:
        from sparsefit.backtesting import forecast_best

        steps = counter("choosing by a backtest, forecasts", jobs=None)
        extras["best"] = forecast_best(whole, rng=arguments.seed, progress=steps)
    if architectures is not None:
        from sparsefit.width_depth import fit_width_depth

        extras["width_depth"] = fit_width_depth(
            **architectures.arguments(),
            replicates="keep" if arguments.keep_replicates else "error",
            rng=arguments.seed,
        )
    return extras


def _not_forecast(extras: dict[str, Any], shown: list[str]) -> dict[str, str]:
    """Runs of the page that have no stacked forecast, and why."""
    from sparsefit.backtesting.stacked import left_out_of

    best = extras.get("best")
    return left_out_of(best, [run for run in best.runs if run in shown]) if best else {}


@contextmanager
def _asked_by(option: str) -> Iterator[None]:
    """Say which section the runs are too short for, and that the page can do without it."""
    try:
        yield
    except (FitError, NothingToForecastError) as error:
        raise ArgumentError(
            f"{option}: {str(error).rstrip('.')}. Leave {option} out for a page without the section"
        ) from None


def _width(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text
