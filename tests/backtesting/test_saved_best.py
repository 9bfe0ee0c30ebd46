"""Stacked forecasts saved as JSON and read back."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.backtesting import METHODS, BestForecast, MethodForecast, memo
from sparsefit.errors import ArgumentError

PEERS = ["log_linear", "lm_multistart", "last_value"]


def level_of_the_last(seen, tokens, rng):
    """A user's own method: the mean of the last three values, whichever way they go."""
    middle = seen["activation_ratio"].tail(3).mean()
    draws = middle + 2e-3 * rng.normal(size=(300, 1)) + 0 * tokens
    return MethodForecast.from_draws(tokens, draws, curve_draws=draws)


def always_half(seen, tokens, rng):
    """A user's own method that is always far off, so that it gets no weight."""
    draws = 0.5 + 1e-3 * rng.normal(size=(300, len(tokens)))
    return MethodForecast.from_draws(tokens, draws, curve_draws=draws)


def same(one: BestForecast, other: BestForecast) -> None:
    """Both give the same answers, each worked out afresh."""
    answers = []
    for best in (one, other):
        memo._kept.clear()
        budgets = [best.tokens_to(sparsity=0.925, run=run).to_dict() for run in best.runs]
        answers.append((best.forecast([5e10, 2e11]), budgets))
    pd.testing.assert_frame_equal(answers[0][0], answers[1][0], check_exact=True)
    assert answers[0][1] == answers[1][1]
    pd.testing.assert_frame_equal(other.notes, one.notes)
    pd.testing.assert_frame_equal(other.points_table(), one.points_table(), check_exact=True)
    pd.testing.assert_frame_equal(other.tidy(), one.tidy(), check_exact=True)
    assert other.summary() == one.summary()
    assert other._repr_html_() == one._repr_html_()


@pytest.fixture(scope="module")
def found(make_run) -> BestForecast:
    """Two falling runs, so that each corrects the other, and rows that failed."""
    one, two = make_run("a"), make_run("b", seed=3, limit=0.06)
    table = pd.concat([one, two], ignore_index=True).assign(status="ok")
    table.loc[[4, 40], ["activation_ratio", "status"]] = [np.nan, "failed"]
    return sf.forecast_best(table, PEERS, rng=3)


def test_what_is_loaded_answers_as_what_was_saved(found, tmp_path):
    path = tmp_path / "best.json"
    words = found.to_json(path)
    assert path.read_text(encoding="utf-8") == words
    assert list(tmp_path.iterdir()) == [path]
    back = sf.load_fit(path)
    assert isinstance(back, BestForecast) and back.errors
    same(found, back)
    assert back.methods == found.methods and back.seed == 3
    assert json.loads(words)["provenance"]["seed"] == 3


def test_the_backtest_is_kept_whole(found):
    back = sf.load_fit(found.to_json()).backtest
    for by in ("overall", "cut", "bucket", "series"):
        pd.testing.assert_frame_equal(back.table(by), found.backtest.table(by), check_exact=True)
    assert back.summary() == found.backtest.summary()
    assert back.to_dict() == found.backtest.to_dict()
    pd.testing.assert_series_equal(back.stacking("a"), found.backtest.stacking("a"))


def test_saving_what_was_loaded_changes_nothing(found):
    first = json.loads(found.to_json())
    second = json.loads(sf.load_fit(found.to_json()).to_json())
    assert first["forecast_best"] == second["forecast_best"]


def test_without_a_backtest_there_is_none_to_keep(make_run):
    short = sf.forecast_best(make_run(points=6), PEERS)
    back = sf.load_fit(short.to_json())
    assert back.backtest is None and back.errors == ()
    same(short, back)


def test_a_method_of_the_users_is_given_or_registered(make_run):
    best = sf.forecast_best(make_run(), [level_of_the_last, "log_linear"])
    assert best.weights["level_of_the_last"] > 0.01
    words = best.to_json()
    with pytest.raises(ArgumentError, match=r"needs 'level_of_the_last', a method of your own"):
        sf.load_fit(words)
    for methods in (
        {"level_of_the_last": level_of_the_last},
        [level_of_the_last],
        [level_of_the_last, "log_linear"],
    ):
        same(best, sf.load_fit(words, methods=methods))
    sf.register_method("level_of_the_last", level_of_the_last)
    try:
        same(best, sf.load_fit(words))
    finally:
        del METHODS["level_of_the_last"]


def test_a_method_under_one_of_our_names_is_not_taken_for_ours(make_run):
    best = sf.forecast_best(make_run(), {"last_value": level_of_the_last})
    with pytest.raises(ArgumentError, match=r"needs 'last_value', a method of your own"):
        sf.load_fit(best.to_json())
    same(best, sf.load_fit(best.to_json(), methods={"last_value": level_of_the_last}))
    ours = sf.forecast_best(make_run(), ["last_value"]).to_json()
    with pytest.raises(ArgumentError, match="'last_value' of this forecast is sparsefit's own"):
        sf.load_fit(ours, methods={"last_value": level_of_the_last})


def test_a_method_without_weight_need_not_be_given(make_run):
    best = sf.forecast_best(make_run(), ["log_linear", "lm_multistart", always_half])
    assert best.weights["always_half"] < 0.01
    back = pickle.loads(pickle.dumps(sf.load_fit(best.to_json())))
    same(best, back)
    with pytest.raises(ArgumentError, match="needs 'always_half', a method of your own"):
        back.methods[2].function()(best.table, np.array([5e10]), np.random.default_rng(0))


def test_methods_that_mean_nothing_are_named(found, make_run):
    with pytest.raises(ArgumentError, match=r"no method 'always_half'; it has log_linear, "):
        sf.load_fit(found.to_json(), methods=[always_half])
    with pytest.raises(ArgumentError, match=r"only forecasts of sf.forecast_best have methods"):
        sf.load_fit(sf.fit(make_run()).to_json(), methods=[always_half])


def test_a_method_that_this_release_lacks_is_named(found):
    document = json.loads(found.to_json())
    plain = document["forecast_best"]
    plain["methods"][0]["name"] = "retired"
    plain["weights"] = dict(zip(["retired", *PEERS[1:]], plain["weights"].values(), strict=True))
    with pytest.raises(ArgumentError, match="this release has no method 'retired'"):
        sf.load_fit(json.dumps(document))


def _without(key):
    return lambda plain: plain.pop(key)


@pytest.mark.parametrize(
    "harm",
    [
        _without("table"),
        _without("seed"),
        lambda plain: plain.update(backtest={}),
        lambda plain: plain["weights"].pop("last_value"),
        lambda plain: plain["weights"].update(last_value=5.0),
        lambda plain: plain["table"]["columns"][1].update(dtype="no type"),
        lambda plain: plain["table"]["columns"][2]["values"].pop(),
        lambda plain: plain["backtest"]["samples"][0][-1].update(zlib="AAAA"),
    ],
)
def test_damage_is_named_as_such(found, harm):
    document = json.loads(found.to_json())
    harm(document["forecast_best"])
    with pytest.raises(ArgumentError, match="damaged"):
        sf.load_fit(json.dumps(document))
