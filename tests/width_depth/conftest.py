from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

RATIOS = (20.0, 36.0, 52.0, 74.0, 114.0, 160.0, 220.0, 282.0, 400.0)


@pytest.fixture
def simulated():
    """Simulated points of the law; `noise` 0 gives the law itself."""

    def make(noise: float = 1e-3, seed: int = 1, breakpoint: float = 114.0, **columns: object):
        x = np.array(RATIOS)
        y = 0.0458 + 3e-4 * np.minimum(x, breakpoint)
        y = y + noise * np.random.default_rng(seed).standard_normal(len(x))
        return pd.DataFrame({"width_depth_ratio": x, "limit": y, **columns})

    return make


@pytest.fixture
def simulated_loss():
    """Simulated losses with a flat basin from 74 to 282."""
    x = np.array(RATIOS)
    steep = 0.03 * np.maximum(np.log(74 / x), 0) + 0.03 * np.maximum(np.log(x / 282), 0)
    return pd.DataFrame({"width_depth_ratio": x, "loss": 3.0 + steep})
