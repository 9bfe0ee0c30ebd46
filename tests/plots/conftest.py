from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest

import sparsefit as sf

matplotlib.use("Agg")


def _run(name: str, activation: str, values: np.ndarray, tokens: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run": name,
            "tokens": tokens,
            "activation_ratio": values,
            "activation": activation,
            "n_params": 1e8,
        }
    )


@pytest.fixture(scope="session")
def table() -> pd.DataFrame:
    """Simulated: falling with warm-up and a failed row, rising, and far from its limit."""
    rng = np.random.default_rng(5)
    d = np.geomspace(0.5, 40.0, 24)
    falling = 0.07 + 0.06 * np.exp(-0.3 * d**0.7) + rng.normal(0, 2e-4, d.size)
    falling[:3] -= 0.02
    rising = 0.39 - 0.1 * d**-0.6 + rng.normal(0, 1e-3, d.size)
    e = np.linspace(1.0, 12.0, 12)
    open_end = 0.11 - 0.012 * np.log(e) + rng.normal(0, 1.5e-3, e.size)
    runs = pd.concat(
        [
            _run("falling_sim", "relu", falling, d * 1e9),
            _run("rising_sim", "silu", rising, d * 1e9),
            _run("open_sim", "relu", open_end, e * 1e9),
        ],
        ignore_index=True,
    )
    runs["status"] = "ok"
    runs.loc[10, ["activation_ratio", "status"]] = [np.nan, "failed"]
    return runs


@pytest.fixture(scope="session")
def fits(table):
    return sf.fit(table)


@pytest.fixture
def axes():
    from matplotlib.figure import Figure

    return Figure().subplots()
