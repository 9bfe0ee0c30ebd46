"""A limit that may lie on its bound widens the bands of a fit: a backtest scores those bands."""

from __future__ import annotations

import numpy as np
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


def fit_of(shipped, run, points):
    return sf.fit(shipped[shipped["run"] == run].head(points))


@pytest.fixture(
    scope="module",
    params=[("0.11m_silu_s0", 19), ("0.06m_relu_s0", 8), ("0.11m_relu_s0", 19)],
    ids=["one-sided above", "not bounded below", "identified"],
)
def fitted(request, shipped):
    return fit_of(shipped, *request.param)


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


def test_bands_are_wider_only_where_the_bound_is_not_excluded(shipped):
    held = fit_of(shipped, "0.11m_relu_s0", 19)
    assert held.limit().identified == "yes"
    scored = from_fit(held, TOKENS, np.random.default_rng(0))
    np.testing.assert_array_equal(scored.curve_interval(0.9), scored.curve.interval(0.9))
    open_above = fit_of(shipped, "0.11m_silu_s0", 19)
    assert open_above.limit().upper == 1.0
    scored = from_fit(open_above, TOKENS, np.random.default_rng(0))
    plain, widened = scored.curve.interval(0.9), scored.curve_interval(0.9)
    np.testing.assert_array_equal(plain[0], widened[0])
    assert (plain[1][1:] < widened[1][1:]).all()


def test_the_level_of_the_edge_is_where_the_limit_reaches_its_bound(fitted):
    likelihood, sign = fitted.averaged.likelihood, fitted.law.sign
    end, bound = (0, fitted.law.limit_bounds[0]) if sign > 0 else (-1, fitted.law.limit_bounds[1])
    level = likelihood.level_reaching(end)
    for asked in np.linspace(0.02, 0.995, 40):
        reached = likelihood.interval(asked)[end] == bound
        assert reached == (asked >= level) or abs(asked - level) < 1e-6


def test_where_the_points_leave_the_law_every_band_is_opened(shipped):
    run = fit_of(shipped, "0.11m_silu_s0", 13)
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
