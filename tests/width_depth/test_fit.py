"""What fit_width_depth returns and refuses."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError, FitError, TableError
from sparsefit.width_depth import fit_segmented, fit_width_depth_bayes


def test_noise_free_law_is_recovered(simulated) -> None:
    fit = sf.fit_width_depth(simulated(0.0), draws=99)
    assert fit.breakpoint == pytest.approx(114.0)
    assert fit.slope == pytest.approx(3e-4)
    assert fit.plateau == pytest.approx(0.08)
    assert fit.intercept == pytest.approx(0.0458)
    assert fit.located
    assert fit.predict([52.0, 300.0]) == pytest.approx([0.0614, 0.08])


def test_break_between_measured_ratios_is_recovered(simulated) -> None:
    assert sf.fit_width_depth(simulated(0.0, breakpoint=131.0)).breakpoint == pytest.approx(131.0)


def test_intervals_contain_estimates_nest_and_repeat(simulated) -> None:
    fit = sf.fit_width_depth(simulated(), draws=299)
    for method in ("profile", "bootstrap"):
        wide, narrow = fit.conf_int(0.95, method=method), fit.conf_int(0.8, method=method)
        for table in (wide, narrow):
            assert (table["lower"] <= table["estimate"]).all()
            assert (table["estimate"] <= table["upper"]).all()
        assert (wide["lower"] <= narrow["lower"]).all()
        assert (wide["upper"] >= narrow["upper"]).all()
    again = sf.fit_width_depth(simulated(), draws=299).conf_int(0.95)
    pd.testing.assert_frame_equal(again, fit.conf_int(0.95))


def test_rows_in_any_order_and_units_of_the_ratio_do_not_matter(simulated) -> None:
    table = simulated()
    shuffled = table.sample(frac=1, random_state=3)
    a, b = (sf.fit_width_depth(t, draws=99).conf_int() for t in (table, shuffled))
    pd.testing.assert_frame_equal(a, b)
    scaled = fit_segmented(
        table["width_depth_ratio"] * 1e6, table["limit"] * 1e-6 - 5, model="line_plateau", draws=99
    )
    ours = scaled.conf_int().loc["breakpoint", ["lower", "upper"]].astype(float) / 1e6
    assert ours.to_numpy() == pytest.approx(
        a.loc["breakpoint", ["lower", "upper"]].to_numpy(dtype=float), rel=1e-6
    )


def test_architectures_become_ratios(simulated) -> None:
    table = simulated()
    layers = np.arange(4, 13)
    shaped = pd.DataFrame(
        {
            "hidden_size": table["width_depth_ratio"] * layers,
            "n_layers": layers,
            "limit": table["limit"],
        }
    )
    assert sf.fit_width_depth(shaped).breakpoint == sf.fit_width_depth(table).breakpoint
    shaped["width_depth_ratio"] = table["width_depth_ratio"] * 1.2
    with pytest.raises(TableError, match="differs from hidden_size / n_layers"):
        sf.fit_width_depth(shaped)


def test_no_break_is_said_plainly_and_leaves_no_narrow_interval() -> None:
    x = np.array([20.0, 36, 52, 74, 114, 160, 220, 282, 400])
    y = 0.05 + 5e-5 * x + 5e-4 * np.random.default_rng(2).standard_normal(9)
    fit = sf.fit_width_depth(pd.DataFrame({"width_depth_ratio": x, "limit": y}))
    assert not fit.located
    assert fit.status.startswith("no break can be placed")
    assert "No break can be placed" in fit.summary()
    assert np.isinf(fit.conf_int().loc["breakpoint", "upper"])
    assert fit.break_test().p_value > 0.05
    assert fit.to_dict()["parameters"]["breakpoint"]["upper"] is None
    assert "no break can be placed" in fit._repr_html_()


@pytest.mark.parametrize("side", ["level", "line"])
def test_points_on_one_side_of_the_break_place_none(side: str) -> None:
    x = np.array([20.0, 36, 52, 74, 90, 100, 110])
    y = np.full(7, 0.08) if side == "level" else 0.0458 + 3e-4 * x
    y = y + 5e-4 * np.random.default_rng(8).standard_normal(7)
    fit = sf.fit_width_depth(pd.DataFrame({"width_depth_ratio": x, "limit": y}))
    assert not fit.located


def test_a_break_before_the_second_ratio_is_bounded_by_the_first() -> None:
    x = np.geomspace(16, 512, 7)
    y = 0.045 + 1e-3 * np.minimum(x, 24.0) + 1e-3 * np.random.default_rng(0).standard_normal(7)
    fit = fit_segmented(x, y, model="line_plateau", draws=299)
    placement = fit.placement()
    assert placement.located
    assert placement.lower == pytest.approx(16.0)
    assert 24.0 < placement.upper < 60.0
    # Any slope joins the first point to a plateau that starts before the second.
    assert np.isinf(fit.conf_int().loc["slope", "upper"])


def test_one_bound_is_stated_where_the_other_is_missing() -> None:
    x = np.geomspace(16, 512, 7)
    noise = 1e-3 * np.random.default_rng(0).standard_normal(7)
    rising = fit_segmented(x, 0.045 + 1e-4 * x + noise, model="line_plateau", draws=299)
    placement = rising.placement()
    assert not placement.located
    assert placement.side == "lower"
    assert placement.lower > 300
    assert "if there is one, it lies above" in placement.reason
    level = fit_segmented(x, 0.045 + noise, model="line_plateau", draws=299).placement()
    assert level.side == "none"
    assert not level.located


def test_identical_limits_place_no_break() -> None:
    x = [20.0, 40, 60, 80, 100, 120]
    fit = sf.fit_width_depth(pd.DataFrame({"width_depth_ratio": x, "limit": 0.07}))
    assert not fit.located
    assert fit.plateau == pytest.approx(0.07)


def test_larger_standard_errors_widen_the_intervals(simulated) -> None:
    width = []
    for se in (5e-4, 2e-3, 6e-3):
        table = sf.fit_width_depth(simulated(0.0, se=se), draws=299).conf_int()
        width.append((table["upper"] - table["lower"]).loc["plateau"])
    assert width[0] < width[1] < width[2]


def test_an_imprecise_outlier_loses_its_weight(simulated) -> None:
    table = simulated(0.0, se=3e-4)
    table.loc[6, "limit"] = 0.12
    table.loc[6, "se"] = 0.05
    fit = sf.fit_width_depth(table)
    assert fit.breakpoint == pytest.approx(114, rel=0.02)
    assert fit.plateau == pytest.approx(0.08, rel=0.01)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda t: t.iloc[:4], FitError, "4 distinct"),
        (lambda t: t.drop(columns="width_depth_ratio"), TableError, "is missing"),
        (lambda t: t.drop(columns="limit"), TableError, "is missing"),
        (lambda t: t.iloc[:0], TableError, "no rows"),
        (lambda t: t.assign(limit=np.nan), TableError, "not a finite number"),
        (lambda t: t.to_numpy(), ArgumentError, "DataFrame"),
    ],
)
def test_unusable_points_are_refused(simulated, change, error, words) -> None:
    with pytest.raises(error, match=words):
        sf.fit_width_depth(change(simulated()))


@pytest.mark.parametrize(
    "arguments",
    [{"model": "cubic"}, {"sign": "up"}, {"draws": 10}, {"rng": -1}, {"replicates": "drop"}],
)
def test_unusable_arguments_are_refused(simulated, arguments) -> None:
    with pytest.raises(ArgumentError):
        sf.fit_width_depth(simulated(), **arguments)


def test_levels_beyond_the_draws_are_refused(simulated) -> None:
    fit = sf.fit_width_depth(simulated(), draws=99)
    with pytest.raises(ArgumentError, match="draws"):
        fit.conf_int(0.999)
    with pytest.raises(ArgumentError, match="level"):
        fit.conf_int(1.0)
    with pytest.raises(ArgumentError, match="method"):
        fit.conf_int(method="magic")


def test_band_agrees_with_the_parameters_and_saving(simulated) -> None:
    fit = sf.fit_width_depth(simulated(), draws=199)
    table = fit.conf_int()
    band = fit.band([52.0, 1e9])
    assert band["mean"].to_numpy() == pytest.approx(fit.predict([52.0, 1e9]))
    assert band.loc[1, "curve_lower"] == pytest.approx(table.loc["plateau", "lower"], rel=1e-3)
    saving = fit.saving(52.0)
    assert saving.estimate == pytest.approx(fit.plateau - fit.predict(52.0))
    assert 0 < saving.lower < saving.estimate < saving.upper
    assert fit.saving(300.0).lower <= 0.0 <= fit.saving(300.0).upper


def test_result_is_plain_and_strict(simulated) -> None:
    fit = sf.fit_width_depth(simulated(), draws=99)
    document = json.loads(json.dumps(fit.to_dict(), allow_nan=False))
    assert document["located"] is True
    assert list(fit.tidy()["term"]) == ["breakpoint", "slope", "intercept", "plateau"]
    assert len(repr(fit)) < 200
    with pytest.raises(AttributeError):
        fit.slope = 1.0


@pytest.mark.parametrize("model", ["line_plateau", "line_line", "bayes"])
def test_names_and_tables_are_those_of_other_fits(simulated, model: str) -> None:
    if model == "bayes":
        fit = fit_width_depth_bayes(simulated(), draws=4000)
    else:
        fit = sf.fit_width_depth(simulated(), model=model, draws=99)
    ends = fit.conf_int()
    assert ends.index.name == "term"
    pd.testing.assert_series_equal(
        fit.params, ends.loc[fit.params.index, "estimate"], check_names=False
    )
    assert list(fit.params.index[:3]) == ["breakpoint", "slope", "intercept"]
    (row,) = fit.glance().to_dict("records")
    assert (row["n_points"], row["n_left_out"], row["model"]) == (9, 0, fit.model)
    assert row["breakpoint_lower"] == ends.loc["breakpoint", "lower"]
    assert row["located"] == fit.located and row["status"] == fit.status


def test_variants_prefer_the_law_that_made_the_points(simulated) -> None:
    for columns in ({}, {"se": 5e-4}):
        table = sf.fit_width_depth(simulated(**columns)).variants()
        assert table["aicc"].idxmin() == "line_plateau"
        assert table["weight"].sum() == pytest.approx(1.0)
    x = np.array([20.0, 36, 52, 74, 114])
    few = sf.fit_width_depth(pd.DataFrame({"width_depth_ratio": x, "limit": 0.05 + 1e-4 * x}))
    table = few.variants()
    assert np.isnan(table.loc["two_breaks", "log_likelihood"])
    assert table.loc["two_breaks", "weight"] == 0


def test_segment_regressions_and_robust_errors(simulated) -> None:
    fit = sf.fit_width_depth(simulated())
    segments = fit.segments()
    after = segments[(segments["segment"] == "after") & (segments["term"] == "slope")].iloc[0]
    assert after["lower"] < 0 < after["upper"]
    for cov_type in ("nonrobust", "HC3", "HAC"):
        assert (fit.wald(cov_type=cov_type)["std_error"] > 0).all()
    with pytest.raises(ArgumentError, match="cov_type"):
        fit.wald(cov_type="HC9")


@pytest.mark.parametrize("columns", [{}, {"se": 1e-3}])
def test_points_that_fall_are_no_rising_law(simulated, columns) -> None:
    table = simulated(**columns)
    table["limit"] = 0.14 - table["limit"]
    fit = sf.fit_width_depth(table, draws=199)
    assert not fit.located
    assert "the points do not rise with the ratio" in fit.status
    assert fit.slope == 0.0
    assert fit.plateau == pytest.approx(fit.predict(1.0), rel=1e-12)
    assert fit.break_test().p_value == 1.0
    ends = fit.conf_int()
    assert ends.loc["slope", "lower"] == 0.0
    assert np.isinf(ends.loc["breakpoint", ["lower", "upper"]].astype(float)).all()
    assert fit.saving(30.0).lower == 0.0
    json.dumps(fit.to_dict(), allow_nan=False)
    both = sf.fit_width_depth(table, sign="any", draws=199)
    assert both.located
    assert both.slope == pytest.approx(-3e-4, rel=0.1)
    assert both.sign == "any"


def test_the_sign_costs_a_clear_rise_nothing(simulated) -> None:
    rising, either = (sf.fit_width_depth(simulated(), sign=s, draws=199) for s in ("rising", "any"))
    pd.testing.assert_frame_equal(rising.conf_int(), either.conf_int())
    assert rising.break_test() == either.break_test()
    # Two lines take any slopes.
    assert sf.fit_width_depth(simulated(), model="line_line", draws=99).sign == "any"


def test_both_tests_of_no_break_are_there(simulated) -> None:
    fit = sf.fit_width_depth(simulated(), draws=199)
    average, largest = fit.break_test(), fit.break_test(over="sup")
    assert average.over == "exp"
    assert "exp-LR" in average.summary()
    assert "sup-F" in largest.summary()
    # F of the best break against the line: one more parameter, six degrees of freedom.
    x, y = fit.points.ratio, fit.points.value
    line = np.sum((y - np.polyval(np.polyfit(x, y, 1), x)) ** 2)
    assert largest.statistic == pytest.approx((line - fit.sigma**2 * 6) / fit.sigma**2)
    assert max(average.p_value, largest.p_value) <= 0.01
    with pytest.raises(ArgumentError, match="over"):
        fit.break_test(over="mean")


def test_wald_says_where_it_has_nothing_to_say() -> None:
    x = np.arange(1.0, 10.0)
    # A fall: the best rising fit is one level.
    with pytest.raises(FitError, match="no slope before its break"):
        sf.fit_width_depth(pd.DataFrame({"width_depth_ratio": x, "limit": 0.2 - 0.01 * x})).wald()


@pytest.mark.parametrize("make", [sf.fit_width_depth, fit_width_depth_bayes])
def test_what_is_no_number_is_a_typed_error(simulated, simulated_loss, make) -> None:
    fit = make(simulated(), draws=np.int64(400))
    for verb in (fit.saving, fit.band):
        for ratio in (float("nan"), "wide", [[1.0]]):
            with pytest.raises(ArgumentError, match="ratio"):
                verb(ratio)
    with pytest.raises(ArgumentError, match="ratio"):
        fit.predict("wide")
    for level in (float("nan"), 90):
        with pytest.raises(ArgumentError, match="level"):
            fit.recommend(simulated_loss.assign(se=1e-3), level=level)
    for tolerance in (float("nan"), "1%", -1.0):
        with pytest.raises(ArgumentError, match="tolerance"):
            fit.recommend(simulated_loss, tolerance=tolerance)
    with pytest.raises(ArgumentError, match="draws"):
        make(simulated(), draws=True)


@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        (["a", "b"], [1, 2], "x: expected numbers"),
        ([1, 2, 3, 4, 5], [1, 2], "y: expected 5 numbers, got 2"),
        (1.0, 2.0, "x: expected numbers in one dimension"),
        ([1, 2, 3, 4, float("nan")], [1, 2, 3, 4, 5], "x: entry 4 is not finite"),
    ],
)
def test_arrays_that_cannot_be_fitted_are_typed_errors(x, y, words) -> None:
    with pytest.raises(ArgumentError, match=words):
        fit_segmented(x, y)


@pytest.mark.parametrize("make", [sf.fit_width_depth, fit_width_depth_bayes])
def test_levels_are_not_rounded_in_words(simulated, make) -> None:
    fit = make(simulated(), draws=400)
    assert "97.5% interval" in fit.summary(0.975)
    assert "(97.5% interval)" in fit.placement(0.975).reason
