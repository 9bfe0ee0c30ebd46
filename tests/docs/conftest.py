from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    """Import a script of docs/ by its file."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def snippets() -> ModuleType:
    return load("snippets")


@pytest.fixture(scope="session")
def reference_pages() -> ModuleType:
    return load("reference_pages")


@pytest.fixture(scope="session")
def check_links() -> ModuleType:
    return load("check_links")


@pytest.fixture(scope="session")
def reference_fits() -> Any:
    """Fits of two shipped runs, as on the pages."""
    import sparsefit as sf

    shipped = sf.datasets.load("reference_scales")
    return sf.fit(shipped[shipped["run"].isin(["0.11m_relu_s0", "0.03m_silu_s0"])])
