"""Verbs of a fit: forecast, limit, budget, derivative, notes and diagnostics."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.cli.describe import limit_sentence
from sparsefit.errors import ArgumentError
from sparsefit.results.estimates import Limit, identification

Simulate = Callable[..., pd.DataFrame]


def test_the_same_table_gives_the_same_fit(simulated_run: Simulate) -> None:
    table = simulated_run()
    first, second = sf.fit(table), sf.fit(table.sample(frac=1, random_state=3))
    pd.testing.assert_series_equal(first.params, second.params)
    pd.testing.assert_frame_equal(first.forecast([1e11]), second.forecast([1e11]))
    assert first.limit() == second.limit()


@pytest.mark.parametrize(
    ("lower", "upper", "told"),
    [
        (0.0612, 0.0731, "0.0672 [0.0612, 0.0731]"),
        (0.0, 0.0731, "0.0365 [0.0000, 0.0731]"),  # its width says nothing of the upper end
        (0.2, 0.6, "0.4000 [0.2000, 0.6000]"),
        (0.0691, 0.0705, "0.06980 [0.06910, 0.07050]"),
        (0.06998, 0.07002, "0.070000 [0.069980, 0.070020]"),
        (0.07 - 1e-9, 0.07 + 1e-9, "0.070000 [0.070000, 0.070000]"),
        (0.07, 0.07, "0.070000 [0.070000, 0.070000]"),
    ],
)
def test_decimals_follow_the_width_of_the_interval(lower: float, upper: float, told: str) -> None:
    bounds = (0.0, 1.0)
    middle = 0.5 * (lower + upper)
    found = identification(lower, upper, bounds)
    limit = Limit(middle, lower, upper, found, 0.9, "posterior", "activation_ratio", bounds)
    assert told in repr(limit)
    ends = told.split(" ", 1)[1] if limit.is_identified else f"only above, by {upper:.4f}"
    assert ends in limit.sentence
    sparsity = repr(limit.sparsity)
    assert len(sparsity) == len(told) and f"{1 - upper:.4f}"[:5] in sparsity
    if limit.is_identified:
        assert told.split(" ", 1)[0] in limit_sentence(limit)


def test_forecast_columns_and_order(fit: sf.Fit) -> None:
    table = fit.forecast([5e9, 3e10, 1e11, 1e13])
    assert list(table) == [
        "tokens",
        "mean",
        "median",
        "curve_lower",
        "curve_upper",
        "obs_lower",
        "obs_upper",
    ]
    assert (table["obs_lower"] <= table["curve_lower"]).all()
    assert (table["curve_lower"] <= table["median"]).all()
    assert (table["median"] <= table["curve_upper"]).all()
    assert (table["curve_upper"] <= table["obs_upper"]).all()
    # Further away, nothing becomes surer.
    widths = (table["curve_upper"] - table["curve_lower"]).to_numpy()
    assert (np.diff(widths[1:]) > 0).all()


def test_wider_level_wider_interval(fit: sf.Fit) -> None:
    narrow, wide = fit.limit(0.5), fit.limit(0.95)
    assert wide.lower <= narrow.lower <= narrow.upper <= wide.upper
    for method in ("integrated", "profile", "wald", "bootstrap"):
        ends = fit.conf_int(0.9, method)
        assert (ends["lower"] <= ends["upper"]).all()
        assert ends.loc["A0", "lower"] >= 0


def test_medians_of_coefficients_lie_in_their_intervals() -> None:
    """Those of least squares need not: it goes with one warm-up and white noise."""
    table = sf.datasets.load("reference_scales")
    runs = ["0.06m_relu_s0", "0.06m_silu_s0"]
    fits = sf.fit(table[table["run"].isin(runs)])
    tidy = fits.tidy()
    assert ((tidy["lower"] <= tidy["median"]) & (tidy["median"] <= tidy["upper"])).all()
    assert not ((tidy["lower"] <= tidy["estimate"]) & (tidy["estimate"] <= tidy["upper"])).all()
    limits = tidy.loc[tidy["term"] == "A0", "median"]
    assert limits.tolist() == pytest.approx(fits.limit()["estimate"].tolist())


def test_limit_says_sparsity(fit: sf.Fit) -> None:
    limit = fit.limit()
    assert float(limit.sparsity) == pytest.approx(1 - limit.estimate)
    assert limit.sparsity.lower == pytest.approx(1 - limit.upper)
    assert limit.identified == "yes"
    assert limit.lower <= 0.07 <= limit.upper


@pytest.mark.parametrize(
    ("ends", "bounded", "words"),
    [
        ((5e-10, 0.2), (False, True), ("only above, by 0.2000", "at most 0.2000")),
        ((0.05, 1 - 5e-10), (True, False), ("only below, by 0.0500", "at least 0.0500")),
    ],
)
def test_an_end_a_rounding_error_off_its_bound_bounds_nothing(
    ends: tuple[float, float], bounded: tuple[bool, bool], words: tuple[str, str]
) -> None:
    from sparsefit.plots.fits import limit_words
    from sparsefit.reporting.words import limit_interval

    bounds = (0.0, 1.0)
    state = identification(*ends, bounds)
    limit = sf.Limit(0.1, *ends, state, 0.9, "profile", "activation_ratio", bounds)
    assert (limit.identified, limit.bounded) == ("one-sided", bounded)
    assert words[0] in limit.sentence
    for say in (limit_interval, limit_words, limit_sentence):
        assert words[1] in say(limit)


def test_tokens_to_statuses(fit: sf.Fit) -> None:
    reached = fit.tokens_to(activation_ratio=0.09)
    assert reached.status == "reached" and reached.upper <= 3e10
    soon = fit.tokens_to(sparsity=1 - 0.0735)
    assert soon.status == "reachable" and 3e10 < soon.lower <= soon.estimate <= soon.upper
    never = fit.tokens_to(activation_ratio=0.03)
    assert never.status == "unreachable" and np.isinf(never.lower)
    level = fit.limit()
    between = fit.tokens_to(activation_ratio=level.estimate)
    assert between.status == "undetermined" and np.isinf(between.upper)
    assert 0 < between.probability < 1


def test_a_sparsity_that_no_point_had_is_not_reached_where_draws_leave_out_points(
    simulated_run: Simulate,
) -> None:
    """Draws that set the first points aside bend down steeply before their own first point."""
    table = simulated_run(law="eq5", theta=(0.25, 0.2, 0.45), n=40, first=2e9, last=4e11)
    late = np.clip(table["tokens"] / 4e10 - 9.0, 0.0, None)
    table["activation_ratio"] -= 0.02 * np.sqrt(late)
    fit = sf.fit(table)
    assert np.mean(fit.averaged.draws.drop > 0) > 0.2
    assert (table["activation_ratio"] > 0.25).all()
    budget = fit.tokens_to(sparsity=0.9)
    assert (budget.status, budget.probability) == ("unreachable", 0.0)
    # One that the run had is still dated, also within what some draws set aside.
    assert fit.tokens_to(sparsity=0.64).probability > 0.95


def test_tokens_to_meets_the_forecast(fit: sf.Fit) -> None:
    """The budget and the forecast come from the same draws."""
    budget = fit.tokens_to(activation_ratio=0.075)
    curve = fit.simulate([budget.estimate], "curve")
    assert np.median(curve) == pytest.approx(0.075, abs=1e-5)


def test_derivatives_differ_by_the_chain_rule(fit: sf.Fit) -> None:
    tokens = np.array([5e9, 2e10])
    per_token = fit.derivative(tokens)
    per_ratio = fit.derivative(tokens, wrt="data_scale_ratio")
    per_log = fit.derivative(tokens, wrt="log_tokens")
    np.testing.assert_allclose(per_ratio["median"], per_token["median"] * 1e8)
    np.testing.assert_allclose(per_log["lower"], per_token["lower"] * tokens)
    np.testing.assert_allclose(per_ratio["data_scale_ratio"], tokens / 1e8)
    assert (per_token["upper"] < 0).all()


def test_the_bootstrap_of_a_limit_has_a_seed(simulated_run: Simulate) -> None:
    fit = sf.fit(simulated_run(n=12, noise=1e-3))
    first, other = (fit.limit(method="bootstrap", rng=seed) for seed in (1, 2))
    assert first != other
    # Drawn anew, and the same.
    ends = fit.conf_int(method="bootstrap", rng=1).iloc[-1]
    assert (first.lower, first.upper) == tuple(ends)


def test_a_limit_that_is_not_identified_is_not_taken_for_one(simulated_run: Simulate) -> None:
    closed = sf.fit(simulated_run()).limit()
    opened = sf.fit(simulated_run(n=7, last=2e9, noise=2e-3)).limit()
    assert closed.identified == "yes" and closed.is_identified is True
    assert opened.identified != "yes" and opened.is_identified is False


def test_failed_rows_are_kept_and_not_fitted(simulated_run: Simulate) -> None:
    table = simulated_run().assign(status="ok")
    table.loc[7, ["activation_ratio", "status"]] = [np.nan, "failed"]
    found = sf.fit(table)
    roles = found.points_table()
    assert len(roles) == 30 and roles["role"].tolist()[7] == "failed"
    assert len(found.points) == 29
    assert any("1 row has no value" in note for note in found.notes)


def test_law_by_evidence_without_an_activation(simulated_run: Simulate) -> None:
    for law, theta in (("eq4", (0.5, -2.2, 0.6, 0.07)), ("eq5", (0.7, 0.08, 0.39))):
        table = simulated_run(law=law, theta=theta).drop(columns="activation")
        found = sf.fit(table)
        assert found.law is sf.laws.get(law)
        assert "evidence" in found.law_reason


def test_loss_and_sparsity_converge_at_different_speeds(simulated_run: Simulate) -> None:
    table = simulated_run(n=40, last=1e11)
    d = table["tokens"] / 1e9
    rng = np.random.default_rng(1)
    table["loss"] = 2.0 + 0.5 * d**-0.9 + 1e-3 * rng.standard_normal(40)
    loss = sf.fit(table, response="loss")
    assert loss.limit().lower <= 2.0 <= loss.limit().upper
    assert loss.response == "loss"
    assert loss.tokens_within(0.05).estimate < sf.fit(table).tokens_within(0.05).estimate
    assert loss.tokens_to(loss=2.05).status in {"reached", "reachable"}
    with pytest.raises(ArgumentError, match="loss"):
        loss.tokens_to(sparsity=0.9)


def test_a_law_that_does_not_describe_the_run_is_noticed(simulated_run: Simulate) -> None:
    rising = simulated_run(law="eq5", theta=(0.7, 0.08, 0.39)).assign(activation="relu")
    assert any("does not describe this run" in note for note in sf.fit(rising).notes)
    turning = simulated_run(noise=3e-4, n=40)
    late = turning["tokens"] > 1.2e10
    turning.loc[late, "activation_ratio"] += 2e-3 * (turning["tokens"][late] / 1e9 - 12)
    turned = sf.fit(turning)
    assert any("turn" in note for note in turned.notes)
    assert turned.misfit and turned.limit().identified == "no"
    # A value that the run has had: even there the law's curve says nothing about the run.
    for budget in (turned.tokens_to(activation_ratio=0.1), turned.tokens_within(0.05)):
        assert budget.status == "undetermined" and budget.misfit
        assert budget.lower <= turned.tokens[0] and budget.upper == np.inf
        assert "no answer" in budget.sentence and "does not describe" in repr(budget)
    assert not any("does not describe this run" in n for n in sf.fit(simulated_run()).notes)


def test_the_measured_run_that_turns_is_noticed() -> None:
    """A real ReLU run, measured by this project, whose activation ratio falls and then rises."""
    found = sf.fit(sf.datasets.load("reference_turning"))
    assert isinstance(found, sf.Fit)
    assert any("turn and rise" in note for note in found.notes)
    assert found.limit().identified == "no"


def test_diagnostics_see_correlation_and_outliers(simulated_run: Simulate) -> None:
    table = simulated_run(n=60, noise=0.0)
    rng = np.random.default_rng(3)
    residual = np.zeros(60)
    for i in range(1, 60):
        residual[i] = 0.85 * residual[i - 1] + 3e-4 * rng.standard_normal()
    found = sf.fit(table.assign(activation_ratio=table["activation_ratio"] + residual), warmup=None)
    assert found.diagnostics().ljung_box_p < 0.05
    spiky = simulated_run(noise=1e-4)
    spiky.loc[20, "activation_ratio"] += 0.004
    assert any("robust=True" in s for s in sf.fit(spiky, warmup=None).diagnostics().sentences)


def test_diagnostics_of_a_curve_through_every_point_it_keeps() -> None:
    """Rounded to percent, a run can end in one value: what floats leave there is no correlation."""
    tokens = np.linspace(1e10, 1e11, 40)
    falling = 0.1 + np.exp(0.2 - 2.2 * (tokens / 1e9) ** 0.25)
    table = pd.DataFrame({"run": "a", "tokens": tokens, "activation_ratio": np.round(falling, 2)})
    found = sf.fit(table, law="eq4")
    assert found.n_warmup and np.ptp(found.points.since(found.n_warmup).y) == 0
    said = found.diagnostics()
    assert (said.lag1, said.durbin_watson, said.ljung_box_p) == (0.0, 2.0, 1.0)
    assert "through every point" in said.sentences[0]
    assert found.glance()["lag1"][0] == 0.0


def test_text_and_html_name_the_run(fit: sf.Fit) -> None:
    assert "simulated" in repr(fit) and "identified: yes" in repr(fit)
    assert "warm-up" in fit.summary() and "limit sparsity ratio" in fit.summary()
    assert "<table" in fit._repr_html_()


def test_band_and_budget_hold_a_limit_on_its_bound(
    simulated_run: Simulate,
) -> None:
    """A true limit of 0 lies below every draw; where 0 is not excluded the band reaches it."""
    theta = (0.5, -1.6, 0.66, 0.0)
    covered = []
    for seed in range(6):
        fit = sf.fit(simulated_run(theta=theta, noise=5e-4, seed=seed))
        assert fit.limit().lower == 0.0
        band = fit.forecast([9e10]).iloc[0]
        truth = float(fit.law.value([90.0], theta)[0])
        budget = fit.tokens_to(activation_ratio=float(fit.law.value([60.0], theta)[0]))
        covered.append([band["curve_lower"] <= truth <= band["curve_upper"], budget.lower <= 6e10])
        assert band["obs_lower"] <= band["curve_lower"]
    assert np.mean(covered, axis=0).min() >= 0.6


@pytest.mark.parametrize(
    ("law", "theta", "bound"),
    [("eq5", (0.05, 0.5, 1.0), 1.0), ("eq4", (0.08, 3.0, 4.0, 0.0), 0.0)],
    ids=["rising", "falling"],
)
def test_what_lies_on_a_physical_bound_is_that_bound(
    simulated_run: Simulate, law: str, theta: tuple[float, ...], bound: float
) -> None:
    """Not 1e-12 from it: in Python, in the coefficients and in JSON."""
    found = sf.fit(simulated_run(law=law, theta=theta, n=15, noise=5e-4), warmup=None)
    limit = found.limit()
    assert limit.identified != "yes" and limit.bounds == (0.0, 1.0)
    ends = (limit.lower, limit.upper)
    assert bound in ends and 1.0 - bound in (limit.sparsity.lower, limit.sparsity.upper)
    assert limit.lower <= limit.estimate <= limit.upper
    assert found.limit(method="profile").estimate == found.params["A0"]
    assert limit.estimate == bound or abs(limit.estimate - bound) > 1e-9
    assert all(value == 0.0 or value > 1e-9 for value in (*ends, limit.estimate))
    again = sf.load_fit(found.to_json())
    assert isinstance(again, sf.Fit) and again.limit() == limit
