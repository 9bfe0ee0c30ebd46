from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf

# What a name may hold: markup, no place to break, another script, half a formula.
HOSTILE = "simulated <silu> & co " + 12 * "without_end_" + " 模型 $x_1^{2$"


@pytest.fixture(scope="session")
def simulated_table() -> pd.DataFrame:
    """A falling run with a failed checkpoint, and a rising one of unknown size."""
    rng = np.random.default_rng(5)
    d = np.arange(1.0, 21.0)
    falling = 0.06 + 0.05 * np.exp(-0.15 * d) + 2e-4 * rng.standard_normal(d.size)
    rising = 0.41 - 0.08 * d**-0.7 + 5e-4 * rng.standard_normal(d.size)
    falling[7] = np.nan
    return pd.DataFrame(
        {
            "run": np.repeat(["simulated_relu", HOSTILE], d.size),
            "tokens": np.tile(1e9 * d, 2).astype(np.int64),
            "activation_ratio": np.concatenate([falling, rising]),
            "activation": np.repeat(["relu", "silu"], d.size),
            "n_params": np.repeat([1e8, np.nan], d.size),
            "status": ["failed" if np.isnan(a) else "ok" for a in (*falling, *rising)],
        }
    )


@pytest.fixture(scope="session")
def simulated_fits(simulated_table: pd.DataFrame) -> Any:
    return sf.fit(simulated_table)


@pytest.fixture(scope="session")
def report_page(simulated_fits: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sf.report(
        simulated_fits, tmp_path_factory.mktemp("page") / "report.html", targets=[0.08]
    )
