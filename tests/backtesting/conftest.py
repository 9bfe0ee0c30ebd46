from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest


def simulated_run(
    name: str = "simulated",
    *,
    points: int = 30,
    limit: float = 0.07,
    drop: float = 0.03,
    alpha: float = 0.5,
    rate: float = 0.4,
    noise: float = 2e-4,
    rising: bool = False,
    n_params: float = 1e8,
    scale: float = 1e9,
    seed: int = 0,
) -> pd.DataFrame:
    """Points of Eq. 4 (falling) or Eq. 5 (rising) with independent normal noise."""
    rng = np.random.default_rng(seed)
    d = np.linspace(1.0, float(points), points)
    if rising:
        curve = limit - drop * d**-alpha
    else:
        curve = limit + drop * np.exp(-rate * (d**alpha - 1.0))
    return pd.DataFrame(
        {
            "run": name,
            "tokens": np.round(d * scale).astype(np.int64),
            "activation_ratio": curve + noise * rng.normal(size=points),
            "activation": "silu" if rising else "relu",
            "n_params": n_params,
        }
    )


@pytest.fixture(scope="session")
def make_run() -> Callable[..., pd.DataFrame]:
    return simulated_run


@pytest.fixture(scope="session")
def two_runs() -> pd.DataFrame:
    return pd.concat(
        [
            simulated_run("falling", seed=1, n_params=1e8),
            simulated_run("rising", seed=2, rising=True, limit=0.39, drop=0.1, n_params=2e8),
        ],
        ignore_index=True,
    )
