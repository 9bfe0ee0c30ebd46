from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sparsefit as sf
from sparsefit.backtesting import METHODS, MethodForecast
from sparsefit.backtesting.choice import default_candidates, inner_backtest
from sparsefit.backtesting.registry import resolve
from sparsefit.backtesting.scores import crps
from sparsefit.backtesting.stacking import mix, mixture_terms, stacking_weights
from sparsefit.errors import ArgumentError, TableError

PEERS = ["log_linear", "lm_multistart", "last_value"]


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_mixture_terms_give_the_crps_of_the_mixture(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.normal(size=(40, 3)), 1.0 + 0.5 * rng.normal(size=(40, 3))
    observed = rng.normal(size=3)
    distance, spread = mixture_terms([first, second], observed)
    for weight in (0.0, 0.5, 1.0):
        w = np.array([weight, 1 - weight])
        # Equal sample sizes: repeating rows makes the mixture exactly.
        rows = np.concatenate(
            [np.repeat(first, round(2 * weight), 0), np.repeat(second, round(2 - 2 * weight), 0)]
        )
        expected = crps(rows, observed).mean()
        assert w @ distance - 0.5 * w @ spread @ w == pytest.approx(expected, abs=1e-9)


def test_weights_go_to_the_better_method_as_evidence_grows():
    rng = np.random.default_rng(0)
    good, bad = rng.normal(size=(100, 20)), 3.0 + rng.normal(size=(100, 20))
    distance, spread = mixture_terms([good, bad], rng.normal(size=20))
    shares = []
    for cells in (1, 5, 50):
        weights = stacking_weights(np.tile(distance, (cells, 1)), np.tile(spread, (cells, 1, 1)))
        assert weights.sum() == pytest.approx(1.0) and (weights >= 0).all()
        shares.append(weights[0])
    assert 0.5 < shares[0] < shares[1] < shares[2]
    assert shares[2] > 0.9


def test_thin_evidence_leaves_the_prior():
    d, s = np.ones((1, 2)), np.zeros((1, 2, 2))
    for prior in ([0.5, 0.5], [0.8, 0.2]):
        np.testing.assert_allclose(stacking_weights(d, s, prior=np.array(prior)), prior, atol=1e-6)
    d = np.tile([[1.0, 2.0]], (60, 1))
    assert stacking_weights(d, np.zeros((60, 2, 2)), prior=np.array([0.2, 0.8]))[0] > 0.99


def test_draws_outside_the_physical_range_take_no_part(make_run):
    def wild(seen, tokens, rng):
        level = rng.standard_cauchy(size=(500, 1))
        return MethodForecast.from_draws(tokens, 0.08 + level * np.ones(len(tokens)))

    def hopeless(seen, tokens, rng):
        return MethodForecast.from_draws(tokens, np.full((100, len(tokens)), -3.0))

    for method in (wild, hopeless):
        table = sf.forecast_best(make_run(), [method]).forecast([5e10])
        assert (table[["obs_lower", "median", "obs_upper"]] > 0).all(axis=None)
        assert (table[["obs_lower", "median", "obs_upper"]] <= 1).all(axis=None)


def test_weights_do_not_depend_on_a_cells_scale():
    rng = np.random.default_rng(1)
    samples = [rng.normal(size=(50, 5)), 0.5 + rng.normal(size=(50, 5))]
    observed = rng.normal(size=5)
    d, s = mixture_terms(samples, observed)
    big_d, big_s = mixture_terms([100 * x for x in samples], 100 * observed)
    np.testing.assert_allclose(
        stacking_weights(d[None], s[None]), stacking_weights(big_d[None], big_s[None]), atol=1e-6
    )


@settings(max_examples=50)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=5), st.integers(0, 99))
def test_mix_allots_draws_by_weight(raw, seed):
    weights = np.array(raw) / sum(raw)
    samples = [np.full((10, 2), float(i)) for i in range(len(raw))]
    draws = mix(samples, weights, 1000, np.random.default_rng(seed))
    assert draws.shape == (1000, 2)
    counts = np.array([(draws[:, 0] == i).sum() for i in range(len(raw))])
    assert (np.abs(counts - 1000 * weights) <= 1.0 + 1e-9).all()


def test_choice_never_looks_beyond_the_table_given(make_run):
    run = make_run()
    latest = []

    def spy(seen, tokens, rng):
        latest.append(tokens.max())
        return METHODS["log_linear"].function()(seen, tokens, rng)

    seen = run.iloc[:15]
    sf.forecast_best(seen, {"spy": spy, "last": METHODS["last_value"].function()})
    assert max(latest) <= seen["tokens"].max()


def test_best_as_a_method_sees_only_the_seen_points(make_run):
    run = make_run()
    changed = run.copy()
    changed.loc[15:, "activation_ratio"] = 0.5
    same = [
        sf.backtest(table, ["best"], [0.5]).points["median"].to_numpy() for table in (run, changed)
    ]
    np.testing.assert_array_equal(*same)


def test_the_law_that_holds_gets_the_weight_and_the_reason_says_so(make_run):
    found = sf.forecast_best(make_run(points=40, noise=5e-5), PEERS)
    assert found.method == "lm_multistart"
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.why.startswith("lm_multistart leads")
    assert "cannot show which is better" in found.why  # one series proves nothing
    assert found.why in found.summary() and "<table>" in found._repr_html_()


def test_forecast_has_the_columns_of_a_fit_and_ordered_ends(make_run):
    found = sf.forecast_best(make_run(), PEERS)
    table = found.forecast([4e10, 8e10])
    assert list(table.columns) == [
        "tokens", "mean", "median", "curve_lower", "curve_upper", "obs_lower", "obs_upper",
    ]  # fmt: skip
    assert (table["obs_lower"] < table["median"]).all()
    assert (table["median"] < table["obs_upper"]).all()
    wider = found.forecast([4e10, 8e10], level=0.98)
    assert (wider["obs_lower"] < table["obs_lower"]).all()
    pd.testing.assert_frame_equal(found.forecast([4e10, 8e10]), table)
    with pytest.raises(ArgumentError, match="in billions"):
        found.forecast([40.0])


def test_several_runs_share_their_evidence_and_get_a_run_column(two_runs):
    found = sf.forecast_best(two_runs, PEERS)
    table = found.forecast([5e10])
    assert list(table["run"]) == ["falling", "rising"]
    assert table["median"].iloc[0] < 0.1 < 0.3 < table["median"].iloc[1]
    with pytest.raises(ArgumentError, match="which to forecast"):
        found.predictive([5e10])


def test_a_run_too_short_to_test_uses_the_first_candidate_and_says_so(make_run):
    found = sf.forecast_best(make_run(points=6), PEERS)
    assert found.backtest is None
    assert dict(found.weights) == {"log_linear": 1.0, "lm_multistart": 0.0, "last_value": 0.0}
    assert "too short" in found.why and "log_linear" in found.why
    assert len(found.tidy()) == 3


def test_a_failing_candidate_gets_no_weight(make_run):
    def breaks(seen, tokens, rng):
        raise ValueError("no")

    peers = {name: METHODS[name].function() for name in PEERS}
    found = sf.forecast_best(make_run("mine"), {**peers, "breaks": breaks})
    assert found.weights["breaks"] == 0.0
    assert "Without weight, as it failed: breaks on mine at 0.3: ValueError: no" in found.why
    with pytest.raises(ArgumentError, match=r"every cell: breaks on mine at 0\.3: ValueError: no"):
        sf.forecast_best(make_run("mine"), [breaks])
    assert np.isfinite(found.forecast([5e10])["median"]).all()


def test_a_candidate_without_a_curve_leaves_the_band_missing(make_run):
    def plain(seen, tokens, rng):
        return MethodForecast.from_draws(tokens, 0.08 + 0.001 * rng.normal(size=(99, len(tokens))))

    table = sf.forecast_best(make_run(), [plain]).forecast([5e10])
    assert table[["curve_lower", "curve_upper"]].isna().all(axis=None)


@pytest.mark.parametrize("tokens", [[0.0], [-1.0], [np.nan], [np.inf]])
def test_bad_tokens_are_named(tokens, make_run):
    with pytest.raises(ArgumentError, match="tokens"):
        sf.forecast_best(make_run(), ["log_linear"]).forecast(tokens)


def test_a_bad_level_is_named(make_run):
    with pytest.raises(ArgumentError, match="level"):
        sf.forecast_best(make_run(), ["log_linear"]).forecast([5e10], level=90)


def sized_runs(make_run, count: int = 3) -> pd.DataFrame:
    runs = [
        make_run(f"r{i}", seed=i, points=14, n_params=1e8 * 3**i, limit=0.07 + 0.002 * i)
        for i in range(count)
    ]
    return pd.concat(runs, ignore_index=True)


def test_pooling_is_a_candidate_where_several_sizes_are_known(make_run):
    table = sized_runs(make_run)
    pooled = "fit_bayes_pooled"
    # Seeds of one size tell of each other as well.
    for known in (table, table.assign(n_params=1e8)):
        assert pooled in [method.name for method in default_candidates(known)]
    for without in (table[table["run"] == "r0"], table.drop(columns="n_params")):
        assert pooled not in [method.name for method in default_candidates(without)]


def test_pooling_is_scored_with_the_other_runs_in_full_but_not_with_a_run_that_has_begun(
    make_run,
):
    """The smallest run tells what pooling is worth too, and its scores stay as the target grows."""
    table = sized_runs(make_run)
    chosen = resolve(["log_linear", "fit_bayes_pooled"])
    scores = []
    for seen in (8, 11):
        begun = table[(table["run"] != "r2") | (table["tokens"] <= seen * 1e9)]
        inner = inner_backtest(begun, chosen, (0.6,), 6, 0, 1, "r2")
        assert not inner.cells["fallback"].notna().any()
        points = inner.points
        scores.append(points[points["run"] != "r2"].reset_index(drop=True))
    pd.testing.assert_frame_equal(*scores)


@pytest.mark.parametrize("column", ["run", "tokens", "activation_ratio"])
def test_a_missing_column_is_named(column, make_run):
    with pytest.raises(TableError, match=f"column '{column}': the required column is missing"):
        sf.forecast_best(make_run().drop(columns=column))


@pytest.mark.parametrize("call", [sf.forecast_best, sf.backtest])
def test_faulty_tables_are_refused_with_what_to_do(call, make_run):
    percent = make_run().assign(activation_ratio=lambda t: 100 * t["activation_ratio"])
    with pytest.raises(TableError, match="fraction"):
        call(percent, ["last_value"])
    billions = make_run().assign(tokens=lambda t: t["tokens"] / 1e9)
    with pytest.raises(TableError, match="raw count"):
        call(billions, ["last_value"])
    with pytest.raises(TableError, match="stands in row 0 already"):
        call(pd.concat([make_run(), make_run()]), ["last_value"])


def test_the_band_for_a_measurement_holds_the_band_for_the_curve(make_run):
    table = pd.concat([make_run("a"), make_run("b", seed=3)])
    found = sf.forecast_best(table, ["fit", "lm_multistart"]).forecast([6e10, 1e11, 3e11])
    assert (found["obs_lower"] <= found["curve_lower"]).all()
    assert (found["obs_upper"] >= found["curve_upper"]).all()
    assert found["median"].between(found["curve_lower"], found["curve_upper"]).all()


@pytest.mark.parametrize("points", [3, 4])
def test_a_run_that_has_hardly_begun_gets_no_band_without_width(points, make_run):
    table = pd.concat([make_run("long"), make_run("short", points=points, seed=3)])
    found = sf.forecast_best(table, ["fit", "log_linear"])
    short = found.forecast([1e11]).set_index("run").loc["short"]
    assert short["obs_upper"] - short["obs_lower"] > 1e-3
    assert "Fewer than 6 points of short" in found.why
