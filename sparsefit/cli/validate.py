"""``sparsefit validate``: check measurement tables and list every fault."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from sparsefit.cli.printing import print_json
from sparsefit.counts import count_text
from sparsefit.errors import ArgumentError, TableError

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="CSV, Parquet or the authors' JSON; a path, URL, folder or glob pattern",
    )
    parser.add_argument("--run", help="name of the run, for one file without a column 'run'")
    parser.add_argument(
        "--response",
        choices=("activation_ratio", "loss"),
        default="activation_ratio",
        help="required column (default: %(default)s)",
    )
    parser.add_argument(
        "--min-points",
        type=int,
        metavar="N",
        help="usable checkpoints that each run needs (default: 5, the least for any law; a note "
        "names runs with too few for their own law)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Check the files; 0 where they are sound, 1 where they have faults."""
    from sparsefit.table import read_table

    if arguments.min_points is not None and arguments.min_points < 0:
        raise ArgumentError(
            f"--min-points {arguments.min_points}: give a number that is not negative"
        )
    try:
        table = read_table(
            arguments.files if len(arguments.files) > 1 else arguments.files[0],
            run=arguments.run,
            response=arguments.response,
            min_points=arguments.min_points,
        )
    except TableError as error:
        if not arguments.json:
            raise
        print_json(_faults(error))
        return 1
    rows = _summary(table, arguments.response)
    notes = table.attrs["notes"]
    if arguments.json:
        print_json({"valid": True, "runs": rows, "notes": notes, "faults": []})
        return 0
    print(f"{len(table)} rows, {len(rows)} run{'' if len(rows) == 1 else 's'}: no faults")
    width = max(len(row["run"]) for row in rows)
    for row in rows:
        failed = f", {row['failed']} failed" if row["failed"] else ""
        print(
            f"  {row['run']:<{width}}  {row['usable']} usable points{failed}, "
            f"{count_text(row['first_tokens'])} to {count_text(row['last_tokens'])} tokens"
        )
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return 0


def _faults(error: TableError) -> dict[str, Any]:
    keys = ("file", "line", "row", "column", "problem", "remedy")
    return {
        "valid": False,
        "source": error.source,
        "faults": [{key: getattr(fault, key) for key in keys} for fault in error.faults],
    }


def _summary(table: pd.DataFrame, response: str) -> list[dict[str, Any]]:
    from sparsefit.table import usable_rows

    usable = usable_rows(table, response)
    rows = []
    for name, part in table.groupby("run", sort=False):
        failed = int((part["status"] == "failed").sum()) if "status" in part else 0
        rows.append(
            {
                "run": str(name),
                "rows": len(part),
                "usable": int(usable[part.index].sum()),
                "failed": failed,
                "first_tokens": float(part["tokens"].min()),
                "last_tokens": float(part["tokens"].max()),
            }
        )
    return rows
