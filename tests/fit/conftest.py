from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit import laws


@pytest.fixture(scope="session")
def authors_table(authors_points: Path) -> pd.DataFrame:
    """The authors' seven series as one table."""
    return sf.read_table(sorted(authors_points.glob("*.txt")))


@pytest.fixture(scope="session")
def authors_run(authors_table: pd.DataFrame) -> Callable[[str], pd.DataFrame]:
    """One of the authors' series by name."""
    return lambda name: authors_table[authors_table["run"] == name]


@pytest.fixture(scope="session")
def simulated_run() -> Callable[..., pd.DataFrame]:
    """Simulate one run of a law on evenly spaced checkpoints."""

    def simulate(
        law: str = "eq4",
        theta: tuple[float, ...] = (0.5, -2.2, 0.6, 0.07),
        n: int = 30,
        noise: float = 3e-4,
        seed: int = 0,
        first: float = 1e9,
        last: float = 3e10,
        **columns: object,
    ) -> pd.DataFrame:
        tokens = np.linspace(first, last, n).round()
        curve = laws.get(law).value(tokens / 1e9, theta)
        values = curve + noise * np.random.default_rng(seed).standard_normal(n)
        table = pd.DataFrame({"run": "simulated", "tokens": tokens, "activation_ratio": values})
        return table.assign(activation="relu" if law == "eq4" else "silu", **columns)

    return simulate


@pytest.fixture(scope="session")
def fit(simulated_run: Callable[..., pd.DataFrame]) -> sf.Fit:
    """A run that its law describes, and whose limit is identified."""
    return sf.fit(simulated_run(n_params=1e8))
