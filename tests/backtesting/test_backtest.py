from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.backtesting import (
    METHODS,
    Method,
    MethodForecast,
    register_method,
    registry,
    target_of,
    target_series,
    with_target,
)
from sparsefit.errors import ArgumentError, NothingToForecastError

FAST = ["last_value", "log_linear"]


def truth_plus(offset: float):
    """A method that knows the simulated falling law and misses it by `offset`."""

    def method(seen, tokens, rng):
        d = np.asarray(tokens) / 1e9
        curve = 0.07 + 0.03 * np.exp(-0.4 * (np.sqrt(d) - 1.0)) + offset
        draws = curve + 2e-4 * rng.normal(size=(2000, len(d)))
        return MethodForecast.from_draws(tokens, draws, curve_draws=draws)

    return method


def test_seen_is_the_first_rounded_share_and_never_the_future(make_run):
    run = make_run(points=25)
    lengths = []

    def spy(seen, tokens, rng):
        assert seen["tokens"].max() < tokens.min()
        assert len(seen) + len(tokens) == 25
        lengths.append(len(seen))
        return METHODS["log_linear"].function()(seen, tokens, rng)

    sf.backtest(run, {"spy": spy}, [0.3, 0.5, 0.7])
    assert lengths == [round(0.3 * 25), round(0.5 * 25), round(0.7 * 25)]


def test_a_method_cannot_change_what_the_next_one_sees(make_run):
    run = make_run()
    before = run.copy()

    def vandal(seen, tokens, rng):
        forecast = METHODS["log_linear"].function()(seen, np.array(tokens), rng)
        tokens[:] = 1.0
        seen.loc[:, "activation_ratio"] = 0.5
        return forecast

    def witness(seen, tokens, rng):
        return METHODS["log_linear"].function()(seen, tokens, rng)

    both = sf.backtest(run, {"vandal": vandal, "witness": witness})
    alone = sf.backtest(run, {"witness": witness})
    pd.testing.assert_frame_equal(run, before)
    assert both.table().set_index("method").loc["witness", "mae"] == pytest.approx(
        alone.table()["mae"].iloc[0]
    )


def test_averages_are_within_cell_then_series(two_runs):
    result = sf.backtest(two_runs, ["log_linear"])
    points = result.points
    by_hand = points.groupby(["run", "cut"])["abs_error"].mean().groupby("run").mean().mean()
    assert result.table()["mae"].iloc[0] == pytest.approx(by_hand)
    assert points["abs_error"].mean() != pytest.approx(by_hand)  # cells differ in size


def test_errors_are_in_percentage_points(make_run):
    result = sf.backtest(make_run(noise=0.0), {"off": truth_plus(0.001)})
    assert result.table()["mae"].iloc[0] == pytest.approx(0.1, rel=0.02)


def test_a_true_law_covers_and_a_shifted_one_does_not(make_run):
    runs = pd.concat([make_run(f"r{i}", seed=i) for i in range(8)], ignore_index=True)
    result = sf.backtest(runs, {"truth": truth_plus(0.0), "shifted": truth_plus(0.002)})
    table = result.table().set_index("method")
    assert 0.85 < table.loc["truth", "covered90"] < 0.95
    assert table.loc["truth", "covered90_lower"] < 0.9 < table.loc["truth", "covered90_upper"]
    assert table.loc["shifted", "covered90"] < 0.05
    verdict = result.differences("truth").set_index("method").loc["shifted"]
    assert verdict["verdict"] == "worse" and verdict["cells_worse"] == 1.0
    assert result.best() == "truth"
    curve = result.calibration().query("method == 'truth'")
    assert (np.abs(curve["covered"] - curve["level"]) < 0.12).all()


def test_two_series_never_suffice_to_call_a_method_better(two_runs):
    result = sf.backtest(two_runs, ["log_linear", "last_value"])
    assert set(result.differences("last_value")["verdict"]) == {"not shown"}


def test_budget_coverage_counts_bands_that_hold_the_true_crossing(make_run):
    run = make_run(noise=1e-6)
    result = sf.backtest(run, {"truth": truth_plus(0.0), "shifted": truth_plus(0.002)})
    budgets = result.table().set_index("method")["budget90"]
    assert budgets["truth"] == 1.0
    assert budgets["shifted"] == 0.0


def test_a_method_without_a_curve_has_no_budget_score(make_run):
    def plain(seen, tokens, rng):
        return MethodForecast.from_draws(tokens, 0.08 + 0.01 * rng.normal(size=(99, len(tokens))))

    assert np.isnan(sf.backtest(make_run(), [plain]).table()["budget90"].iloc[0])


def test_buckets_follow_the_horizon(make_run):
    points = sf.backtest(make_run(), ["last_value"], [0.3]).points
    ends = {"1-1.25": (1, 1.25), "1.25-1.6": (1.25, 1.6), "1.6-2.2": (1.6, 2.2), ">2.2": (2.2, 9)}
    for _, row in points.iterrows():
        low, high = ends[row["bucket"]]
        assert low < row["horizon"] <= high


def test_same_seed_same_result_whatever_order_or_jobs(two_runs):
    first = sf.backtest(two_runs, FAST, [0.3, 0.6], rng=4)
    reversed_ = sf.backtest(two_runs, FAST[::-1], [0.6, 0.3], rng=4)
    parallel = sf.backtest(two_runs, FAST, [0.3, 0.6], rng=4, jobs=2)
    key = ["method", "run", "cut", "tokens"]
    expected = first.points.sort_values(key).reset_index(drop=True)
    for other in (reversed_, parallel):
        got = other.points.sort_values(key).reset_index(drop=True)
        pd.testing.assert_frame_equal(got, expected)
    assert not sf.backtest(two_runs, FAST, [0.3, 0.6], rng=5).points.equals(first.points)


def test_progress_counts_every_forecast(two_runs):
    told = []
    result = sf.backtest(
        two_runs, ["last_value"], progress=lambda done, total: told.append((done, total))
    )
    assert told == [(done, len(result.cells)) for done in range(1, len(result.cells) + 1)]


def test_a_lambda_in_two_processes_is_a_typed_error(make_run):
    with pytest.raises(ArgumentError, match="jobs=1"):
        sf.backtest(make_run(), {"mine": lambda s, t, r: None}, jobs=2)


def test_a_failing_method_is_recorded_and_left_out_of_the_best(make_run):
    def breaks(seen, tokens, rng):
        raise ZeroDivisionError("no luck")

    def confused(seen, tokens, rng):
        return np.zeros(len(tokens))

    result = sf.backtest(
        make_run(), {"breaks": breaks, "confused": confused, "truth": truth_plus(0.0)}
    )
    table = result.table().set_index("method")
    assert table.loc["breaks", "failed"] == 3 and np.isnan(table.loc["breaks", "mae"])
    assert "no luck" in result.summary() and "not a MethodForecast" in result.summary()
    assert result.best() == "truth"
    with pytest.raises(ZeroDivisionError):
        sf.backtest(make_run(), {"breaks": breaks}, on_error="raise")


def test_unusable_rows_and_short_runs_are_listed_not_lost(make_run):
    run = make_run("long")
    run["status"] = "ok"
    run.loc[3, "status"] = "failed"
    short = make_run("short", points=8)
    short["status"] = "ok"
    result = sf.backtest(pd.concat([run, short], ignore_index=True), ["last_value"], [0.5])
    reasons = {item.run: item.reason for item in result.skipped}
    assert "1 row" in reasons["long"]
    assert "fewer than" in reasons["short"]
    assert "skipped: short" in result.summary()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["lm_multistrat"]}, "Did you mean 'lm_multistart'"),
        ({"methods": []}, "empty"),
        ({"methods": ["last_value", "last_value"]}, "more than once"),
        ({"cuts": [0.0]}, "inside"),
        ({"cuts": [0.5, 0.5]}, "more than once"),
        ({"cuts": 0.5}, "a list of shares"),
        ({"cuts": None}, "a list of shares"),
        ({"cuts": ["half"]}, "a list of shares"),
        ({"jobs": 0}, "jobs"),
        ({"scheme": "random"}, "scheme"),
        ({"others": "larger"}, "others"),
        ({"methods": ["last_value"], "scheme": "leave-one-run-out"}, "last_value"),
        ({"min_seen": 40}, "nothing to forecast"),
    ],
)
def test_wrong_arguments_are_named(change, message, make_run):
    with pytest.raises(ArgumentError, match=message) as error:
        sf.backtest(make_run(), **{"methods": FAST, **change})
    # Callers tell runs that are too short from wrong arguments by the class.
    assert isinstance(error.value, NothingToForecastError) == ("min_seen" in change)


def test_an_error_that_speaks_of_forecasts_is_not_taken_for_too_short_runs(make_run):
    """A wrong argument whose message holds the words is raised, not turned into a weight of 1."""
    with pytest.raises(ArgumentError, match="no method is called 'nothing to forecast'"):
        sf.forecast_best(make_run(), ["nothing to forecast", "fit"])
    with pytest.raises(ArgumentError, match="nothing to forecast"):
        sf.forecast_best(make_run(), FAST, cuts=["nothing to forecast"])


def test_pooled_methods_see_smaller_runs_only(make_run):
    runs = pd.concat(
        [make_run(name, n_params=n) for name, n in (("s", 1e7), ("m", 1e8), ("l", 1e9))],
        ignore_index=True,
    )
    saw = {}

    def pooled(seen, tokens, rng):
        target = target_of(seen)["run"]
        own = seen[seen["run"] == target]
        assert len(own) == 0 or own["tokens"].max() < tokens.min()
        saw[target] = set(seen["run"]) - {target}
        draws = 0.08 + 0.01 * rng.normal(size=(200, len(tokens)))
        return MethodForecast.from_draws(tokens, draws)

    method = Method("mine", pooled, pooled=True)
    sf.backtest(runs, [method], [0.5])
    assert saw == {"s": set(), "m": {"s"}, "l": {"s", "m"}}
    sf.backtest(runs, [method], [0.5], others="all")
    assert saw["s"] == {"m", "l"}
    left_out = sf.backtest(runs, [method], scheme="leave-one-run-out", others="all")
    assert set(left_out.points["bucket"]) == {"unseen run"}
    assert len(left_out.points) == len(runs)
    unknown = sf.backtest(runs.drop(columns="n_params"), [method], [0.5])
    assert saw["l"] == set()
    assert unknown.cells["note"].str.contains("n_params").all()


@pytest.mark.parametrize("as_mapping", [False, True], ids=["list", "mapping"])
def test_a_function_marked_as_pooled_is_shown_the_other_runs(make_run, as_mapping):
    runs = pd.concat([make_run("s", n_params=1e7), make_run("l", n_params=1e9)], ignore_index=True)
    saw = {}

    def mine(seen, tokens, rng):
        saw[target_of(seen)["run"]] = set(seen["run"])
        return MethodForecast.from_draws(tokens, np.full((2, len(tokens)), 0.1))

    mine.pooled = True
    sf.backtest(runs, {"other name": mine} if as_mapping else [mine], [0.5])
    assert saw == {"s": {"s"}, "l": {"s", "l"}}


def test_a_mapping_renames_methods_that_ship(make_run):
    found = sf.backtest(make_run(), {"plain": "last_value", "ours": METHODS["log_linear"]}, [0.5])
    assert list(found.cells["method"]) == ["plain", "ours"]
    with pytest.raises(ArgumentError, match="no method is called 'last_valu'"):
        sf.backtest(make_run(), {"plain": "last_valu"}, [0.5])


def test_a_table_of_several_runs_must_name_its_target(two_runs):
    with pytest.raises(ArgumentError, match="which to forecast"):
        target_series(two_runs)
    marked = with_target(two_runs, "rising")
    assert target_of(marked)["n_params"] == 2e8
    assert target_series(marked).values[-1] > 0.3


def test_runs_named_by_numbers_are_runs_like_others(make_run):
    run = make_run().assign(run=7)
    assert list(sf.backtest(run, ["last_value"], [0.5]).cells["run"]) == ["7"]
    assert np.isfinite(sf.forecast_best(run, FAST).forecast([5e10])["median"]).all()
    assert run["run"].iloc[0] == 7


def test_registered_names_are_taken_once():
    with pytest.raises(ArgumentError, match="registered already"):
        register_method("last_value", "x:y")


def test_without_names_all_that_are_registered_are_scored(monkeypatch):
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    before = tuple(registry.METHODS)
    assert tuple(method.name for method in registry.resolve(None)) == before
    register_method("mine", "sparsefit.backtesting.methods_simple:last_value")
    assert tuple(method.name for method in registry.resolve(None)) == (*before, "mine")


def test_forecasts_refuse_wrong_shapes_and_values():
    tokens = np.array([1.0, 2.0])
    with pytest.raises(ArgumentError, match="columns"):
        MethodForecast.from_draws(tokens, np.zeros((10, 3)))
    with pytest.raises(ArgumentError, match="not finite"):
        MethodForecast.from_draws(tokens, np.full((10, 2), np.nan))
    with pytest.raises(ArgumentError, match="decrease"):
        MethodForecast.from_quantiles(tokens, [0.1, 0.9], [[1.0, 1.0], [0.0, 2.0]])
    with pytest.raises(ArgumentError, match="increase"):
        MethodForecast.from_quantiles(tokens, [0.9, 0.1], [[1.0, 1.0], [2.0, 2.0]])


def test_quantile_forecasts_are_scored_like_draws(make_run):
    from scipy.stats import norm

    levels = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])

    def as_quantiles(seen, tokens, rng):
        curve = 0.07 + 0.03 * np.exp(-0.4 * (np.sqrt(tokens / 1e9) - 1.0))
        return MethodForecast.from_quantiles(
            tokens, levels, curve + 2e-4 * norm.ppf(levels)[:, None]
        )

    result = sf.backtest(make_run(), {"quantiles": as_quantiles, "draws": truth_plus(0.0)})
    crps = result.table().set_index("method")["crps"]
    assert crps["quantiles"] == pytest.approx(crps["draws"], rel=0.05)


def test_only_the_runs_asked_for_are_forecast_and_pooled_methods_still_see_the_others(two_runs):
    shown = []

    def spy(seen, tokens, rng):
        shown.append((target_of(seen)["run"], frozenset(seen["run"])))
        return METHODS["log_linear"].function()(seen[seen["run"] == "rising"], tokens, rng)

    methods = [Method("spy", spy, pooled=True), METHODS["log_linear"]]
    some = sf.backtest(two_runs, methods, runs="rising", others="all")
    assert set(shown) == {("rising", frozenset({"falling", "rising"}))}
    assert set(some.points["run"]) == {"rising"}
    whole = sf.backtest(two_runs, ["log_linear"]).points
    pd.testing.assert_frame_equal(
        some.points[some.points["method"] == "log_linear"].reset_index(drop=True),
        whole[whole["run"] == "rising"].reset_index(drop=True),
    )


@pytest.mark.parametrize(
    ("runs", "message"),
    [("sideways", "'sideways'; there are falling, rising"), ([], "no run is named")],
)
def test_runs_that_are_not_there_are_named(runs, message, two_runs):
    with pytest.raises(ArgumentError, match=message):
        sf.backtest(two_runs, ["last_value"], runs=runs)


@pytest.mark.parametrize("rng", [-1, 1.5, True, "0"])
def test_what_is_no_seed_is_refused(rng, two_runs):
    with pytest.raises(ArgumentError, match="rng must be a seed"):
        sf.backtest(two_runs, ["last_value"], rng=rng)
