"""``sparsefit demo``: forecast a shipped run from its first checkpoints, and compare."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from sparsefit.cli import describe, fitting, selection, values
from sparsefit.cli.methods import FitOptions
from sparsefit.cli.outputs import check_figure
from sparsefit.cli.printing import print_json
from sparsefit.counts import count_text
from sparsefit.errors import ArgumentError
from sparsefit.records import records

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.results.fit import Fit

# Runs drawn and printed unless --run names others: what a reader takes in at one look.
_RUNS = 4
_LINES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--data",
        metavar="NAME",
        default="reference_scales",
        help="shipped measurement table to use (default: %(default)s)",
    )
    parser.add_argument(
        "--run", action="append", metavar="NAME", help="run to forecast (repeatable; default: four)"
    )
    parser.add_argument(
        "--share",
        type=values.fraction,
        default=0.5,
        help="share of each run's checkpoints that the fit sees (default: 0.5)",
    )
    parser.add_argument(
        "--level", type=values.level, default=0.9, help="level of the intervals (default: 0.9)"
    )
    parser.add_argument("--seed", type=values.seed, default=0, help="seed (default: 0)")
    parser.add_argument(
        "--out",
        metavar="FIGURE",
        default="sparsefit_demo.png",
        help="where to write the figure (default: %(default)s)",
    )
    parser.add_argument(
        "--train",
        action="store_true",
        help='train and measure a tiny run first, about a minute (extra "collect")',
    )
    parser.add_argument(
        "--train-folder",
        metavar="FOLDER",
        default="sparsefit_demo_run",
        help="folder for --train, which continues what is there (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Forecast, compare, draw; 3 where some runs cannot be fitted."""
    check_figure("--out", arguments.out)
    table, source = _train(arguments) if arguments.train else _shipped(arguments.data)
    if not arguments.json:
        print(source)
    table = _chosen(table, arguments.run)
    seen = _first_part(table, arguments.share)
    outcome = fitting.fit_table(seen, FitOptions(seed=arguments.seed))
    compared = {run: _compare(fit, table, arguments.level) for run, fit in outcome.fits.items()}
    from sparsefit.cli.figure import write_panels

    until = {run: float(later["tokens"].max()) for run, later in compared.items()}
    write_panels(outcome.fits, arguments.out, until=until, level=arguments.level, held_out=table)
    if arguments.json:
        print_json(
            {
                "source": source,
                "share_seen": arguments.share,
                "level": arguments.level,
                "figure": arguments.out,
                "runs": [
                    {
                        **describe.run_document(fit, arguments.level),
                        "later": compared[run],
                        "score": _score(compared[run]),
                    }
                    for run, fit in outcome.fits.items()
                ],
                "failed": outcome.failed,
            }
        )
    else:
        for run, fit in outcome.fits.items():
            print(f"\n{_text(fit, compared[run], arguments.level)}")
        print(f"\nFigure: {arguments.out}")
        print("Your own runs: sparsefit forecast FILE... --at 2T --target-sparsity 0.93")
    for message in outcome.failed.values():
        print(f"not fitted: {message}", file=sys.stderr)
    return outcome.status


def _shipped(name: str) -> tuple[pd.DataFrame, str]:
    """Load a shipped table and say in one line what it is."""
    from sparsefit import datasets

    table = datasets.load(name)
    if "activation_ratio" not in table or "tokens" not in table:
        raise ArgumentError(f"--data {name}: this data set is not a measurement table")
    if table.attrs["card"]["kind"] == "reconstruction":
        return table, (
            f"No measured data: {name} holds curves rebuilt from the coefficients that the paper "
            "prints, without noise."
        )
    return table, f"Measured data: {name}, {table.attrs['card']['title']}"


def _train(arguments: argparse.Namespace) -> tuple[pd.DataFrame, str]:
    from sparsefit.collectors.trainer import demo_chain
    from sparsefit.table import read_table

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    path = demo_chain(arguments.train_folder, seed=arguments.seed, progress=say)
    return read_table(path), f"Measured data: {path}, trained and measured on this machine."


def _chosen(table: pd.DataFrame, runs: list[str] | None) -> pd.DataFrame:
    """Rows of the runs asked for; else of those with the most checkpoints to compare with."""
    if runs is None:
        # Ties stay in the order of the table.
        known = table.groupby("run", sort=False).size()
        runs = [str(run) for run in known.sort_values(ascending=False, kind="stable").index[:_RUNS]]
    return selection.select(table, runs).reset_index(drop=True)


def _first_part(table: pd.DataFrame, share: float) -> pd.DataFrame:
    """First rows of each run, in the order of tokens."""
    order = table.groupby("run")["tokens"].rank(method="first")
    count = table.groupby("run")["tokens"].transform("size")
    return table[order <= (share * count).round()]


def _compare(fit: Fit, table: pd.DataFrame, level: float) -> pd.DataFrame:
    """Put the forecast beside each later measurement."""
    later = table[(table["run"] == fit.run) & (table["tokens"] > fit.tokens[-1])]
    later = later[later["activation_ratio"].notna()].sort_values("tokens")
    if later.empty:
        raise ArgumentError(f"run {fit.run!r} has no later checkpoints: give a smaller --share")
    forecast = fit.forecast(later["tokens"].to_numpy(dtype=float), level)
    measured = later["activation_ratio"].to_numpy(dtype=float)
    return forecast.assign(
        measured=measured,
        inside=(measured >= forecast["obs_lower"]) & (measured <= forecast["obs_upper"]),
    )


def _score(compared: pd.DataFrame) -> dict[str, Any]:
    error = (compared["median"] - compared["measured"]).abs()
    return {
        "later_points": len(compared),
        "inside_band": int(compared["inside"].sum()),
        "mean_absolute_error_percentage_points": float(100 * error.mean()),
    }


def _text(fit: Fit, compared: pd.DataFrame, level: float) -> str:
    score = _score(compared)
    percent = f"{100 * level:g}%"
    lines = [
        describe.head_line(fit),
        f"  {describe.limit_sentence(fit.limit(level))}",
        f"  {score['inside_band']} of {score['later_points']} later measurements, none of them "
        f"used, lie in the {percent} band; the forecast is off by "
        f"{score['mean_absolute_error_percentage_points']:.3f} percentage points on average.",
        f"    {'tokens':>8}  {'forecast':>8}  {'measurement, ' + percent:<16}  measured",
    ]
    step = max(1, round(len(compared) / _LINES))
    shown = compared.iloc[::-1].iloc[::step].iloc[:_LINES].iloc[::-1]
    for row in records(shown):
        band = f"{row.obs_lower:.4f} to {row.obs_upper:.4f}"
        outside = "" if row.inside else "  outside"
        lines.append(
            f"    {count_text(row.tokens):>8}  {row.median:>8.4f}  {band:<16}  "
            f"{row.measured:.4f}{outside}"
        )
    return "\n".join([*lines, *describe.note_lines(fit)])
