"""Parts of pages that a script writes are what it writes now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


def printed_by(folder: Path, script: str, *words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / script), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip().splitlines()


def shown_between(page: str, begin: str, end: str) -> list[str]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return text.split(begin)[1].split(end)[0].strip().splitlines()


def test_the_coverage_table_is_that_of_its_file(tmp_path: Path) -> None:
    page = shown_between(
        "calibration.md", "<!-- table: scripts/simulate_coverage.py -->", "<!-- end of table -->"
    )
    figures = ROOT / "docs" / "simulations" / "coverage.json"
    assert page == printed_by(tmp_path, "simulate_coverage.py", "--read", str(figures))


@pytest.mark.long
def test_the_results_of_the_reference_runs_are_those_of_the_present_estimator(
    snippets: ModuleType, tmp_path: Path
) -> None:
    page = shown_between(
        "reference_runs.md",
        "<!-- results: scripts/reference_runs.py -->",
        "<!-- end of results -->",
    )
    found = printed_by(tmp_path, "reference_runs.py")
    assert len(page) == len(found)
    changed = [
        f"{shown}\n{now}"
        for shown, now in zip(page, found, strict=True)
        if not snippets.alike(shown, now)
    ]
    assert changed == [], "renew: python scripts/reference_runs.py --update docs/reference_runs.md"
