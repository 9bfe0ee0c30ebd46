"""What to do about a required column that is not there, judged by those that are."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from sparsefit.table.coerce import as_floats
from sparsefit.table.schema import COLUMNS, MISTAKEN_NAMES

if TYPE_CHECKING:
    import pandas as pd

# Trackers put a prefix before a name ("eval/sparsity", "my run - sparsity_mean"), and one of them
# two columns of extremes beside each of a chart's lines.
_NO_EXTREME = r"(?!.*__(?:min|max)$)"
_SPARSITY = re.compile(rf"(?<![a-z])sparsity(?![a-z]){_NO_EXTREME}")
_ACTIVE = re.compile(rf"(?<![a-z])activ(?:e|ation|ity)(?![a-z]){_NO_EXTREME}")
_TOKENS = re.compile(rf"(?<![a-z])tokens?(?![a-z])(?!.*(?:_|\b)per(?:_|\b)){_NO_EXTREME}")


def missing_remedy(name: str, present: list[str], table: pd.DataFrame) -> str:
    """Say where a missing column may be found.

    Parameters
    ----------
    name : str
        Required column.
    present : list of str
        Columns of the table.
    table : pandas.DataFrame
        The table.
    """
    if name in table.index.names:
        return f"{name!r} is in the index: call reset_index() first"
    sparsity = [column for column in present if _SPARSITY.search(column.lower())]
    if name == "activation_ratio":
        if len(sparsity) == 1:
            name = sparsity[0] if sparsity[0].isidentifier() else repr(sparsity[0])
            return f"Add it as 1 - {name}{_in_percent(table, sparsity)}, as a fraction"
        if "loss" in present:
            return "Add it, or pass response='loss' to work on the training loss alone"
    synonyms = [
        column
        for column in present
        # A column 'activation' of names is what it is called.
        if MISTAKEN_NAMES.get(column) == name and (column not in COLUMNS or _numeric(table[column]))
    ]
    # Trackers count and time rows in columns of their own, _step and _runtime.
    unknown = [c for c in present if c not in COLUMNS and not c.startswith("_")]
    close = synonyms or get_close_matches(name, unknown, n=1, cutoff=0.6)
    if not close:
        folded = {column.strip().lower(): column for column in unknown}
        close = [folded[name]] if name in folded else []
    if not close and name == "tokens":
        counts = [column for column in unknown if _TOKENS.search(column.lower())]
        close = counts if len(counts) == 1 else []
    if not close and name == "activation_ratio":
        shares = [c for c in unknown if _ACTIVE.search(c.lower()) and _numeric(table[c])]
        close = shares if len(shares) == 1 else []
    if close:
        percent = _in_percent(table, close) if name == "activation_ratio" else ""
        scaled = " and divide it by 100" if percent else ""
        return f"If {close[0]!r} holds it, rename that column to {name!r}{scaled}"
    if name == "activation_ratio" and len(unknown) > 1:
        shown = ", ".join((sparsity or unknown)[:3])
        minus = f" as 1 - sparsity{_in_percent(table, sparsity)}" if sparsity else ""
        return (
            f"Add it{minus}; where each run has a column of its own ({shown}), put the runs below "
            "one another, with their names in the column 'run' (pandas: melt)"
        )
    if name == "run":
        if len(sparsity) > 1:
            return "Add it; where each run has a column of its own, its name is in that column's"
        return (
            "Add it; the run of a file that holds one can be named instead: --run NAME on the "
            "command line, in Python read_table(path, run='name') or table.assign(run='name')"
        )
    steps = next((c for c in present if c.lower() in ("step", "_step", "global_step")), None)
    if name == "tokens" and steps:
        return (
            f"Add it: if {steps!r} counts optimiser steps, tokens are {steps} times the tokens of "
            "a batch (sequences times sequence length)"
        )
    return "Add it"


def _in_percent(table: pd.DataFrame, columns: list[str]) -> str:
    """A division where any number goes beyond what fractions can be."""
    return " / 100" if any((as_floats(table[name]) > 1.0).any() for name in columns) else ""


def _numeric(column: pd.Series) -> bool:
    return bool(as_floats(column).notna().any())
