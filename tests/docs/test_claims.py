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
OURS, AUTHORS = "### On our own runs\n", "### On the authors' series\n"


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
    [((0, 1), OURS), ((2, 3), AUTHORS)],
)
def test_the_readme_compares_methods_as_the_backtest_page_does(columns, heading) -> None:
    claimed = rows(after("README.md", "## Why not `curve_fit`\n"))
    table = rows(after("docs/backtest.md", heading))
    place = {name: at for at, name in enumerate(table["method"])}
    for label, method in METHODS.items():
        line = table[f"`{method}`"]
        expected = [line[place["MAE"]], line[place["cover 90%"]].split()[0]]
        assert [claimed[label][column] for column in columns] == expected


def shown(method: str, column: str, heading: str = OURS) -> str:
    table = rows(after("docs/backtest.md", heading))
    return table[f"`{method}`"][table["method"].index(column)]


def test_the_readme_tells_the_coverage_of_single_fits() -> None:
    limits = after("README.md", "## Limits of what it can tell\n")
    for method in ("fit", "best"):
        assert shown(method, "cover 90%") in limits


def test_the_limits_of_validity_tell_the_coverage_of_the_backtest_page() -> None:
    claimed = " ".join(after("docs/validity.md", "**Coverage on real curves").split())
    assert f"`sf.fit` cover {shown('fit', 'cover 90%')} of the later points" in claimed
    assert f"authors they cover {shown('fit', 'cover 90%', AUTHORS)}." in claimed
    ours, theirs = (shown("best", "cover 90%", at).split()[0] for at in (OURS, AUTHORS))
    assert f"cover {ours} and {theirs} (" in claimed


def test_the_page_on_calibration_tells_the_coverage_of_the_backtest_page() -> None:
    claimed = " ".join(
        after("docs/calibration.md", "**The weight of strong correlation.**").split()
    )
    theirs, ours = (shown("fit", "cover 90%", at).split()[0] for at in (AUTHORS, OURS))
    assert f"bands of `sf.fit` cover {theirs} and {ours} of later points" in claimed


def test_the_page_on_bayesian_fits_tells_what_pooling_gains_on_the_backtest_page() -> None:
    claimed = " ".join(after("docs/bayes.md", "## Pooling across scales\n").split())
    pooled, alone = (
        (f"{float(shown(method, 'MAE')):.2f}".lstrip("0"), shown(method, "cover 90%").split()[0])
        for method in ("fit_bayes_pooled", "fit_bayes")
    )
    assert f"mean error {pooled[0]} against {alone[0]} percentage points" in claimed
    assert f"intervals cover {pooled[1]} against {alone[1]}" in claimed
