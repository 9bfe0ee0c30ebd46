from __future__ import annotations

import numpy as np
import pytest

import sparsefit as sf
from sparsefit.backtesting import expected_shrinkage
from sparsefit.errors import ArgumentError

NONE: dict[str, tuple] = {"densities": (), "texts": ()}


@pytest.fixture(scope="module")
def fit(make_run):
    return sf.fit(make_run(points=16, noise=1e-4, rate=0.25))


@pytest.fixture(scope="module")
def onward(fit):
    return expected_shrinkage(fit, (1.5, 4.0), simulations=6, **NONE)


def test_more_tokens_narrow_the_limit_more(fit, onward):
    table = onward.table.set_index("factor")
    assert table.loc[4.0, "ratio"] < 0.8
    assert table.loc[4.0, "width"] < table.loc[1.5, "width"]
    lower, upper = fit.averaged.likelihood.interval(0.9)
    assert onward.width_now == pytest.approx(upper - lower)
    assert (table["width_lower"] <= table["width"]).all()
    assert (table["width"] <= table["width_upper"]).all()
    assert table.loc[4.0, "tokens"] == pytest.approx(4 * 16e9)
    # The present spacing goes on: 3 times 16 more points.
    assert table.loc[4.0, "points"] == 64
    assert "still sharpen" in onward.sentence


def test_log_spaced_checkpoints_go_on_by_equal_factors(make_run):
    run = make_run(points=16, noise=1e-4, rate=0.25)
    # Each 1.2 times the tokens of the one before, last one at the same tokens.
    run["tokens"] = run["tokens"].iloc[-1] * 1.2 ** np.arange(-15.0, 1.0)
    table = expected_shrinkage(sf.fit(run), (4.0,), simulations=2, **NONE).table
    # log 4 / log 1.2 = 7.6 more; the last gap in tokens would make it 18.
    assert table["points"].iloc[0] == 16 + 8
    assert table["tokens"].iloc[0] == pytest.approx(4 * 16e9)


def test_same_seed_same_table(fit, onward):
    told = []
    again = expected_shrinkage(
        fit, (1.5,), simulations=6, progress=lambda *at: told.append(at), **NONE
    )
    assert told == [(done, 6) for done in range(1, 7)]
    # A scenario does not depend on which others are asked for.
    assert again.table["width"].iloc[0] == onward.table["width"].iloc[0]
    other = expected_shrinkage(fit, (1.5,), simulations=6, rng=1, **NONE)
    assert other.table["width"].iloc[0] != onward.table["width"].iloc[0]


def test_denser_checkpoints_stay_within_the_tokens_seen(fit):
    table = expected_shrinkage(fit, (), densities=(3,), texts=(), simulations=2).table
    assert table["points"].iloc[0] == 16 + 2 * 15
    assert table["tokens"].iloc[0] == pytest.approx(16e9)


def test_a_converged_run_is_told_to_stop(make_run):
    # Long past its limit: all that is left is noise about it.
    run = make_run(points=30, rate=2.0, alpha=1.0, noise=1e-4)
    result = expected_shrinkage(sf.fit(run), (1.1,), simulations=4, **NONE)
    assert result.table["ratio"].iloc[0] > 0.8
    assert "hardly change this forecast" in result.sentence


def test_more_text_needs_standard_errors(fit):
    without = expected_shrinkage(fit, (), densities=(), texts=(4.0,), simulations=2)
    assert without.table.empty
    assert "standard errors" in without.remarks[0]


def test_more_text_helps_as_far_as_the_scatter_is_measurement_error(make_run):
    run = make_run(points=20, noise=3e-4, rate=0.8, alpha=0.7, seed=5)
    widths = []
    # Widths of single futures differ fivefold where the scatter is measurement error.
    for se, simulations in ((3e-4, 24), (1e-6, 6)):
        fit = sf.fit(run.assign(se=se), warmup=None)
        result = expected_shrinkage(fit, (), densities=(), texts=(16.0,), simulations=simulations)
        widths.append(result.table["ratio"].iloc[0])
    assert widths[0] < 0.85
    assert widths[1] == pytest.approx(1.0, abs=0.1)


def test_views(onward):
    text = onward.summary()
    assert "4 times the tokens" in text and onward.sentence in text
    assert "the limit's 90% integrated likelihood interval" in text
    assert "<table>" in onward._repr_html_() and len(onward.tidy()) == 2
    assert repr(onward) == "Shrinkage(2 scenarios, 6 futures each)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factors": (1.0,)}, "factors"),
        ({"densities": (1.5,)}, "densities"),
        ({"factors": (), **NONE}, "at least one"),
        ({"simulations": 1}, "simulations"),
        ({"level": 90}, "level"),
    ],
)
def test_wrong_arguments_are_named(fit, change, message):
    with pytest.raises(ArgumentError, match=message):
        expected_shrinkage(fit, **change)


def test_several_fits_are_refused(two_runs):
    with pytest.raises(ArgumentError, match="one run"):
        expected_shrinkage(sf.fit(two_runs))


def test_a_posterior_and_points_that_go_against_the_law_are_refused(make_run):
    run = make_run(points=16, noise=1e-4, rate=0.25)
    with pytest.raises(ArgumentError, match="got fit_bayes; futures are fitted by"):
        expected_shrinkage(sf.fit_bayes(run, engine="importance"))
    rising = make_run(points=16, noise=1e-4, rising=True).assign(activation="relu")
    with pytest.raises(ArgumentError, match="go against logspace_power"):
        expected_shrinkage(sf.fit(rising))


def test_points_that_accelerate_are_named(make_run):
    run = make_run(points=16, noise=1e-4, rising=True)
    log_d = np.log(run["tokens"] / run["tokens"].iloc[0])
    run["activation_ratio"] = 0.3 + 0.01 * log_d + 0.004 * log_d**2
    fit = sf.fit(run)
    assert "speeds up" in [note.kind for note in fit.notes]
    result = expected_shrinkage(fit, (1.5,), simulations=2, **NONE)
    assert "Simulated futures follow the law, which these points do not" in result.summary()
