"""A limit that may lie on its bound widens the bands of fits: a backtest scores those bands."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.backtesting import MethodForecast
from sparsefit.backtesting.methods_fit import from_fit
from sparsefit.estimation.notes import kind_of
from sparsefit.results.bands import Edge, EdgeDraws
from sparsefit.results.limits import edge_of

TOKENS = np.array([4e6, 8e6, 4e7])


@pytest.fixture(scope="module")
def shipped():
    return sf.datasets.load("reference_scales")


METHODS = [sf.fit, partial(sf.fit_bayes, engine="importance")]
NAMES = ["fit", "fit_bayes"]


def fit_of(shipped, run, points, method=sf.fit):
    # An error that all checkpoints share is in the bands of a backtest only.
    return method(shipped[shipped["run"] == run].head(points).drop(columns="se_shared"))


@pytest.fixture(scope="module", params=METHODS, ids=NAMES)
def method(request):
    return request.param


@pytest.fixture(
    scope="module",
    params=[("0.11m_silu_s0", 19), ("0.06m_relu_s0", 8), ("0.11m_relu_s0", 19)],
    ids=["one-sided above", "not bounded below", "identified"],
)
def fitted(request, shipped, method):
    return fit_of(shipped, *request.param, method)


@pytest.mark.parametrize("level", [0.3, 0.5, 0.9, 0.99])
def test_a_backtest_scores_the_bands_that_a_forecast_shows(fitted, level):
    scored = from_fit(fitted, TOKENS, np.random.default_rng(0))
    shown = fitted.forecast(TOKENS, level=level)
    lower, upper = scored.curve_interval(level)
    np.testing.assert_allclose(lower, shown["curve_lower"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(upper, shown["curve_upper"], rtol=0, atol=1e-12)
    # New measurements have their own noise, of which the draws are others.
    lower, upper = scored.interval(level)
    tolerance = 0.15 * (shown["obs_upper"] - shown["obs_lower"]).to_numpy()
    assert (np.abs(lower - shown["obs_lower"]) <= tolerance).all()
    assert (np.abs(upper - shown["obs_upper"]) <= tolerance).all()
    table = scored.table(level)
    np.testing.assert_allclose(table["curve_upper"], shown["curve_upper"], rtol=0, atol=1e-12)


def test_bands_are_wider_only_where_the_bound_is_not_excluded(shipped, method):
    held = fit_of(shipped, "0.11m_relu_s0", 19, method)
    assert held.limit().identified == "yes"
    scored = from_fit(held, TOKENS, np.random.default_rng(0))
    np.testing.assert_array_equal(scored.curve_interval(0.9), scored.curve.interval(0.9))
    open_above = fit_of(shipped, "0.11m_silu_s0", 19, method)
    assert open_above.limit().upper == 1.0
    scored = from_fit(open_above, TOKENS, np.random.default_rng(0))
    plain, widened = scored.curve.interval(0.9), scored.curve_interval(0.9)
    np.testing.assert_array_equal(plain[0], widened[0])
    assert (plain[1][1:] < widened[1][1:]).all()


def test_the_level_of_the_edge_is_where_the_limit_reaches_its_bound(fitted):
    sign, bounds = fitted.law.sign, fitted.law.limit_bounds
    level = edge_of(fitted).from_level
    for asked in np.linspace(0.02, 0.99, 40):
        limit = fitted.limit(asked)
        reached = limit.lower == bounds[0] if sign > 0 else limit.upper == bounds[1]
        assert reached == (asked >= level) or abs(asked - level) < 1e-6


def test_where_the_points_leave_the_law_every_band_is_opened(shipped, method):
    run = fit_of(shipped, "0.11m_silu_s0", 13, method)
    assert "speeds up" in [kind_of(note) for note in run.notes]
    assert run.limit(0.2).upper == 1.0
    assert edge_of(run).from_level == 0.0


@pytest.mark.parametrize("least_tail", [0.0, 0.5])
@pytest.mark.parametrize("from_level", [0.0, 0.6])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_level_that_holds_a_point_agrees_with_the_intervals(sign, from_level, least_tail):
    rng = np.random.default_rng(3)
    seen = rng.normal(0.3, 0.01, (2001, 40))
    outer = seen[:101] - sign * 0.03
    edge = EdgeDraws(Edge(np.arange(101), sign, from_level, least_tail), outer, outer)
    tokens = np.arange(1.0, 41.0)
    forecast = MethodForecast(
        tokens, MethodForecast.from_draws(tokens, seen).observation, None, edges=(edge,)
    )
    observed = rng.normal(0.3, 0.04, 40)
    needed = forecast.level_holding(observed)
    for level in (0.1, 0.5, 0.59, 0.61, 0.9, 0.97):
        lower, upper = forecast.interval(level)
        held = (lower <= observed) & (observed <= upper)
        # Quantiles of a hundred draws lie between two of them.
        clear = np.abs(needed - level) > 0.02
        np.testing.assert_array_equal(held[clear], (needed <= level)[clear])


def test_a_stacked_forecast_of_a_single_run_keeps_the_bands_of_its_fit(shipped):
    run = shipped[shipped["run"] == "0.11m_silu_s0"]
    seen, later = run.head(10), run.iloc[10:]
    tokens = later["tokens"].to_numpy(dtype=float)
    best = sf.forecast_best(seen)
    bands = best.forecast(tokens)
    part = sf.fit(seen).forecast(tokens)
    assert (bands["curve_upper"].to_numpy() >= 0.98 * part["curve_upper"].to_numpy()).all()
    measured = later["activation_ratio"].to_numpy()
    held = (bands["obs_lower"] <= measured) & (measured <= bands["obs_upper"])
    # The draws alone hold one of the nine.
    assert held.mean() >= 0.7
    # The first tokens of a budget are where the upper end of the band meets the target.
    target = float(bands["curve_upper"].iloc[3])
    budget = best.tokens_to(activation_ratio=target)
    assert budget.lower == pytest.approx(tokens[3], rel=0.1)


def test_budgets_are_the_band_of_the_curve_read_sideways(shipped, method):
    run = fit_of(shipped, "0.11m_silu_s0", 19, method)
    upper = run.forecast(TOKENS)["curve_upper"]
    for tokens, target in zip(TOKENS[1:], upper[1:], strict=True):
        budget = run.tokens_to(activation_ratio=float(target))
        assert budget.lower == pytest.approx(tokens, rel=0.05)


def test_a_posterior_of_a_run_on_the_edge_of_its_law_covers_what_comes_later():
    # A line in log D is Eq. 5 with alpha = 0: its truth lies beyond nearly all draws.
    tokens = np.round(1e9 * np.geomspace(1.0, 60.0, 20))
    share = np.log(tokens / tokens[0]) / np.log(60.0)
    shown, drawn = [], []
    for seed in range(16):
        noise = 2e-3 * np.random.default_rng([7, seed]).standard_normal(20)
        run = pd.DataFrame(
            {
                "run": "line",
                "tokens": tokens.astype(np.int64),
                "activation_ratio": 0.3 + 0.12 * share + noise,
                "activation": "silu",
            }
        )
        found = sf.fit_bayes(run.head(10), engine="importance")
        scored = from_fit(found, tokens[10:], np.random.default_rng(seed))
        truth = (0.3 + 0.12 * share)[10:]
        for bands, kept in (
            (scored.curve_interval(0.9), shown),
            (scored.curve.interval(0.9), drawn),
        ):
            kept.append(np.mean((bands[0] <= truth) & (truth <= bands[1])))
    assert np.mean(drawn) < 0.75
    assert np.mean(shown) >= 0.85


def test_pooled_runs_have_the_edge_that_their_pooled_limit_has(shipped):
    runs = shipped[shipped["run"].isin(["0.03m_silu_s0", "0.06m_silu_s0", "0.11m_silu_s0"])]
    early = runs.groupby("run").head(12)
    pooled = sf.fit_bayes(early, pool="scale", engine="importance")
    opened = []
    for fit in pooled.values():
        plain = np.quantile(fit.simulate(TOKENS, "curve"), 0.95, axis=0)
        wider = (fit.forecast(TOKENS)["curve_upper"] > plain + 1e-12).any()
        assert wider == (fit.limit().upper == 1.0)
        opened.append(wider)
    assert any(opened)


def test_an_error_that_all_checkpoints_share_leaves_bands_of_measurements_at_the_edge(shipped):
    run = shipped[shipped["run"] == "0.11m_silu_s0"].head(19).drop(columns=["se", "se_shared"])
    shared = sf.fit_bayes(run.assign(se_shared=0.02), engine="importance")
    assert shared.limit().upper == 1.0
    scored = from_fit(shared, TOKENS, np.random.default_rng(0))
    shown = shared.forecast(TOKENS)
    means = scored.curve_interval(0.9)[1]
    assert (shown["obs_upper"].to_numpy() >= means - 1e-12).all()
    assert (means > scored.curve.interval(0.9)[1] + 1e-4).any()
