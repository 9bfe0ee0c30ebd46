"""The parts of the reference that come from the code: columns of the table, options of commands.

``python docs/reference_pages.py`` renews docs/table.md and writes docs/_generated/cli.md.
"""

from __future__ import annotations

import os
from pathlib import Path

import sparsefit
from sparsefit.cli import COMMANDS, build_parser
from sparsefit.table.schema import COLUMNS, REQUIRED, Column

DOCS = Path(__file__).parent
BEGIN, END = "<!-- columns: python docs/reference_pages.py -->", "<!-- end of columns -->"


def allowed(column: Column) -> str:
    """What a column may hold, in words."""
    if column.choices:
        return ", ".join(f"`{choice}`" for choice in column.choices)
    if column.kind == "text":
        return "text"
    low = "" if column.lower is None else f"{'>' if column.open_lower else '≥'} {column.lower:g}"
    high = "" if column.upper is None or column.upper > 1e14 else f"≤ {column.upper:g}"
    ends = ", ".join(part for part in (low, high) if part)
    kind = "whole number" if column.kind == "whole" else column.kind
    return f"{kind} {ends}".strip()


def columns_table() -> str:
    """The known columns as a Markdown table."""
    rows = ["| column | meaning | values | per run |", "|---|---|---|---|"]
    needed = {*REQUIRED, "activation_ratio"}
    for name, column in COLUMNS.items():
        mark = " (required)" if name in needed else ""
        per_run = "yes" if column.constant else ""
        rows.append(f"| `{name}`{mark} | {column.meaning} | {allowed(column)} | {per_run} |")
    return "\n".join(rows)


def table_page(text: str) -> str:
    """The page with its columns renewed."""
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    return f"{head}{BEGIN}\n\n{columns_table()}\n\n{END}{tail}"


def cli_page() -> str:
    """The options of every command."""
    os.environ["COLUMNS"] = "96"
    parts = []
    for name, (_, meaning) in COMMANDS.items():
        (actions,) = [a for a in build_parser(only=name)._actions if a.dest == "command"]
        usage = actions.choices[name].format_help()  # type: ignore[index]
        parts.append(f"## sparsefit {name}\n\n{meaning[0].upper()}{meaning[1:]}.\n")
        parts.append(f"```text\n{usage.strip()}\n```\n")
    return "\n".join(parts)


def public_names() -> dict[str, str]:
    """Full name to the name after ``import sparsefit as sf``, of what needs no other import."""
    names = {}
    for name, module in sparsefit._EXPORTS.items():
        for full in (f"{module}.{name}", f"sparsefit.{name}"):
            names[full] = f"sf.{name}"
    for module in sparsefit._MODULES:
        public = getattr(sparsefit, module)
        for name in getattr(public, "__all__", dir(public)):
            # A class of results is at the top level too, under the shorter name.
            names.setdefault(f"sparsefit.{module}.{name}", f"sf.{module}.{name}")
    return names


def write_generated() -> None:
    """Write what the site includes."""
    folder = DOCS / "_generated"
    folder.mkdir(exist_ok=True)
    (folder / "cli.md").write_text(cli_page(), encoding="utf-8")


def main() -> None:
    page = DOCS / "table.md"
    page.write_text(table_page(page.read_text(encoding="utf-8")), encoding="utf-8")
    write_generated()


if __name__ == "__main__":
    main()
