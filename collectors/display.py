"""How the collectors' results show themselves: one line, a text, an HTML table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.collectors.activity import Activity
    from sparsefit.collectors.result import RunMeasurement

_COLUMNS = ("tokens", "activation_ratio", "se", "se_shared", "cett", "ppl_ratio", "status")


def number_of(number: int, noun: str) -> str:
    """Return a number with its noun: "1 layer", "12,288 tokens"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def run_line(result: RunMeasurement) -> str:
    """Return a measured run in one line."""
    runs = ", ".join(map(str, result.table["run"].drop_duplicates()))
    done = result.table[result.table["status"] == "ok"]
    line = f"RunMeasurement({runs}: {number_of(len(result.table), 'checkpoint')}"
    if result.failed:
        line += f", {result.failed} failed"
    if len(done):
        last = done.iloc[int(done["tokens"].to_numpy().argmax())]
        line += (
            f"; activation ratio {last['activation_ratio']:.4g} at {int(last['tokens']):,} tokens"
        )
    return f"{line})"


def run_notes(result: RunMeasurement) -> list[str]:
    """Return what a run's table does not show: how each CETT was found, and why rows failed."""
    notes = [
        f"CETT {found['cett']:.6g} ({found['status']}, "
        f"{number_of(len(found['evaluations']), 'evaluation')}) solved on {name}: "
        + ", ".join(found["checkpoints"])
        + (f": {found['message']}" if found["message"] else "")
        for name, found in result.solutions.items()
    ]
    failed = result.table[result.table["status"] == "failed"]
    for tokens, message in zip(failed["tokens"], failed["message"], strict=True):
        notes.append(f"failed at {int(tokens):,} tokens: {message}")
    return notes


def run_summary(result: RunMeasurement) -> str:
    """Return a run's rows and notes as text."""
    shown = result.table[[name for name in _COLUMNS if name in result.table]]
    return "\n".join([shown.to_string(index=False, na_rep="-"), *run_notes(result)])


def run_html(result: RunMeasurement) -> str:
    """Return a run's rows and notes as HTML."""
    table = html_table(result.table, run_line(result), _COLUMNS)
    return table + "".join(f"<p>{escape(note)}</p>" for note in run_notes(result))


def activity_line(activity: Activity) -> str:
    """Return an activity measurement in one line."""
    frequency = activity.neurons.groupby("text", sort=False)["frequency"].mean()
    texts = ", ".join(f"{name} {value:.4g}" for name, value in frequency.items())
    layers = activity.neurons["layer"].nunique()
    return f"Activity({number_of(layers, 'layer')}; mean frequency by text: {texts})"


def html_table(table: pd.DataFrame, caption: str, columns: Sequence[str] | None = None) -> str:
    """Return a data frame as an HTML table with a caption; absent columns are left out."""
    names = [name for name in columns or table.columns if name in table]
    head = "".join(f'<th scope="col">{escape(str(name))}</th>' for name in names)
    rows = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>"
        for row in table[names].itertuples(index=False)
    )
    return (
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table>"
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return escape(str(value))
