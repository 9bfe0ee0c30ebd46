"""Seeded part of the coverage of pooled limits (scripts/pooled_limits.py)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "pooled_limits.py"


def test_pooled_limits_cover_on_simulated_families() -> None:
    """Four families of four runs at 90%: fewer than 12 of 16 have a probability of 2%."""
    spec = importlib.util.spec_from_file_location("pooled_limits", SCRIPT)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    rows = [row for index in range(4) for row in made.limits(made.family(index, 77))]
    pooled = [row for row in rows if row["fit"] == "pooled"]
    assert len(pooled) == 16
    assert sum(bool(row["covered"]) for row in pooled) >= 12
