"""The Bayesian version: exact grid, and NUTS on the same posterior."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import pytest
from scipy import stats

import sparsefit as sf
from sparsefit.errors import ArgumentError, MissingDependencyError
from sparsefit.width_depth import fit_width_depth_bayes


@pytest.mark.parametrize("sign", ["rising", "any"])
@pytest.mark.parametrize("noise", [2e-3, 2e-2])
def test_grid_agrees_with_direct_integration(simulated, sign, noise) -> None:
    table = simulated(noise)
    fit = fit_width_depth_bayes(table, sign=sign, draws=20000)
    # Independent route: the density of the break by numerical integration on a plain grid.
    x, y = (table[c].to_numpy() for c in ("width_depth_ratio", "limit"))
    edges = np.geomspace(36, 400, 3001)
    taus = np.sqrt(edges[1:] * edges[:-1])
    log_density = []
    for tau in taus:
        columns = np.column_stack([np.ones(9), np.minimum(x, tau)])
        coefficients, (rss,), *_ = np.linalg.lstsq(columns, y, rcond=None)
        density = -0.5 * np.linalg.slogdet(columns.T @ columns)[1] - 0.5 * 7 * np.log(rss)
        if sign == "rising":
            error = np.sqrt(rss / 7 * np.linalg.inv(columns.T @ columns)[1, 1])
            density += stats.t.logcdf(coefficients[1] / error, 7)
        log_density.append(density)
    weight = np.exp(np.array(log_density) - max(log_density))
    cumulative = np.cumsum(weight) / weight.sum()
    for level in (0.05, 0.5, 0.95):
        expected = taus[np.searchsorted(cumulative, level)]
        # 20,000 draws: their error grows with the width of the posterior.
        tolerance = 0.01 if noise < 0.01 else 0.06
        assert fit.draws_table["breakpoint"].quantile(level) == pytest.approx(
            expected, rel=tolerance
        )


@pytest.mark.parametrize("columns", [{}, {"se": 5e-3}])
def test_rising_draws_are_the_draws_of_either_sign_that_rise(simulated, columns) -> None:
    # Slopes of both signs are plausible here, so that the cut at 0 matters.
    table = simulated(0.0, **columns).iloc[:6]
    table["limit"] = 0.06 + 5e-3 * np.array([1.0, -1.0, 0.5, -0.3, 0.8, 0.2])
    either = fit_width_depth_bayes(table, sign="any", draws=40000).draws_table
    rising = fit_width_depth_bayes(table, draws=40000).draws_table
    kept = either[either["slope"] > 0]
    assert 0.2 < len(kept) / len(either) < 0.9
    assert (rising["slope"] >= 0).all()
    for name in ("breakpoint", "slope", "plateau", "scatter"):
        assert stats.ks_2samp(rising[name], kept[name]).pvalue > 1e-3, name


@pytest.mark.parametrize("columns", [{}, {"se": 1e-3}])
@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_a_fall_is_no_rising_law(simulated, columns, noise) -> None:
    table = simulated(noise, **columns)
    table["limit"] = 0.14 - table["limit"]
    fit = fit_width_depth_bayes(table, draws=2000)
    assert np.isfinite(fit.draws_table.to_numpy()).all()
    assert not fit.located
    assert fit.slope < 1e-4
    assert fit_width_depth_bayes(table, sign="any", draws=2000).located


@pytest.mark.parametrize("columns", [{}, {"se": 1e-3}])
def test_posterior_and_profile_agree_where_the_break_is_clear(simulated, columns) -> None:
    table = simulated(**columns)
    bayes, profile = fit_width_depth_bayes(table), sf.fit_width_depth(table)
    assert bayes.located
    assert profile.located
    assert bayes.breakpoint == pytest.approx(profile.breakpoint, rel=0.03)
    assert bayes.plateau == pytest.approx(profile.plateau, rel=0.01)
    ours, theirs = bayes.conf_int(), profile.conf_int()
    widths = (ours["upper"] - ours["lower"]) / (theirs["upper"] - theirs["lower"])
    assert widths.between(0.6, 1.6).all()
    assert bayes.break_test().p_no_break < 0.01


def test_straight_line_keeps_the_probability_of_no_break(simulated) -> None:
    table = simulated(0.0)
    rng = np.random.default_rng(0)
    x = table["width_depth_ratio"]
    located = []
    for _ in range(40):
        table["limit"] = 0.05 + 5e-5 * x + 1e-3 * rng.standard_normal(9)
        fit = fit_width_depth_bayes(table, draws=400)
        located.append(fit.located)
        if not fit.located:
            assert fit.status.startswith("no break can be placed")
            assert np.isinf(fit.conf_int().loc["breakpoint", ["lower", "upper"]]).any()
    assert sum(located) <= 5


def test_verbs_and_repeatability(simulated, simulated_loss) -> None:
    fit = fit_width_depth_bayes(simulated(), rng=3)
    again = fit_width_depth_bayes(simulated(), rng=3)
    assert fit.draws_table.equals(again.draws_table)
    json.dumps(fit.to_dict(), allow_nan=False)
    assert "Posterior by grid" in fit.summary()
    assert fit.recommend(simulated_loss).ratio == 74.0
    band = fit.band([52.0, 300.0])
    assert (band["curve_lower"] < band["mean"]).all()
    assert fit.saving(300.0).estimate == pytest.approx(0.0)
    assert len(fit.tidy()) == 4


@pytest.mark.parametrize("noise", [0.0, 1e-12])
@pytest.mark.parametrize("columns", [{}, {"se": 1e-3}])
def test_nearly_noise_free_points_give_finite_numbers(simulated, noise, columns) -> None:
    fit = fit_width_depth_bayes(simulated(noise, **columns), draws=400)
    assert np.isfinite(fit.draws_table.to_numpy()).all()
    assert fit.breakpoint == pytest.approx(114, rel=0.05)


def test_arguments(simulated, monkeypatch) -> None:
    with pytest.raises(ArgumentError, match="engine"):
        fit_width_depth_bayes(simulated(), engine="emcee")
    with pytest.raises(ArgumentError, match="sign"):
        fit_width_depth_bayes(simulated(), sign="up")
    with pytest.raises(ArgumentError, match="draws"):
        fit_width_depth_bayes(simulated(), draws=10)
    monkeypatch.setitem(sys.modules, "pymc", None)
    with pytest.raises(MissingDependencyError, match="bayes"):
        fit_width_depth_bayes(simulated(), engine="nuts")


@pytest.mark.slow
@pytest.mark.parametrize("noise", [2e-3, 2e-2])
def test_nuts_agrees_with_the_grid_without_divergences(simulated, noise) -> None:
    pytest.importorskip("pymc")
    table = simulated(noise)
    grid = fit_width_depth_bayes(table, draws=20000)
    with warnings.catch_warnings():
        # The sampler's packages announce releases and missing BLAS; not ours to fail on.
        warnings.simplefilter("ignore")
        nuts = fit_width_depth_bayes(table, engine="nuts", draws=1600)
    assert nuts.diagnostics["divergences"] == 0
    assert nuts.diagnostics["max_rhat"] < 1.05
    spread = grid.draws_table.std()
    shift = (nuts.draws_table.median() - grid.draws_table.median()).abs() / spread
    assert (shift[["breakpoint", "slope", "intercept", "plateau"]] < 0.2).all()
