from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.backtesting import METHODS
from sparsefit.bayes import BayesFit, LogNormal, Normal
from sparsefit.bayes.importance import Model, flat_posterior, resample, sample_posterior
from sparsefit.bayes.posterior import Sampling
from sparsefit.errors import ArgumentError, FitError, MissingDependencyError
from sparsefit.estimation.notes import kind_of

Run = Callable[..., pd.DataFrame]


@pytest.fixture(scope="module")
def fit(run_table: Run) -> BayesFit:
    return sf.fit_bayes(run_table(), engine="importance", rng=1)


def test_truth_is_inside_and_checks_pass(fit: BayesFit) -> None:
    limit = fit.limit()
    assert limit.lower <= 0.07 <= limit.upper
    assert limit.kind == "posterior"
    assert fit.reliable
    sampling = fit.posterior.sampling
    assert sampling.khat is not None and sampling.khat <= 0.7
    assert sampling.ess >= 2000
    band = fit.forecast([2e11])
    truth = fit.law.value(np.array([200.0]), (0.6, -2.8, 0.25, 0.07))[0]
    assert band["curve_lower"][0] <= truth <= band["curve_upper"][0]
    assert band["obs_lower"][0] <= band["curve_lower"][0]


def test_same_seed_same_draws(fit: BayesFit, run_table: Run) -> None:
    again = sf.fit_bayes(run_table(), engine="importance", rng=1)
    np.testing.assert_array_equal(again.averaged.draws.limit, fit.averaged.draws.limit)
    other = sf.fit_bayes(run_table(), engine="importance", rng=2)
    assert not np.array_equal(other.averaged.draws.limit, fit.averaged.draws.limit)
    assert other.limit().estimate == pytest.approx(fit.limit().estimate, abs=2e-4)


def test_verbs(fit: BayesFit) -> None:
    ends = fit.conf_int()
    assert list(ends.index) == ["alpha", "b", "c", "A0"]
    assert np.all(ends["lower"] <= fit.params) and np.all(fit.params <= ends["upper"])
    assert fit.limit().estimate == fit.params["A0"]
    assert fit.tokens_to(activation_ratio=0.08).status in ("reached", "reachable")
    slope = fit.derivative([1e10])
    assert slope["lower"][0] <= slope["estimate"][0] <= slope["upper"][0] < 0
    assert fit.tidy()["std_error"].notna().all()
    assert fit.glance()["engine"][0] == "importance"
    assert len(fit.warmup_sensitivity()) == len(fit.averaged.drops)
    assert fit.points_table()["residual"].abs().max() < 2e-3
    assert np.all(fit.predict(fit.tokens) > 0.07)
    draws = fit.averaged.draws
    assert np.all((draws.limit >= 0) & (draws.limit < 1) & (draws.amplitude > 0))
    with pytest.raises(ArgumentError, match="method must be one of"):
        fit.limit(method="wald")


def test_summary_shows_priors_and_checks(fit: BayesFit) -> None:
    words = fit.summary()
    for part in ("alpha ~ Exponential(1)", "k-hat", "priors:", "Student-t", "probability of each"):
        assert part in words
    assert "DO NOT TRUST" not in words
    assert "importance" in fit._repr_html_()


def test_diagnostics(fit: BayesFit) -> None:
    found = fit.diagnostics()
    assert found.reliable and found.engine == "importance"
    assert sum(found.likelihoods.values()) == pytest.approx(1.0)
    table = found.sensitivity
    assert {"alpha", "excess", "sigma", "likelihood"} <= set(table["prior"])
    distance = table[table["quantity"] == "limit"].set_index("prior")["distance"]
    assert distance["likelihood"] > distance["last"]
    assert found.to_dict()["sensitivity"][0]["quantity"] == "limit"


def test_bad_posterior_is_called_bad(fit: BayesFit) -> None:
    for sampling in (
        Sampling("importance", 3000.0, khat=0.9),
        Sampling("importance", 20.0, khat=0.1),
        Sampling("nuts", 3000.0, rhat=1.05, divergences=0),
        Sampling("nuts", 3000.0, rhat=1.0, divergences=3),
        Sampling("importance", float("nan"), khat=float("nan")),
    ):
        bad = replace(fit, posterior=replace(fit.posterior, sampling=sampling))
        assert not bad.reliable
        assert "DO NOT TRUST" in bad.summary()
        assert "NOT RELIABLE" in repr(bad)
        assert not bad.glance()["reliable"][0]
        assert not bad.diagnostics().reliable


def test_a_sampler_that_did_not_work_is_the_first_note(
    run_table: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sparsefit.bayes.posterior.ESS_FLOOR", 1e9)
    note = sf.fit_bayes(run_table(), engine="importance").notes[0]
    assert kind_of(note) == "sampler" and note.startswith("DO NOT TRUST")


def test_saved_and_loaded(fit: BayesFit, tmp_path: Any) -> None:
    file = tmp_path / "fit.json"
    fit.to_json(file)
    back = sf.load_fit(file)
    assert isinstance(back, BayesFit)
    assert back.summary() == fit.summary()
    pd.testing.assert_frame_equal(back.forecast([1e11, 1e12]), fit.forecast([1e11, 1e12]))
    pd.testing.assert_frame_equal(back.diagnostics().sensitivity, fit.diagnostics().sensitivity)


def test_priors_move_the_posterior_and_are_printed(fit: BayesFit, run_table: Run) -> None:
    tight = sf.fit_bayes(
        run_table(), engine="importance", priors={"alpha": LogNormal(0.1, 0.05)}, rng=1
    )
    assert tight.params["alpha"] == pytest.approx(0.1, abs=0.03)
    assert tight.limit().estimate < fit.limit().estimate
    assert "LogNormal(0.1, 0.05)" in tight.summary()
    rows = tight.diagnostics().sensitivity.set_index(["quantity", "prior"])
    assert rows.loc[("alpha", "alpha"), "verdict"] == "prior matters"


def test_heavy_tails_ignore_an_outlier(run_table: Run) -> None:
    table = run_table()
    table.loc[14, "activation_ratio"] += 0.02
    heavy = sf.fit_bayes(table, engine="importance", likelihood="student_t")
    normal = sf.fit_bayes(table, engine="importance", likelihood="white")
    auto = sf.fit_bayes(table, engine="importance")
    truth = 0.07
    assert abs(heavy.limit().estimate - truth) < abs(normal.limit().estimate - truth)
    assert auto.diagnostics().likelihoods["student_t"] > 0.9
    assert heavy.averaged.log_evidence > normal.averaged.log_evidence + 5


def test_warm_up_is_averaged_over(run_table: Run) -> None:
    table = run_table(n=24)
    table.loc[:2, "activation_ratio"] -= [0.02, 0.012, 0.006]
    found = sf.fit_bayes(table, engine="importance")
    assert found.averaged.drop_weight[found.averaged.drops >= 3].sum() > 0.8
    limit = found.limit()
    assert limit.lower <= 0.07 <= limit.upper
    fixed = sf.fit_bayes(table, engine="importance", warmup=4)
    assert list(fixed.averaged.drops) == [4]


def test_measured_errors(run_table: Run) -> None:
    plain = sf.fit_bayes(run_table(), engine="importance")
    known = sf.fit_bayes(run_table(se=2e-4), engine="importance")
    large = sf.fit_bayes(run_table(se=2e-3), engine="importance")
    assert known.posterior.se is not None and "known variance" in known.summary()

    def width(fit: BayesFit) -> float:
        band = fit.forecast([2e11])
        return float((band["curve_upper"] - band["curve_lower"]).iloc[0])

    # Errors as large as the scatter explain it; larger ones widen whatever the scatter says.
    assert width(known) < 1.5 * width(plain)
    assert width(large) > 2 * width(plain)


def test_shared_error_moves_the_limit_but_not_new_measurements(run_table: Run) -> None:
    plain = sf.fit_bayes(run_table(), engine="importance")
    shared = sf.fit_bayes(run_table(se_shared=5e-3), engine="importance")
    assert np.std(shared.averaged.draws.limit) > 1.5 * np.std(plain.averaged.draws.limit)
    a, b = (fit.simulate([1.2e11]).std() for fit in (plain, shared))
    assert b == pytest.approx(a, rel=0.2)
    assert shared.simulate([1.2e11], "curve").std() > 4e-3
    assert np.all(shared.averaged.draws.limit >= 0)
    ends = ("lower", "upper")
    bands = [fit.forecast([1.2e11]).iloc[0] for fit in (plain, shared)]
    new = [[band[f"obs_{end}"] for end in ends] for band in bands]
    assert new[1] == pytest.approx(new[0], abs=0.1 * (new[0][1] - new[0][0]))
    assert bands[1]["curve_upper"] - bands[1]["curve_lower"] > 2 * (new[1][1] - new[1][0])


def test_backtests_score_what_will_be_measured(run_table: Run) -> None:
    """Later points repeat the error that all points share; so do the tokens that they meet."""
    method = METHODS["fit_bayes"].function()
    plain, shared = (
        method(table, np.array([1.2e11]), np.random.default_rng(0))
        for table in (run_table(), run_table(se_shared=5e-3))
    )
    for band in ("interval", "curve_interval"):
        np.testing.assert_allclose(getattr(shared, band)(), getattr(plain, band)(), atol=2e-4)


def test_limit_without_data_on_it_is_not_identified(run_table: Run) -> None:
    table = run_table(theta=(0.05, 3.0, 5.2, 0.0), noise=4e-4, n=12)
    limit = sf.fit_bayes(table, engine="importance").limit()
    assert limit.identified != "yes"
    assert limit.lower == 0.0


def test_several_runs_and_rising_law(run_table: Run) -> None:
    table = pd.concat(
        [run_table("a"), run_table("b", (0.5, 0.05, 0.42), "vanilla_power", seed=1)],
        ignore_index=True,
    )
    fits = sf.fit_bayes(table, engine="importance")
    assert [fits[run].law.name for run in fits] == ["logspace_power", "vanilla_power"]
    assert list(fits.limit()["kind"]) == ["posterior", "posterior"]
    for verb in (fits.glance(), fits.tidy(), fits.conf_int(), fits.diagnostics()):
        assert set(verb["run"]) == {"a", "b"}
    assert fits["b"].limit().lower <= 0.42 <= fits["b"].limit().upper
    back = sf.load_fit(fits.to_json())
    assert isinstance(back["a"], BayesFit)


def test_law_by_evidence(run_table: Run) -> None:
    table = run_table("b", (0.5, 0.05, 0.42), "vanilla_power").drop(columns="activation")
    found = sf.fit_bayes(table, engine="importance")
    assert found.law.name == "vanilla_power"
    assert "by evidence" in found.law_reason


def test_loss(run_table: Run) -> None:
    table = run_table()
    d = table["tokens"] / 1e9
    rng = np.random.default_rng(0)
    table["loss"] = 2.0 + 1.5 * d**-0.4 + 0.003 * rng.standard_normal(len(d))
    found = sf.fit_bayes(table, engine="importance", response="loss")
    limit = found.limit()
    assert limit.lower <= 2.0 <= limit.upper
    assert "nats" in found.summary()


def test_arguments_are_checked(run_table: Run) -> None:
    table = run_table()
    for wrong, words in (
        ({"engine": "stan"}, "engine must be one of"),
        ({"pool": "all"}, "pool must be one of"),
        ({"likelihood": "cauchy"}, "likelihood must be one of"),
        ({"priors": "flat"}, "priors must be None"),
        ({"draws": 10}, "draws must be a whole number"),
        ({"rng": -1}, "rng must be"),
        ({"covariates": "depth", "pool": "scale"}, "sequence of column names, got 'depth'"),
        ({"covariates": ("depth",)}, "covariates need pool='scale'"),
        ({"priors": {"last": Normal(5.0, 0.01)}}, r"last ~ Normal\(5, 0.01\) gives no probability"),
        ({"priors": {"alpha": LogNormal(1e4, 0.01)}}, "alpha ~ .* gives no probability"),
        ({"priors": {"sigma": LogNormal(1e-12, 0.01)}}, "sigma ~ .* gives no probability"),
    ):
        with pytest.raises(ArgumentError, match=words):
            sf.fit_bayes(table, **wrong)
    with pytest.raises(FitError, match="needs at least"):
        sf.fit_bayes(table.head(5))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Normal(float("nan"), 1.0), "Normal: mean must be finite, got nan"),
        (lambda: Normal("0", 1.0), "Normal: mean must be finite, got '0'"),  # type: ignore[arg-type]
        (lambda: Normal(0.0, 0.0), "Normal: sd must be finite and > 0"),
        (lambda: LogNormal("a", 1.0), "LogNormal: median must be"),  # type: ignore[arg-type]
    ],
)
def test_parameters_of_priors_are_checked(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        make()


def test_without_pymc(run_table: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "pymc" else real(name, *a)
    )
    with pytest.raises(MissingDependencyError, match=r"engine='nuts' needs the package 'pymc'"):
        sf.fit_bayes(run_table(), engine="nuts")
    assert sf.fit_bayes(run_table(), engine="auto").posterior.sampling.engine == "importance"


def test_hard_data_is_flagged_or_sampled_well(model_of: Callable[..., Model]) -> None:
    """Noise only: no trend, a posterior as wide as the prior allows."""
    model = model_of(n=12)
    rng = np.random.default_rng(5)
    points = replace(model.points, y=0.2 + 0.02 * rng.standard_normal(12))
    likelihood = replace(model.likelihood, points=points, _whiteners={})
    hard = replace(model, points=points, likelihood=likelihood)
    weighted = sample_posterior(hard, flat_posterior(hard, rng), rng)
    assert weighted.smoothed.khat <= 0.7 and weighted.smoothed.ess >= 2000
    draws = resample(weighted, 1000, rng)
    assert np.all((draws.limit >= 0) & (draws.limit < 1))


@pytest.mark.parametrize("law", ["logspace_power", "vanilla_power"])
def test_points_without_noise_have_a_posterior_as_narrow_as_allowed(
    run_table: Callable[..., pd.DataFrame], law: str
) -> None:
    theta = (0.6, -2.8, 0.25, 0.07) if law == "logspace_power" else (0.5, 0.05, 0.42)
    fit = sf.fit_bayes(
        run_table(theta=theta, law=law, noise=0.0, n=30), law=law, engine="importance"
    )
    assert fit.reliable
    assert fit.posterior.sampling.ess >= 2000
    limit = fit.limit()
    assert limit.lower < theta[-1] < limit.upper
    assert limit.upper - limit.lower < 1e-3
    assert fit.averaged.draws.sigma.min() >= 1e-6


def test_a_run_that_its_law_does_not_describe_has_no_limit(run_table: Run) -> None:
    rising = run_table(law="vanilla_power", theta=(0.5, 0.05, 0.42)).assign(activation="relu")
    wrong = sf.fit_bayes(rising, draws=400)
    assert wrong.misfit
    assert wrong.limit().identified == "no"
    assert wrong.tokens_to(activation_ratio=0.4).status == "undetermined"
