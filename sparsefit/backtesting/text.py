"""Text and HTML of backtesting results."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sparsefit.backtesting.registry import METHODS
from sparsefit.records import records
from sparsefit.strict_json import plain

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting.result import Backtest

# From a flat sum of squares, textbook intervals become endless.
_HUGE = 1e6


def number(value: Any, digits: int = 3) -> str:
    """Fixed-point number, or a dash where there is none; a huge one in three digits."""
    value = plain(value)
    if value is None:
        return "-"
    return f"{value:.{digits}f}" if abs(value) < _HUGE else f"{value:.2e}"


def with_range(row: Any, name: str, digits: int = 2) -> str:
    """A mean with its interval: ``.91 [.83, .97]``."""
    middle = number(row[name], digits)
    lower, upper = (plain(row[f"{name}_{end}"]) for end in ("lower", "upper"))
    if lower is None or upper is None:
        return middle
    return f"{middle} [{lower:.{digits}f}, {upper:.{digits}f}]"


def align(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns padded to equal width: the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def first_failures(cells: pd.DataFrame) -> str:
    """Where and why each method failed first; nothing where none did."""
    failed = cells[cells["status"] == "failed"].drop_duplicates("method")
    return "; ".join(
        f"{row.method} on {row.run} at {row.cut:g}: {str(row.message).rstrip('.')}"
        for row in records(failed)
    )


def _overall(result: Backtest) -> tuple[list[str], list[list[str]]]:
    table = result.table().sort_values("crps", na_position="last")
    by_cut = result.table("cut").pivot(index="method", columns="cut", values="mae")
    # A cut at which every run is too short has no scores, and is shown without.
    by_cut = by_cut.reindex(columns=list(result.cuts))
    header = ["method", *(f"MAE {100 * cut:.0f}%" for cut in result.cuts), "MAE", "CRPS", "Winkler"]
    header += ["cover 50%", "cover 90%", "width 90%", "budget 90%", "fallback", "failed"]
    rows = []
    for _, row in table.iterrows():
        cells = [str(row["method"])]
        cells += [number(by_cut.loc[row["method"], cut]) for cut in result.cuts]
        cells += [number(row[name]) for name in ("mae", "crps", "winkler90")]
        cells += [with_range(row, name) for name in ("covered50", "covered90")]
        cells += [number(row["width90"], 2), with_range(row, "budget90")]
        cells += [str(row["fallbacks"]), str(row["failed"])]
        rows.append(cells)
    return header, rows


def _buckets(result: Backtest) -> tuple[list[str], list[list[str]]]:
    table = result.table("bucket")
    names = list(dict.fromkeys(table["bucket"]))
    header = ["method"]
    header += [f"{kind} {name}" for kind in ("MAE", "cover 90%") for name in names]
    rows = []
    for method in result.table().sort_values("crps")["method"]:
        own = table[table["method"] == method].set_index("bucket")
        cells = [str(method)]
        for kind in ("mae", "covered90"):
            for name in names:
                if name not in own.index:
                    cells.append("-")
                elif kind == "mae":
                    cells.append(number(own.loc[name, kind]))
                else:
                    cells.append(with_range(own.loc[name], kind))
        rows.append(cells)
    return header, rows


def _verdicts(result: Backtest) -> list[str]:
    if len(result.methods) < 2:
        return []
    table = result.differences(result.reference)
    lines = [
        f"MAE against {result.reference}, paired by cell (negative is better; "
        "90% cluster bootstrap over series):"
    ]
    rows = [
        [
            str(row["method"]),
            number(row["difference"]),
            f"[{number(row['lower'])}, {number(row['upper'])}]",
            number(row["p"], 2),
            f"{number(100 * row['cells_worse'], 0)}%",
            str(row["worst_cell"]) and f"{number(row['worst'])} ({row['worst_cell']})",
            str(row["verdict"]),
        ]
        for _, row in table.sort_values("difference").iterrows()
    ]
    header = ["method", "difference", "interval", "p", "cells >.05 worse", "worst cell", "verdict"]
    return [*lines, *align(header, rows)]


def _remarks(result: Backtest) -> list[str]:
    lines = []
    for _, row in result.cells[result.cells["status"] != "ok"].iterrows():
        lines.append(f"failed: {row['method']} on {row['run']} at {row['cut']:g}: {row['message']}")
    for _, row in result.cells[result.cells["fallback"].notna()].iterrows():
        lines.append(f"fallback: {row['run']} at {row['cut']:g}: {row['fallback']}")
    for item in result.skipped:
        lines.append(f"skipped: {item.place}: {item.reason}")
    return lines


def backtest_text(result: Backtest) -> str:
    """Text report of a backtest."""
    runs = result.cells["run"].nunique()
    kind = (
        "each run forecast from the others alone"
        if result.scheme == "leave-one-run-out"
        else "fitted on the first part of each run, later checkpoints forecast"
    )
    lines = [
        f"Backtest: {runs} series, cuts {', '.join(f'{cut:g}' for cut in result.cuts)} ({kind})",
        "MAE, CRPS, Winkler and widths in percentage points of the activation ratio; mean within a",
        "series, then over series; [90% cluster-bootstrap interval over series].",
        "",
        *align(*_overall(result)),
        "",
        "By horizon D / D_cut:",
        *align(*_buckets(result)),
    ]
    verdicts = _verdicts(result)
    if verdicts:
        lines += ["", *verdicts]
    remarks = _remarks(result)
    if remarks:
        lines += ["", *remarks]
    return "\n".join(lines)


def html_table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """A plain HTML table with a caption and header scopes."""
    head = "".join(f'<th scope="col">{html.escape(cell)}</th>' for cell in header)
    body = "".join(
        f'<tr><th scope="row">{html.escape(row[0])}</th>'
        + "".join(f"<td>{html.escape(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows
    )
    return (
        f"<table><caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def backtest_html(result: Backtest) -> str:
    """HTML for notebooks."""
    header, rows = _overall(result)
    for row in rows:
        known = METHODS.get(row[0])
        if known is not None and known.description:
            row[0] = f"{row[0]} ({known.description})"
    caption = (
        f"{result!r}: scores in percentage points, mean within a series, then over series; "
        "brackets: 90% cluster bootstrap over series"
    )
    return html_table(header, rows, caption)
