"""What a command prints: text whose tables fit the terminal, or one JSON document."""

from __future__ import annotations

import json
import re
import shutil
import sys
from typing import Any

from sparsefit.strict_json import plain

_RULE = re.compile(r"-+(?:  +-+)+")


def show(text: str) -> None:
    """Print a text; on a terminal, tables that are too wide for it are folded."""
    print(fold(text, shutil.get_terminal_size().columns) if sys.stdout.isatty() else text)


def print_json(document: Any) -> None:
    """Print one strict JSON document."""
    print(json.dumps(plain(document), indent=2, allow_nan=False))


def fold(text: str, width: int) -> str:
    """Break tables wider than `width` into parts below one another.

    A table is a heading, a rule of dashes with two blanks between columns, and lines up to an empty
    one. The columns that tell the rows apart, one or two, are repeated in every part.
    """
    folded: list[str] = []
    for block in text.split("\n\n"):
        lines = block.split("\n")
        at = next((i for i, line in enumerate(lines) if _RULE.fullmatch(line)), 0)
        if at < 1 or max(map(len, lines[at:])) <= width:
            folded.append(block)
            continue
        table = _folded_table(lines[at - 1 :], lines[at], width)
        folded.append("\n".join([*lines[: at - 1], table]))
    return "\n\n".join(folded)


def _folded_table(lines: list[str], rule: str, width: int) -> str:
    spans = [match.span() for match in re.finditer(r"-+", rule)]
    cells = [[line[start:end].ljust(end - start) for start, end in spans] for line in lines]
    names = [row[0] for row in cells[2:]]
    keys = 1 if len(set(names)) == len(names) else min(2, len(spans))
    parts: list[list[int]] = [[]]
    for column in range(keys, len(spans)):
        shown = [*range(keys), *parts[-1], column]
        if parts[-1] and sum(spans[i][1] - spans[i][0] + 2 for i in shown) - 2 > width:
            parts.append([])
        parts[-1].append(column)
    return "\n\n".join(
        "\n".join("  ".join(row[i] for i in [*range(keys), *part]).rstrip() for row in cells)
        for part in parts
    )
