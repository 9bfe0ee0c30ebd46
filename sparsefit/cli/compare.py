"""``sparsefit compare``: compare laws and fits by evidence and by what they would have forecast."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from sparsefit.by_run import each_run
from sparsefit.cli import selection, values
from sparsefit.cli.outputs import check_figure
from sparsefit.cli.printing import print_json, show
from sparsefit.cli.progress import counter
from sparsefit.errors import ArgumentError, FitError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="measurement tables")
    selection.add_run(parser, "compare fits of this run only")
    parser.add_argument(
        "--laws",
        nargs="+",
        default=["logspace_power", "vanilla_power"],
        metavar="LAW",
        help="laws to fit to every run (default: logspace_power vanilla_power)",
    )
    parser.add_argument(
        "--warmup",
        nargs="+",
        type=_rule,
        default=["auto"],
        metavar="RULE",
        help="warm-up rules to try: auto, none, a number of points or of tokens (default: auto)",
    )
    parser.add_argument(
        "--cuts",
        nargs="+",
        type=float,
        default=[0.5, 0.7, 0.85],
        metavar="SHARE",
        help="shares at which runs are cut for leave-future-out (default: .5 .7 .85)",
    )
    parser.add_argument("--no-future", action="store_true", help="skip leave-future-out")
    parser.add_argument("--seed", type=values.seed, default=0, help="seed (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes (default: 1)")
    parser.add_argument("--out", metavar="FIGURE", help="write a figure (.png, .pdf, .svg)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from sparsefit.backtesting import compare
    from sparsefit.table import read_table

    if len(arguments.laws) * len(arguments.warmup) < 2:
        raise ArgumentError("--laws, --warmup: together they name one fit; a comparison needs two.")
    check_figure("--out", arguments.out)
    # A short run is judged against its own law, and does not stop the others.
    table = selection.select(read_table(arguments.files, min_points=0), arguments.run)
    fits, failed = _fits(table, arguments)
    result = compare(
        fits,
        cuts=None if arguments.no_future else arguments.cuts,
        rng=arguments.seed,
        jobs=arguments.jobs,
        progress=counter("refitting truncated runs", jobs=arguments.jobs),
    )
    if arguments.out:
        from sparsefit.cli.figure import write_plot
        from sparsefit.plots import comparison

        write_plot(comparison, result, arguments.out, (7.0, 4.0))
    if arguments.json:
        print_json({**result.to_dict(), "failed": failed})
    else:
        show(result.summary())
        if arguments.out:
            print(f"\nfigure: {arguments.out}")
    for message in failed.values():
        print(f"not fitted: {message}", file=sys.stderr)
    return 3 if failed else 0


def _fits(
    table: pd.DataFrame, arguments: argparse.Namespace
) -> tuple[dict[str, Fit | Fits], dict[str, str]]:
    rules: dict[str, tuple[str, str | float | None]] = {}
    for law in arguments.laws:
        for rule in arguments.warmup:
            name = law if len(arguments.warmup) == 1 else f"{law}, warm-up {rule}"
            if name in rules:
                raise ArgumentError(f"--laws, --warmup: {name!r} is given twice.")
            rules[name] = (law, values.warmup_rule(rule))
    return fit_ways(table, rules, arguments.seed)


def fit_ways(
    table: pd.DataFrame, rules: dict[str, tuple[str, str | float | None]], seed: int
) -> tuple[dict[str, Fit | Fits], dict[str, str]]:
    """Each way to fit (law, warm-up), on the runs that all can fit; why others were left out."""
    from sparsefit.fitting import fit
    from sparsefit.results.fits import Fits

    parts = {str(run): part for run, part in table.groupby("run", sort=False)}

    def each_way(run: str) -> dict[str, Any]:
        return {
            name: fit(parts[run], law=law, warmup=rule, rng=seed)
            for name, (law, rule) in rules.items()
        }

    found, failed = each_run(parts, each_way)
    if not found:
        raise FitError("; ".join(failed.values()))
    ways = {name: {run: fits[name] for run, fits in found.items()} for name in rules}
    single = len(found) == 1
    return {
        name: next(iter(fits.values())) if single else Fits(fits) for name, fits in ways.items()
    }, failed


def _rule(text: str) -> str:
    """Check a rule and keep its text, which names the fit."""
    values.warmup_rule(text)
    return text.lower() if text.lower() in ("auto", "none") else text
