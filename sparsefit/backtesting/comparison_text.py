"""What a comparison shows, in a sentence and a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sparsefit.backtesting.text import number

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting.result import Backtest


UNITS = (
    "Higher is better for log_evidence and loo (nats), lower for aicc, bic, future_mae and "
    "future_crps (percentage points)."
)
"""What the columns of `shown` are in, and which way is better."""


def sentence(table: pd.DataFrame, future: Backtest | None) -> str:
    """Which fit forecasts best and which the evidence favours, run by run where they differ."""
    parts = []
    if future is not None and table["future_crps"].notna().any():
        winners = _winners(table, "future_crps", higher=False)
        words = _in_words({f"{name!r} forecasts best": runs for name, runs in winners.items()})
        parts.append(f"Fitted to the first part and scored on the rest, {words} (CRPS).")
        if len(winners) == 1:
            parts.append(_shown_or_not(future, next(iter(winners))))
    if table["log_evidence"].notna().any():
        winners = _winners(table, "log_evidence", higher=True)
        words = _in_words({repr(name): runs for name, runs in winners.items()})
        parts.append(f"The evidence favours {words}{_margin(table)}.")
    return " ".join(part for part in parts if part) or "No criterion compares these fits."


def _winners(table: pd.DataFrame, criterion: str, higher: bool) -> dict[str, list[str]]:
    """Runs by the fit that is best on them."""
    found: dict[str, list[str]] = {}
    for run, rows in table.dropna(subset=[criterion]).groupby("run", sort=False):
        ranked = rows.sort_values(criterion, ascending=not higher, kind="stable")
        found.setdefault(str(ranked["fit"].iloc[0]), []).append(str(run))
    return found


def _in_words(said: Mapping[str, Sequence[str]]) -> str:
    """What is said of which runs."""
    total = sum(len(runs) for runs in said.values())
    if len(said) == 1:
        return next(iter(said)) + (f" on all {total} runs" if total > 1 else "")
    return " and ".join(f"{words} on {_listed(runs)}" for words, runs in said.items())


def _listed(runs: Sequence[str]) -> str:
    return ", ".join(runs) if len(runs) <= 4 else f"{len(runs)} runs"


def _margin(table: pd.DataFrame) -> str:
    gaps = []
    for _, rows in table.dropna(subset=["log_evidence"]).groupby("run"):
        values = np.sort(rows["log_evidence"].to_numpy())
        if len(values) > 1:
            gaps.append(float(values[-1] - values[-2]))
    if not gaps:
        return ""
    if len(gaps) == 1:
        return f", by {gaps[0]:.1f} nats"
    return f", by {min(gaps):.1f} to {max(gaps):.1f} nats"


def _shown_or_not(future: Backtest, name: str) -> str:
    if len(future.methods) < 2:
        return ""
    gaps = future.differences(name, "crps").set_index("method")["verdict"]
    shown = [str(other) for other in gaps.index if gaps[other] == "worse"]
    if shown:
        return f"It is shown to be better than {', '.join(map(repr, shown))}."
    runs = future.cells["run"].nunique()
    return f"{runs} run{'s' * (runs != 1)} cannot show that it is better on others."


def shown(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and cells of the table as text."""
    # What the sentence goes by comes first: on a screen the right end of so wide a table is hidden.
    digits = {
        "future_mae": 3, "future_crps": 3, "future_covered90": 2, "stacking": 2, "log_evidence": 1,
        "evidence_weight": 2, "loo": 1, "loo_se": 1, "loo_max_k": 2, "aicc": 1, "aicc_weight": 2,
        "bic": 1,
    }  # fmt: skip
    header = ["run", "fit", "n_warmup", *digits]
    rows = [
        [
            str(row["run"]),
            str(row["fit"]),
            str(row["n_warmup"]),
            *(number(row[name], places) for name, places in digits.items()),
        ]
        for _, row in table.iterrows()
    ]
    return header, rows
