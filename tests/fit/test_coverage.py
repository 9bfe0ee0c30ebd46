"""Seeded parts of the coverage simulation (scripts/simulate_coverage.py)."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "simulate_coverage.py"


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulate_coverage", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulate_coverage"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name",
    [
        "relu base",
        "relu limit near zero",
        "relu warm-up",
        "silu base",
        pytest.param("silu warm-up", marks=pytest.mark.long),
        "relu log autocorrelated",
        pytest.param("silu log autocorrelated", marks=pytest.mark.long),
        pytest.param("silu log warm-up", marks=pytest.mark.long),
        "silu six points",
    ],
)
def test_intervals_cover(simulation: ModuleType, name: str) -> None:
    """40 runs at 90%: fewer than 30 covered has a chance below 1% if coverage is .86."""
    stratum = next(s for s in simulation.STRATA if s.name == name)
    found = simulation.run_stratum(stratum, runs=40, seed=0, jobs=1)
    for what in ("limit", "curve end", "curve 1.5x", "new 1.5x", "budget"):
        assert found[what] >= 0.75, (what, found[what])
    if not stratum.identified:
        assert found["identified"] <= 0.5
