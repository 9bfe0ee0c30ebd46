"""Figures that a page takes from another page are the ones that stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
METHODS = {
    "`sf.forecast_best`": "best",
    "`sf.fit`, each run alone": "fit",
    "damped exponential smoothing": "damped_smoothing",
    "Levenberg-Marquardt, 100 starts": "lm_multistart",
    "last value": "last_value",
}


def rows(text: str) -> dict[str, list[str]]:
    """Rows of the first Markdown table in a text, by first cell, header included."""
    (table,) = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)[:1]
    cells = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()]
    return {line[0]: line[1:] for line in cells}


def after(page: str, heading: str) -> str:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert heading in text, f"{page} has no heading {heading!r}"
    return text.split(heading, 1)[1]


@pytest.mark.parametrize(
    ("columns", "heading"),
    [((0, 1), "### On our own runs\n"), ((2, 3), "### On the authors' series\n")],
)
def test_the_readme_compares_methods_as_the_backtest_page_does(columns, heading) -> None:
    claimed = rows(after("README.md", "## Why not `curve_fit`\n"))
    shown = rows(after("docs/backtest.md", heading))
    place = {name: at for at, name in enumerate(shown["method"])}
    for label, method in METHODS.items():
        line = shown[f"`{method}`"]
        expected = [line[place["MAE"]], line[place["cover 90%"]].split()[0]]
        assert [claimed[label][column] for column in columns] == expected


def test_the_readme_tells_the_coverage_of_single_fits() -> None:
    shown = rows(after("docs/backtest.md", "### On our own runs\n"))
    place = shown["method"].index("cover 90%")
    limits = after("README.md", "## Limits of what it can tell\n")
    for method in ("fit", "best"):
        assert shown[f"`{method}`"][place] in limits
