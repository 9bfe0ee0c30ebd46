from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.backtesting.methods_fit import (
    Repeated,
    configured,
    fit,
    fit_bayes,
    fit_bayes_pooled,
    settings_of,
)
from sparsefit.backtesting.seen import with_target
from sparsefit.errors import ArgumentError


@pytest.mark.parametrize("method", [fit, fit_bayes])
def test_draws_hold_the_truth_and_come_with_a_curve(method, make_run):
    run = make_run(points=24, noise=1e-4)
    seen, later = run.iloc[:14], run.iloc[14:]
    tokens = later["tokens"].to_numpy(dtype=float)
    got = method(seen, tokens, np.random.default_rng(0))
    assert got.observation.draws is not None and got.curve is not None
    lower, upper = got.interval(0.9)
    inside = (lower <= later["activation_ratio"]) & (later["activation_ratio"] <= upper)
    assert inside.mean() >= 0.8
    curve_lower, curve_upper = got.curve.quantile([0.05, 0.95])
    assert (curve_lower < got.median).all() and (got.median < curve_upper).all()
    again = method(seen, tokens, np.random.default_rng(0))
    np.testing.assert_array_equal(again.median, got.median)


def test_settings_reach_the_fit(make_run):
    run = make_run(points=24)
    tokens = np.array([4e10])
    medians = [
        configured(law=law)(run, tokens, np.random.default_rng(0)).median for law in ("eq4", "eq5")
    ]
    assert medians[0] != medians[1]


def test_repeated_uses_the_rule_that_the_fit_was_made_with(make_run):
    run = make_run(points=24)
    for warmup, expected in (("auto", "auto"), (None, None), (3, 3), (2.5e9, 2)):
        assert settings_of(sf.fit(run, warmup=warmup))["warmup"] == expected
    method = Repeated({"simulated": settings_of(sf.fit(run, warmup=3, robust=True))})
    direct = configured(law=sf.laws.get("eq4"), warmup=3, robust=True)
    tokens = np.array([4e10])
    np.testing.assert_array_equal(
        method(run, tokens, np.random.default_rng(1)).median,
        direct(run, tokens, np.random.default_rng(1)).median,
    )
    with pytest.raises(ArgumentError, match="'simulated'"):
        Repeated({})(run, tokens, np.random.default_rng(0))


@pytest.mark.slow
def test_pooled_fit_uses_the_smaller_runs_and_forecasts_an_unseen_one(make_run):
    sizes = {"small": 1e7, "middle": 3e7, "large": 1e8}
    runs = pd.concat(
        [make_run(name, n_params=n, seed=i, points=13) for i, (name, n) in enumerate(sizes.items())]
        + [make_run("other", n_params=1e6, rising=True, limit=0.4, points=13)],
        ignore_index=True,
    )
    result = sf.backtest(runs[runs["run"] != "middle"], ["fit_bayes_pooled"], [0.5])
    cells = result.cells.set_index("run")
    assert (cells["status"] == "ok").all(), list(cells["message"])
    # The smallest run of each activation has none to lean on, and says so.
    assert cells["fallback"].notna().to_dict() == {"small": True, "large": False, "other": True}
    unseen = sf.backtest(
        runs, ["fit_bayes_pooled"], scheme="leave-one-run-out", others="all", min_seen=2
    )
    cells = unseen.cells.set_index("run")
    assert cells.loc["large", "status"] == "ok"
    assert cells.loc["large", "covered90"] > 0.8
    assert cells.loc["other", "status"] == "failed"
    assert "no other run" in cells.loc["other", "message"]


def test_a_pooled_fit_leaves_out_other_runs_that_have_hardly_begun(make_run):
    own = make_run("own", n_params=1e8, points=13)
    young = make_run("young", n_params=1e7, seed=1, points=13).head(3)
    known = make_run("known", n_params=3e7, seed=2, points=13)
    tokens = np.array([4e10])

    def forecast(*others):
        seen = with_target(pd.concat([own, *others], ignore_index=True), "own")
        return fit_bayes_pooled(seen, tokens, np.random.default_rng(0))

    got = forecast(young, known)
    assert got.fallback is None and got.note is not None
    assert "left out: run 'young' has 3 usable points" in got.note
    np.testing.assert_array_equal(got.median, forecast(known).median)
    alone = forecast(young)
    assert alone.fallback is not None and "no other run can be fitted" in alone.fallback
    assert alone.note is not None and "'young'" in alone.note
