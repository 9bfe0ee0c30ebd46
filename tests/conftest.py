from __future__ import annotations

import os
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

# The authors' own points are not part of the project; tests that refit them read them from here.
AUTHORS_POINTS = Path(
    os.environ.get("SPARSEFIT_AUTHORS_POINTS")
    or Path(__file__).resolve().parents[2] / "shared" / "sparsing_law_points"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-long", action="store_true", help="also run tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--run-long"):
        return
    skip = pytest.mark.skip(reason="takes minutes: run with --run-long")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def authors_points() -> Path:
    """Folder with the measured points of the paper's authors (skips where it is absent)."""
    if not AUTHORS_POINTS.is_dir():
        pytest.skip(
            "the authors' points are not here: set SPARSEFIT_AUTHORS_POINTS to their folder"
        )
    return AUTHORS_POINTS


@pytest.fixture(scope="session")
def golden() -> Callable[[Path, str], str]:
    """Text of a golden file; SPARSEFIT_UPDATE_GOLDEN=1 writes what is shown into it first."""

    def read(path: Path, shown: str) -> str:
        if os.environ.get("SPARSEFIT_UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(shown, encoding="utf-8")
        return path.read_text(encoding="utf-8")

    return read


class _Nesting(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="session")
def assert_html_nests() -> Callable[[str], None]:
    """Assertion that every element of a piece of HTML is closed, in order."""

    def check(html: str) -> None:
        parser = _Nesting()
        parser.feed(html)
        parser.close()
        assert parser.open == []

    return check
