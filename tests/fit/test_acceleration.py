from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.backtesting.simulate import STRATA, simulate_runs
from sparsefit.estimation.acceleration import acceleration_p_value


def table(power: float, noise: float = 3e-4, seed: int = 0) -> pd.DataFrame:
    d = np.geomspace(1.0, 40.0, 18)
    rise = (np.log(d) / np.log(40.0)) ** power
    return pd.DataFrame(
        {
            "run": "r",
            "tokens": np.round(1e9 * d).astype(np.int64),
            "activation_ratio": 0.3
            + 0.1 * rise
            + noise * np.random.default_rng(seed).normal(size=18),
            "activation": "silu",
        }
    )


@pytest.mark.parametrize(("power", "warned"), [(2.0, True), (1.5, True), (0.6, False)])
def test_a_run_that_speeds_up_in_log_d_is_named(power: float, warned: bool) -> None:
    assert any("accelerates in log D" in note for note in sf.fit(table(power)).notes) == warned


def test_level_on_a_straight_line() -> None:
    x, rng = np.linspace(0, 1, 12), np.random.default_rng(1)
    p = [acceleration_p_value(x, x + 0.05 * rng.normal(size=12)) for _ in range(1000)]
    # The allowance for correlation makes it a little cautious.
    assert 0.02 < np.mean(np.array(p) < 0.1) < 0.12


def test_runs_that_follow_eq5_are_hardly_ever_warned() -> None:
    warned = []
    for index, stratum in enumerate(s for s in STRATA if s.rising):
        runs = simulate_runs(stratum, 20, rng=index)
        for _, run in runs.groupby("run"):
            half = run.iloc[stratum.warmup : 15]
            log_d = np.log(half["tokens"].to_numpy(float))
            warned.append(acceleration_p_value(log_d, half["activation_ratio"].to_numpy()) < 0.2)
    assert np.mean(warned) <= 0.05


def test_too_few_or_exact_points() -> None:
    x = np.linspace(0, 1, 5)
    assert acceleration_p_value(x, x**2) == 1.0
    x = np.linspace(0, 1, 9)
    assert acceleration_p_value(x, x**2) == 0.0
    assert acceleration_p_value(x, x) == 1.0
