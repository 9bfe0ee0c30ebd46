"""Verbs that tell the same thing must not contradict one another."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError


@pytest.fixture(scope="module")
def shipped() -> sf.Fits:
    scales = sf.datasets.load("reference_scales")
    turning = sf.datasets.load("reference_turning")
    return sf.fit(pd.concat([scales, turning], ignore_index=True))


@pytest.mark.parametrize("method", ["integrated", "profile", "wald"])
def test_the_limit_is_the_last_row_of_the_coefficient_intervals(shipped, method):
    for fit in shipped.values():
        limit = fit.limit(0.8, method)
        assert tuple(fit.conf_int(0.8, method).iloc[-1]) == (limit.lower, limit.upper)
        assert limit.lower <= fit.params.iloc[-1] <= limit.upper


def test_the_estimate_of_the_limit_is_where_forecasts_end(shipped):
    for run in ("0.03m_relu_s0", "0.06m_relu_s0", "0.11m_relu_s0"):
        fit = shipped[run]
        far = fit.forecast([1e4 * fit.tokens[-1]])["median"][0]
        assert fit.limit().estimate == pytest.approx(far, abs=1e-4)
        # Of one warm-up choice and white noise: another number.
        assert fit.limit(method="wald").estimate == fit.params["A0"]


def test_a_run_that_its_law_does_not_describe_has_no_bounded_coefficient_either(shipped):
    (turned,) = (fit for fit in shipped.values() if fit.misfit)
    assert turned.limit().identified == "no"
    assert tuple(turned.tidy().iloc[-1][["lower", "upper"]]) == (0.0, 1.0)


def test_points_that_speed_up_leave_the_limit_open_ahead(shipped):
    fast = [fit for fit in shipped.values() if "speeds up" in fit.glance()["note_kinds"][0]]
    assert fast
    for fit in fast:
        limit = fit.limit(method="wald")
        assert limit.upper == 1.0
        assert limit.identified in ("one-sided", "no")


def test_tables_of_many_runs_say_which_the_law_does_not_describe(shipped):
    table = shipped.glance().set_index("run")
    for run, fit in shipped.items():
        assert table.loc[run, "misfit"] == fit.misfit
        assert table.loc[run, "note_kinds"].count(";") + bool(table.loc[run, "note_kinds"]) <= len(
            fit.notes
        )
    assert table["misfit"].sum() == 1


def test_the_slope_lies_in_its_own_band(shipped):
    for fit in shipped.values():
        slope = fit.derivative([fit.tokens[-1], 2.0 * fit.tokens[-1]])
        assert slope["estimate"].between(slope["lower"], slope["upper"]).all()


def test_information_criteria_are_those_of_compare():
    scales = sf.datasets.load("reference_scales")
    run = scales[scales["run"] == "0.11m_relu_s0"]
    laws = ("logspace_power", "vanilla_power")
    fits = {law: sf.fit(run, law=law, warmup=None) for law in laws}
    rows = sf.compare(fits).table.set_index("fit")
    for law, fit in fits.items():
        glance = fit.glance()
        assert glance["aicc"][0] == pytest.approx(rows.loc[law, "aicc"])
        assert glance["bic"][0] == pytest.approx(rows.loc[law, "bic"])


def test_a_criterion_without_points_for_its_correction_is_infinite(simulated_run):
    assert sf.fit(simulated_run(n=6)).glance()["aicc"][0] == np.inf


@pytest.mark.parametrize("verb", ["predict", "simulate", "derivative", "forecast"])
def test_tokens_in_billions_are_refused_by_every_verb(shipped, verb):
    with pytest.raises(ArgumentError, match="Was it in billions"):
        getattr(shipped["0.11m_relu_s0"], verb)([0.01])


def test_saved_fits_keep_their_names(shipped) -> None:
    """A mapping can name two fits of one run."""
    one = shipped["0.11m_relu_s0"]
    named = sf.as_fits({"first": one, "second": one})
    back = sf.load_fit(named.to_json())
    assert isinstance(back, sf.Fits)
    assert list(back) == ["first", "second"]
    pd.testing.assert_frame_equal(back.limit(), named.limit())


@pytest.mark.parametrize(
    "words",
    [
        '{"sparsefit_fit": 1, "fits": 5, "many": true}',
        '{"sparsefit_fit": 1, "fits": [{}], "many": true}',
        '{"sparsefit_fit": 1, "fits": [], "many": false}',
    ],
)
def test_a_damaged_document_is_named_as_such(words) -> None:
    with pytest.raises(ArgumentError, match="damaged"):
        sf.load_fit(words)


def test_odd_arguments_are_typed_errors(shipped) -> None:
    with pytest.raises(ArgumentError, match="share must lie strictly between 0 and 1"):
        shipped["0.11m_relu_s0"].tokens_within("a")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="as_fits takes"):
        sf.as_fits({})
