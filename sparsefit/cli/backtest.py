"""``sparsefit backtest``: score forecasting methods on held-out checkpoints."""

from __future__ import annotations

import argparse

from sparsefit.cli import selection, values
from sparsefit.cli.outputs import check_figure
from sparsefit.cli.printing import print_json, show
from sparsefit.cli.progress import counter
from sparsefit.errors import ArgumentError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="measurement tables")
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help="methods to score (default: all of --list-methods)",
    )
    parser.add_argument("--list-methods", action="store_true", help="list the methods and stop")
    parser.add_argument(
        "--cuts",
        nargs="+",
        type=float,
        default=[0.3, 0.5, 0.7],
        metavar="SHARE",
        help="shares of each run's checkpoints that a method sees (default: .3 .5 .7)",
    )
    selection.add_run(
        parser, "forecast this run only; the others are still shown to pooled methods"
    )
    parser.add_argument(
        "--leave-one-run-out",
        action="store_true",
        help="forecast each run from the others alone (pooled methods only)",
    )
    parser.add_argument(
        "--others",
        choices=("smaller", "all"),
        default="smaller",
        help="other runs that pooled methods see: those with fewer parameters, or all (default: "
        "smaller)",
    )
    parser.add_argument("--seed", type=values.seed, default=0, help="seed (default: 0)")
    parser.add_argument("--jobs", type=int, default=1, help="number of processes (default: 1)")
    parser.add_argument(
        "--out", metavar="FIGURE", help="write a figure of the error against the horizon"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    if arguments.list_methods:
        return _list_methods(as_json=arguments.json)
    if not arguments.files:
        raise ArgumentError("FILE: give at least one measurement table, or --list-methods.")
    check_figure("--out", arguments.out)

    from sparsefit.backtesting import backtest
    from sparsefit.table import read_table

    result = backtest(
        # A run that is too short is skipped, and said to be.
        read_table(arguments.files, min_points=0),
        arguments.methods,
        arguments.cuts,
        runs=arguments.run,
        scheme="leave-one-run-out" if arguments.leave_one_run_out else "rolling",
        others=arguments.others,
        rng=arguments.seed,
        jobs=arguments.jobs,
        progress=counter("forecasts", jobs=arguments.jobs),
    )
    if arguments.out:
        from sparsefit.cli.figure import write_plot
        from sparsefit.plots import error_by_horizon

        write_plot(error_by_horizon, result, arguments.out, (7.0, 4.0))
    if arguments.json:
        print_json(result.to_dict())
    else:
        show(result.summary())
        if arguments.out:
            print(f"\nfigure: {arguments.out}")
    return 3 if (result.cells["status"] != "ok").any() else 0


def _list_methods(as_json: bool) -> int:
    from sparsefit.backtesting.registry import METHODS

    if as_json:
        shown = ("name", "description", "pooled")
        print_json([{key: getattr(method, key) for key in shown} for method in METHODS.values()])
        return 0
    for method in METHODS.values():
        pooled = " [pooled]" if method.pooled else ""
        print(f"{method.name:<18} {method.description}{pooled}")
    return 0
