"""``--before``: leave out the end of runs, where the learning rate decays or the data change."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparsefit.cli.values import token_count
from sparsefit.counts import count_text
from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd


# Runs named in a note.
_SHOWN = 3


@dataclass(frozen=True)
class Before:
    """Where the rows to use end.

    Attributes
    ----------
    text : str
        As it was given.
    tokens : float or None
        Raw token count, the same for all runs.
    share : float or None
        Share of the tokens of each run's last row.
    """

    text: str
    tokens: float | None = None
    share: float | None = None


def before(text: str) -> Before:
    """Parse a token count, or a share of each run in percent."""
    if text.strip().endswith("%"):
        try:
            percent = float(text.strip()[:-1])
        except ValueError:
            percent = 0.0
        if 0.0 < percent < 100.0:
            return Before(text, share=percent / 100.0)
    else:
        count = token_count(text)
        if count > 1.0:
            return Before(text, tokens=count)
    raise argparse.ArgumentTypeError(
        f"{text!r} is neither a token count (such as 350B) nor a share of each run (such as 90%)"
    )


def add_before(parser: argparse.ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument(
        "--before",
        type=before,
        metavar="TOKENS",
        help="use only checkpoints with fewer tokens, such as 350B, or than a share of each run's "
        "last, such as 90%% where the learning rate decays over the last 10%%",
    )


def split(
    table: pd.DataFrame, end: Before | None
) -> tuple[pd.DataFrame, pd.DataFrame | None, tuple[str, ...]]:
    """Rows to use, rows left out (None without the option), and what is said about these.

    Raises
    ------
    ArgumentError
        If no row is left.
    """
    if end is None:
        return table, None, ()
    last = table.groupby("run")["tokens"].transform("max")
    used = table["tokens"] < (end.tokens if end.share is None else end.share * last)
    if not used.any():
        first = count_text(float(table["tokens"].min()))
        raise ArgumentError(f"--before {end.text}: no checkpoint is left; the first is at {first}")
    told = []
    for run, rows in table[~used].groupby("run", sort=False):
        of = int((table["run"] == run).sum())
        first = count_text(float(rows["tokens"].min()))
        told.append(f"{len(rows)} of {of} checkpoints of {run} (from {first} tokens on)")
    more = [f"those of {len(told) - _SHOWN} more runs"] if len(told) > _SHOWN else []
    shown = ", ".join([*told[:_SHOWN], *more]) or "no checkpoint"
    return table[used], table[~used], (f"left out by --before {end.text}: {shown}",)
