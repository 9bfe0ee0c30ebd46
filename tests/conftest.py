from __future__ import annotations

import os
from pathlib import Path

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
