"""Budgets and notes of a stacked forecast."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.backtesting import METHODS, BestForecast, MethodForecast
from sparsefit.backtesting.crossings import LEVELS, Curve, crossings, scatter
from sparsefit.backtesting.mixture import gathered
from sparsefit.backtesting.registry import resolve
from sparsefit.errors import ArgumentError, FitError
from sparsefit.estimation.notes import Note, kind_of

PEERS = ["log_linear", "lm_multistart", "last_value"]


def stacked(table: pd.DataFrame, methods, weights=None) -> BestForecast:
    """A stacked forecast with the weights given, without the backtest behind it."""
    chosen = resolve(methods)
    names = pd.Index([method.name for method in chosen], name="method")
    share = np.full(len(chosen), 1.0 / len(chosen)) if weights is None else weights
    return BestForecast(
        pd.Series(share, index=names, name="weight"), None, "as given", table, chosen, 0
    )


def answering(values, spread=1e-4):
    """A method whose curve takes `values` (a function of tokens), with normal draws."""

    def method(seen, tokens, rng):
        curve = values(tokens) + spread * rng.normal(size=(500, 1))
        return MethodForecast.from_draws(tokens, curve, curve_draws=curve)

    return method


def test_crossings_are_those_of_each_draw_where_draws_move_one_way():
    rng = np.random.default_rng(0)
    tokens = np.geomspace(1e9, 1e11, 300)
    rate, limit = rng.uniform(0.3, 0.6, 4000), rng.uniform(0.05, 0.07, 4000)
    draws = limit[:, None] + 0.05 * (tokens / 1e9) ** -rate[:, None]
    exact = 1e9 * (np.maximum(0.068 - limit, 1e-9) / 0.05) ** (-1.0 / rate)
    exact[exact > 1e11] = np.inf
    curve = Curve.of_draws(tokens, draws)
    found = crossings(curve, lambda: pytest.fail("nothing is met in the data"), 0.068, False)
    assert found.size == LEVELS.size
    for share in (0.05, 0.2, 0.4):
        assert np.quantile(found, share) == pytest.approx(np.quantile(exact, share), rel=0.03)
    assert np.isfinite(found).mean() == pytest.approx(np.isfinite(exact).mean(), abs=0.005)


def test_what_is_met_by_now_is_dated_by_the_curve_within_the_data():
    ahead = Curve(np.array([1e10, 1e11]), np.linspace([0.070, 0.070], [0.080, 0.080], LEVELS.size))
    within = Curve(np.array([1e9, 1e10]), np.linspace([0.100, 0.069], [0.102, 0.071], LEVELS.size))
    found = crossings(ahead, lambda: within, 0.075, False)
    assert np.isfinite(found).mean() == pytest.approx(0.5, abs=0.01)
    assert ((found[np.isfinite(found)] > 1e9) & (found[np.isfinite(found)] < 1e10)).all()
    # Met before the first point: a date just below it.
    early = crossings(ahead, lambda: within, 0.11, False)
    assert early.max() < 1e9 and early.max() == pytest.approx(1e9)


def test_scatter_is_the_noise_about_a_smooth_curve():
    rng = np.random.default_rng(1)
    tokens = np.geomspace(1e9, 1e11, 400)
    values = 0.1 * (tokens / 1e9) ** -0.2 + 3e-4 * rng.normal(size=400)
    assert scatter(tokens, values) == pytest.approx(3e-4, rel=0.15)


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_the_interval_is_the_band_read_sideways(make_run, level):
    found = stacked(make_run(points=20), ["lm_multistart", "log_linear"])
    budget = found.tokens_to(0.0765, level=level)
    assert budget.status == "reachable" and budget.level == level
    row = found.forecast([budget.lower, budget.estimate, budget.upper], level=level)
    for at, column in enumerate(("curve_lower", "median", "curve_upper")):
        assert row[column][at] == pytest.approx(0.0765, abs=1e-4)


def test_true_crossings_lie_in_the_interval(make_run):
    """Of 30 simulated runs; the law's crossing is known, and lies beyond the points."""
    covered = []
    for seed in range(30):
        run = make_run(seed=seed, noise=5e-4, points=16)
        target = 0.07 + 0.03 * np.exp(-0.4 * (24.0**0.5 - 1.0))
        budget = stacked(run, ["lm_multistart", "log_linear"], [0.8, 0.2]).tokens_to(target)
        covered.append(budget.lower <= 24e9 <= budget.upper)
    assert np.mean(covered) >= 0.75


def test_one_run_gives_a_budget_and_several_the_table_of_fits(two_runs):
    found = stacked(two_runs, PEERS)
    table = found.tokens_to(sparsity=0.9)
    fits = sf.fit(two_runs).tokens_to(sparsity=0.9)
    assert list(table.columns) == list(fits.columns)
    assert list(table["run"]) == ["falling", "rising"]
    assert set(table["status"]) <= {"reached", "reachable", "unreachable", "undetermined"}
    one = found.tokens_to(sparsity=0.9, run="falling")
    assert isinstance(one, sf.Budget)
    assert one.estimate == table["estimate"][0]
    alone = stacked(two_runs[two_runs["run"] == "falling"], PEERS)
    assert isinstance(alone.tokens_to(0.08), sf.Budget)


def test_each_status_is_met(make_run):
    run = make_run(points=20)
    found = stacked(run, ["lm_multistart"])
    assert found.tokens_to(0.2).status == "reached"
    assert "before the first checkpoint" in found.tokens_to(0.2).sentence
    reached = found.tokens_to(0.09)
    assert reached.status == "reached" and "within the data" in reached.sentence
    assert found.tokens_to(0.0765).status == "reachable"
    never = found.tokens_to(0.05)
    assert never.status == "unreachable" and never.until == 2e11
    assert (
        never.sentence
        == "Activation ratio 0.05 is not reached by 200B tokens in 100% of the draws."
    )
    assert "after 200B" in repr(never)
    open_end = stacked(run, {"a": answering(lambda t: 0.075 - 0 * t, 1e-2)}).tokens_to(0.073)
    assert open_end.status == "undetermined" and np.isinf(open_end.upper)
    assert "whether it is reached by 200B tokens" in open_end.sentence


@pytest.mark.parametrize("methods", [["lm_multistart", "last_value"], ["last_value"]])
def test_the_past_is_not_dated_by_methods_that_only_look_ahead(make_run, methods):
    """`last_value` repeats the last value in the data: by it, any target was met before them."""
    found = stacked(make_run(), methods)
    target = 0.07 + 0.03 * np.exp(-0.4 * (10.0**0.5 - 1.0))
    budget = found.tokens_to(float(target))
    assert budget.status == "reached"
    assert budget.estimate == pytest.approx(10e9, rel=0.1)
    assert budget.lower < 10.2e9 and 9.8e9 < budget.upper <= 30e9


def test_a_method_that_refuses_what_it_has_seen_does_not_stop_the_budget(make_run):
    def picky(seen, tokens, rng):
        if (tokens < seen["tokens"].max()).any():
            raise ValueError("that is no forecast")
        return METHODS["log_linear"].function()(seen, tokens, rng)

    budget = stacked(make_run(), {"picky": picky}).tokens_to(0.08)
    assert budget.status == "reached" and 5e9 < budget.estimate < 30e9


def test_sparsity_that_a_rising_run_left_behind_is_not_reached(two_runs):
    found = stacked(two_runs[two_runs["run"] == "rising"], PEERS)
    assert found.tokens_to(sparsity=0.9).status == "unreachable"
    assert found.tokens_to(activation_ratio=0.1).status == "reached"
    assert found.tokens_to(sparsity=0.65).status == "reached"


def test_the_direction_is_that_of_the_points_and_the_forecast(two_runs):
    wrong = two_runs[two_runs["run"] == "rising"].assign(activation="relu")
    assert stacked(wrong, ["log_linear"]).tokens_to(0.385).status == "reachable"


def test_a_law_that_goes_against_the_points_gives_no_answer_where_it_has_the_weight(two_runs):
    wrong = two_runs[two_runs["run"] == "rising"].assign(activation="relu")
    for weights, misfit in (([0.8, 0.2], True), ([0.2, 0.8], False)):
        budget = stacked(wrong, ["fit", "log_linear"], weights).tokens_to(0.385)
        assert budget.misfit is misfit
    assert "misfit" in set(stacked(wrong, ["fit", "log_linear"]).notes["kind"])


def test_methods_without_a_curve_or_without_spread_are_refused_with_what_to_do(make_run):
    def measured(seen, tokens, rng):
        return MethodForecast.from_draws(tokens, 0.08 + 1e-3 * rng.normal(size=(99, len(tokens))))

    def certain(seen, tokens, rng):
        point = np.full((2, len(tokens)), 0.08)
        return MethodForecast.from_draws(tokens, point, curve_draws=point)

    def quantiles(seen, tokens, rng):
        drawn = METHODS["lm_multistart"].function()(seen, tokens, rng)
        levels = np.linspace(0.01, 0.99, 99)
        return MethodForecast.from_quantiles(
            tokens,
            levels,
            drawn.observation.quantile(levels),
            curve_quantiles=drawn.curve.quantile(levels),
        )

    run = make_run(points=20)
    for method, said in ((measured, "new measurements only"), (certain, "points without spread")):
        with pytest.raises(ArgumentError, match=said) as caught:
            stacked(run, [method, "log_linear"]).tokens_to(0.075)
        assert method.__name__ in str(caught.value) and "curve_draws" in str(caught.value)
    by_quantiles = stacked(run, [quantiles]).tokens_to(0.0745)
    assert by_quantiles.estimate == pytest.approx(
        stacked(run, ["lm_multistart"]).tokens_to(0.0745).estimate, rel=0.02
    )


def test_until_says_how_far_to_look(make_run):
    found = stacked(make_run(points=20), {"a": answering(lambda t: 0.1 - 0.005 * np.log(t / 1e9))})
    assert found.tokens_to(0.07).upper == np.inf
    far = found.tokens_to(0.07, until=1e12)
    assert far.until == 1e12 and far.estimate == pytest.approx(1e9 * np.exp(6.0), rel=0.02)
    for until in (1e10, 20e9, -1.0, np.nan):
        with pytest.raises(ArgumentError, match="until"):
            found.tokens_to(0.07, until=until)


def test_wrong_targets_are_named(make_run):
    found = stacked(make_run(), ["log_linear"])
    with pytest.raises(ArgumentError, match=r"sf\.fit"):
        found.tokens_to(loss=2.0)
    with pytest.raises(ArgumentError, match="exactly one"):
        found.tokens_to()
    with pytest.raises(ArgumentError, match="fraction"):
        found.tokens_to(sparsity=93)
    with pytest.raises(ArgumentError, match="level"):
        found.tokens_to(0.08, level=90)
    with pytest.raises(ArgumentError, match="nobody"):
        found.tokens_to(0.08, run="nobody")


def test_a_further_target_needs_no_further_forecast(make_run):
    calls = []

    def spy(seen, tokens, rng):
        calls.append(len(tokens))
        return METHODS["log_linear"].function()(seen, tokens, rng)

    found = stacked(make_run(), {"spy": spy})
    found.tokens_to(0.0745)
    before = len(calls)
    found.tokens_to(0.0735)
    assert len(calls) == before


def test_budgets_leave_the_result_picklable(two_runs):
    found = stacked(two_runs, PEERS)
    before = found.tokens_to(0.08)
    pd.testing.assert_frame_equal(pickle.loads(pickle.dumps(found)).tokens_to(0.08), before)


def test_notes_name_their_methods_once_and_keep_their_kind():
    notes = {
        "fit": (Note("it speeds up", "speeds up"), Note("few", "few draws")),
        "bayes": (Note("it speeds up", "speeds up"), "plain"),
        "line": (),
    }
    found = gathered(notes)
    assert found == ("fit, bayes: it speeds up", "fit: few", "bayes: plain")
    assert [kind_of(note) for note in found] == ["speeds up", "few draws", "other"]


def test_notes_of_the_fits_are_carried(make_run):
    late = make_run()
    late.loc[:3, "activation_ratio"] -= 0.02
    own = sf.fit(late).notes
    assert own
    found = stacked(late, ["fit", "log_linear"])
    assert [str(note) for note in found.predictive([6e10]).notes] == [f"fit: {n}" for n in own]
    table = found.notes
    assert list(table.columns) == ["run", "kind", "note"]
    assert list(table["kind"]) == [kind_of(note) for note in own]
    cells = sf.backtest(late, ["best"], [0.7]).cells
    assert "weights: " in cells["note"][0] and "fit: " in cells["note"][0]


def test_methods_that_had_to_be_replaced_are_noted(make_run):
    run = make_run().head(4)
    found = stacked(run, ["fit", "lm_multistart"])
    (note,) = found.notes["note"]
    assert note == found.predictive([6e10]).fallback
    assert "4 points cannot determine 4 parameters; log_linear used; fit: run " in note


def test_rows_without_a_value_take_no_part_and_are_noted(make_run):
    run = make_run().assign(status="ok")
    broken = run.copy()
    broken.loc[[7, 29], ["activation_ratio", "status"]] = [np.nan, "failed"]
    found, without = stacked(broken, PEERS), stacked(run.drop(index=[7, 29]), PEERS)
    pd.testing.assert_frame_equal(found.forecast([6e10]), without.forecast([6e10]))
    assert found.predictive([6e10]).fallback is None
    assert found.tokens_to(0.0745).tokens_seen == 29e9
    assert "2 rows have no value (failed measurements)" in found.notes["note"][0]
    one = stacked(broken.drop(index=29), PEERS).notes["note"][0]
    assert one == "1 row has no value (failed measurement) and took no part"
    marked = run.assign(status=np.where(run.index == 7, "failed", "ok"))
    one = stacked(marked, PEERS).notes["note"][0]
    assert one == "1 row has a value of activation_ratio but the status 'failed' and took no part"
    assert list(found.points_table()["role"].value_counts()) == [28, 2]


def test_a_run_without_any_value_is_named(make_run):
    empty = make_run("empty").assign(activation_ratio=np.nan, status="failed")
    table = pd.concat([make_run("good").assign(status="ok"), empty], ignore_index=True)
    found = stacked(table, PEERS)
    assert found.runs == ("good", "empty")
    with pytest.raises(FitError, match="'empty': no row has a value"):
        found.predictive([6e10], "empty")


def test_a_run_that_no_method_can_forecast_does_not_stop_the_others(make_run):
    begun = make_run("begun").head(2)
    table = pd.concat([begun, make_run("good"), make_run("fair")], ignore_index=True)
    found = stacked(table, PEERS[:2])
    assert list(found.left_out) == ["begun"]
    assert "run 'begun' has no forecast: log_linear: " in found.left_out["begun"]
    assert list(found.forecast([6e10])["run"]) == ["good", "fair"]
    assert list(found.tokens_to(0.0745)["run"]) == ["good", "fair"]
    assert list(found.notes["run"]) == ["begun"]
    assert list(found.notes["note"]) == list(found.left_out.values())
    alone = stacked(begun, PEERS[:2])
    for ask in (lambda: alone.forecast([6e10]), lambda: alone.tokens_to(0.0745)):
        with pytest.raises(FitError, match="'begun' has no forecast"):
            ask()


def test_a_forecast_of_what_was_seen_is_noted(make_run):
    found = stacked(make_run(), PEERS)
    assert any("10B tokens lie within the data" in n for n in found.predictive([1e10]).notes)
    assert not found.predictive([6e10]).notes


def test_progress_is_told_of_every_forecast_of_the_backtest(two_runs):
    told = []
    sf.forecast_best(two_runs, PEERS, cuts=(0.5, 0.7), progress=lambda *step: told.append(step))
    done, totals = zip(*told, strict=True)
    assert set(totals) == {12}
    assert sorted(done) == list(done) and done[-1] == 12
