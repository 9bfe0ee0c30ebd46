"""``--run``: which runs of the files a command is about."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd


def add_run(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare the option, under both of its names; `what` says what is done with these runs."""
    parser.add_argument("--run", action="append", metavar="NAME", help=f"{what} (repeatable)")
    parser.add_argument(
        "--runs",
        dest="run",
        action="extend",
        nargs="+",
        metavar="NAME",
        help="the same as --run, with several names",
    )


def check_runs(table: pd.DataFrame, runs: Sequence[str]) -> None:
    """Refuse names that are no run of the table."""
    known = list(dict.fromkeys(table["run"]))
    unknown = [run for run in runs if run not in known]
    if unknown:
        raise ArgumentError(f"--run {unknown[0]}: no such run; runs: {', '.join(map(str, known))}")


def select(table: pd.DataFrame, runs: Sequence[str] | None) -> pd.DataFrame:
    """Rows of the runs asked for; all where none is."""
    if not runs:
        return table
    check_runs(table, runs)
    return table[table["run"].isin(runs)]
