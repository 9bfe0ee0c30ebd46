from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf


@pytest.fixture
def series() -> Callable[..., pd.DataFrame]:
    """Build a sound table of one run; keywords replace or add columns."""

    def build(run: str = "a", points: int = 8, **columns: object) -> pd.DataFrame:
        data: dict[str, object] = {
            "run": [run] * points,
            "tokens": np.arange(1, points + 1) * 1_000_000_000,
            "activation_ratio": 0.1 - 0.004 * np.arange(points),
        }
        return pd.DataFrame({**data, **columns})

    return build


@pytest.fixture
def faults_of() -> Callable[..., list[tuple[int | None, str | None]]]:
    """Places of the faults that `validate` reports (empty for a sound table)."""

    def places(table: object, **options: object) -> list[tuple[int | None, str | None]]:
        try:
            sf.validate(table, **options)  # type: ignore[arg-type]
        except sf.errors.TableError as error:
            assert all(fault.problem and fault.remedy for fault in error.faults)
            return [(fault.row, fault.column) for fault in error.faults]
        return []

    return places
