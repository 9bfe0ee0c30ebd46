"""Points that the user leaves out as warm-up say nothing about the points that stay."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit import laws

D = np.geomspace(1.0, 30.0, 30)
LEFT_OUT = 4


def _table(seed: int, noise: float = 5e-4) -> pd.DataFrame:
    law = laws.get("logspace_power")
    theta = law.to_theta(np.array([0.5, 2.5]), 0.04, 0.07, (1.0, 30.0))
    response = law.value(D, theta) + noise * np.random.default_rng(seed).standard_normal(D.size)
    response[:LEFT_OUT] -= 0.0072 * np.linspace(1.0, 0.25, LEFT_OUT)
    return pd.DataFrame(
        {
            "run": "run",
            "tokens": np.round(1e9 * D).astype(np.int64),
            "activation_ratio": response,
            "activation": "relu",
        }
    )


@pytest.mark.parametrize("seed", range(3))
def test_leaving_points_out_is_as_not_having_them(seed: int) -> None:
    table = _table(seed)
    left_out = sf.fit(table, warmup=LEFT_OUT)
    cut = sf.fit(table.iloc[LEFT_OUT:], warmup=None)
    # They once made the noise look smaller, and bands a third narrower.
    widths = [
        one.forecast([4.5e10]).eval("curve_upper - curve_lower").item() for one in (left_out, cut)
    ]
    assert widths[0] == pytest.approx(widths[1], rel=0.15)
    noise = [float(np.median(one.averaged.draws.sigma)) for one in (left_out, cut)]
    assert noise[0] == pytest.approx(noise[1], rel=0.1)
    of_kind = [one.averaged.noise_weight for one in (left_out, cut)]
    assert np.abs(of_kind[0] - of_kind[1]).max() < 0.05


def test_how_far_off_the_points_left_out_are_does_not_matter() -> None:
    near, far = _table(0), _table(0)
    far.loc[: LEFT_OUT - 1, "activation_ratio"] -= 0.02
    limits = [sf.fit(table, warmup=LEFT_OUT).limit() for table in (near, far)]
    assert limits[0].lower == pytest.approx(limits[1].lower, abs=5e-4)
    assert limits[0].upper == pytest.approx(limits[1].upper, abs=2e-4)


@pytest.mark.parametrize("seed", range(3))
def test_within_the_average_a_warmup_choice_is_as_if_the_user_had_made_it(seed: int) -> None:
    """Noise was .5 to .9 and the limit's spread .5 to .9 of what the points kept say."""
    averaged, chosen = (sf.fit(_table(seed), warmup=rule) for rule in ("auto", LEFT_OUT))
    draws, alone = averaged.averaged.draws, chosen.averaged.draws
    same = draws.drop == LEFT_OUT
    assert same.sum() > 100
    assert np.median(draws.sigma[same]) == pytest.approx(np.median(alone.sigma), rel=0.06)
    spread = [
        float(np.diff(np.quantile(x, [0.05, 0.95]))[0]) for x in (draws.limit[same], alone.limit)
    ]
    assert spread[0] == pytest.approx(spread[1], rel=0.12)


@pytest.mark.parametrize("noise", [1e-4, 3e-4])
@pytest.mark.parametrize("seed", range(2))
def test_likelihood_of_the_limit_is_no_comb(noise: float, seed: int) -> None:
    """Quiet runs of one shape: it turned ten times and more, a peak for each cell of the grid."""
    table = _table(seed, noise).iloc[LEFT_OUT:]
    likelihood = sf.fit(table).averaged.likelihood
    log = np.log(likelihood.relative[likelihood.relative > 0.02])
    steps = np.diff(log)
    turns = np.diff(np.sign(steps[np.abs(steps) > 0.01]))
    assert np.count_nonzero(turns) <= 3


@pytest.mark.parametrize("method", ["fit", "fit_bayes"])
def test_the_measure_is_that_of_the_points_that_stay(method: str) -> None:
    """The change since the first point of all was flat: with eight left out, alphas came out too
    large, and the limit was covered .5 of the time in 80 runs (.95 without those points).
    """
    law = laws.get("vanilla_power")
    d = np.linspace(1.0, 30.0, 30)
    response = law.value(d, np.array([1.0, 0.08, 0.39]))
    response = response + 1e-3 * np.random.default_rng(3).standard_normal(d.size)
    table = pd.DataFrame(
        {
            "run": "run",
            "tokens": np.round(1e9 * d).astype(np.int64),
            "activation_ratio": response,
            "activation": "silu",
        }
    )
    fit = getattr(sf, method)
    left_out, cut = fit(table, warmup=8), fit(table.iloc[8:], warmup=None)
    assert left_out.n_warmup == 8 and (left_out.points_table()["role"] == "warm-up").sum() == 8
    limits = [one.limit() for one in (left_out, cut)]
    assert limits[0].lower == pytest.approx(limits[1].lower, abs=1e-4)
    assert limits[0].upper == pytest.approx(limits[1].upper, abs=1e-3)
    bands = [one.forecast([6e10]) for one in (left_out, cut)]
    for column in ("median", "curve_lower", "curve_upper", "obs_lower", "obs_upper"):
        assert bands[0][column].item() == pytest.approx(bands[1][column].item(), abs=3e-4)
