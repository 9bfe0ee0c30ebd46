from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import sparsefit as sf
from sparsefit import laws
from sparsefit.bayes.hierarchy import sample_hyper
from sparsefit.bayes.pooled_limit import with_others
from sparsefit.bayes.pooled_result import PooledFits
from sparsefit.bayes.population import Population, features, to_theta
from sparsefit.errors import ArgumentError, FitError, UnknownRunError
from sparsefit.estimation.limit_likelihood import LimitLikelihood
from sparsefit.estimation.notes import kind_of

Run = Callable[..., pd.DataFrame]

SIZES = (1e8, 2e8, 4e8, 8e8)


def _theta(size: float) -> tuple[float, float, float, float]:
    x = np.log(size / 1e8)
    return 0.5, -2.8 + 0.05 * x, 0.35, 0.06 * float(np.exp(0.03 * x))


@pytest.fixture(scope="module")
def family(run_table: Run) -> pd.DataFrame:
    runs = [run_table(f"m{i}", _theta(size), seed=i, n_params=size) for i, size in enumerate(SIZES)]
    # The largest run has only begun.
    runs[-1] = runs[-1].head(8)
    return pd.concat(runs, ignore_index=True)


@pytest.fixture(scope="module")
def pooled(family: pd.DataFrame) -> PooledFits:
    return sf.fit_bayes(family, pool="scale", engine="importance")


def test_young_run_borrows_and_stays_partial(pooled: PooledFits) -> None:
    alone, together = pooled.alone["m3"], pooled["m3"]
    far = [2e11]

    def width(fit: sf.Fit) -> float:
        band = fit.forecast(far)
        return float((band["curve_upper"] - band["curve_lower"]).iloc[0])

    truth = laws.get("eq4").value(np.array([200.0]), _theta(SIZES[-1]))[0]
    band = together.forecast(far, level=0.95)
    assert band["curve_lower"][0] <= truth <= band["curve_upper"][0]
    assert width(together) < 0.8 * width(alone)
    said = [note for note in together.notes if "pooled with 3 runs: m0, m1, m2" in note]
    assert [kind_of(note) for note in said] == ["pooling"]
    assert "predict for this run" in together.summary()
    assert len({fit.limit().estimate for fit in pooled.values()}) == 4


def test_scale_without_data(pooled: PooledFits) -> None:
    found = pooled.predict_scale(1.6e9)
    truth = _theta(1.6e9)
    limit = found.limit(level=0.98)
    assert limit.lower <= truth[-1] <= limit.upper
    band = found.forecast([3e10, 1e11])
    expected = laws.get("eq4").value(np.array([30.0, 100.0]), truth)
    assert np.all((band["obs_lower"] <= expected) & (expected <= band["obs_upper"]))
    assert found.limit().kind == "extrapolated posterior predictive"
    assert "learnt from m0, m1, m2, m3" in found.summary()
    again = [pooled.predict_scale(1.6e9, rng=np.random.default_rng(3)).limit() for _ in range(2)]
    assert again[0] == again[1]
    near, far = (pooled.predict_scale(size).limit() for size in (3e8, 3e11))
    assert far.upper - far.lower > near.upper - near.lower
    with pytest.raises(ArgumentError, match="n_params must be finite and > 0"):
        pooled.predict_scale(-1)
    with pytest.raises(ArgumentError, match="no run has activation 'silu'"):
        pooled.predict_scale(1e9, activation="silu")


def test_scale_forecast_says_how_far_it_extrapolates(pooled: PooledFits) -> None:
    near, far = pooled.predict_scale(3e9), pooled.predict_scale(1e13)
    assert near.beyond and not near.too_far and near.limit().identified == "yes"
    assert far.too_far and far.limit().identified == "no"
    inside = pooled.predict_scale(3e8)
    assert inside.beyond == {} and inside.notes == ()
    assert inside.limit().kind == "posterior predictive"
    above, below = pooled.predict_scale(8e10), pooled.predict_scale(1e7)
    assert above.beyond == pytest.approx({"n_params": 100.0})
    said = "n_params 80B is 100 times the greatest of the runs learnt from (100M to 800M, a factor "
    assert above.notes[0].startswith(said)
    assert above.notes[0] in above.summary() and above.notes[0] in above._repr_html_()
    assert "extrapolated posterior predictive interval" in above.limit().sentence
    assert below.beyond == pytest.approx({"n_params": 0.1})
    assert "10M is 10 times smaller than the least" in below.notes[0]


def test_scale_forecast_far_away_warns_of_nothing(pooled: PooledFits) -> None:
    # Warnings are errors in these tests: wild draws overflowed powers of D.
    band = pooled.predict_scale(1e15).forecast([1e9, 1e12, 1e30])
    assert np.isfinite(band.to_numpy()).all()


def test_token_budgets_of_a_scale_without_data(pooled: PooledFits) -> None:
    found, truth = pooled.predict_scale(1.6e9), _theta(1.6e9)
    target = float(laws.get("eq4").value(np.array([8.0]), truth)[0])
    budget = found.tokens_to(activation_ratio=target)
    assert budget.lower <= 8e9 <= budget.upper
    assert budget.status == "reachable" and "seen" not in budget.sentence
    curve = found.simulate([budget.estimate], "curve")[:, 0]
    assert np.mean(curve <= target) == pytest.approx(0.5, abs=0.02)
    assert found.tokens_to(sparsity=1 - target).estimate == pytest.approx(budget.estimate)
    assert found.tokens_to(sparsity=0.9999).status == "unreachable"
    near, nearer = found.tokens_within(0.2), found.tokens_within(0.02)
    assert near.estimate < nearer.estimate
    # Nothing is known of a curve before the first checkpoints of the others.
    assert found.tokens_to(activation_ratio=0.999).lower == found.d_first * 1e9
    far = pooled.predict_scale(1e15).tokens_to(target)
    assert far.status == "undetermined" and np.isinf(far.upper)
    for wrong in ({}, {"loss": 2.0}, {"sparsity": 90.0}):
        with pytest.raises(ArgumentError):
            found.tokens_to(**wrong)
    with pytest.raises(ArgumentError, match="share"):
        found.tokens_within(2)


def test_scale_forecast_checks_its_arguments_as_a_fit_does(pooled: PooledFits) -> None:
    for size in ("1M", None, True, np.inf):
        with pytest.raises(ArgumentError, match="n_params must be finite and > 0"):
            pooled.predict_scale(size)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="the fit does not use 'depth'; it uses 'n_params'"):
        pooled.predict_scale(1e9, covariates={"depth": 4})
    (population,) = pooled.populations.values()
    with pytest.raises(ArgumentError, match="'n_params' is missing; the fit uses n_params"):
        population.design({})
    with pytest.raises(ArgumentError, match="no run has activation 3; there are"):
        pooled.predict_scale(1e9, activation=3)  # type: ignore[arg-type]
    two_laws = replace(pooled)
    two_laws.__dict__["populations"] = {("vanilla_power", ""): None, ("logspace_power", ""): None}
    with pytest.raises(ArgumentError, match="'vanilla_power', 'logspace_power'"):
        two_laws.predict_scale(1e9)
    for forecaster in (pooled.predict_scale(3e8), pooled["m0"]):
        with pytest.raises(ArgumentError, match=r"0\.01 is far before .* Was it in billions"):
            forecaster.forecast([0.01])


def test_limit_trend_is_a_plain_sentence(pooled: PooledFits) -> None:
    table = pooled.scale_trend()
    assert set(table["feature"]) == {
        "logit limit", "log excess", "log steepness", "log alpha", "log sigma"
    }  # fmt: skip
    assert np.all(table["lower"] <= table["slope"])
    assert "ten times the n_params" in pooled.limit_trend()
    assert pooled.limit_trend() in pooled.summary()


def test_pooled_fits_load_and_repeat(family: pd.DataFrame, pooled: PooledFits) -> None:
    back = sf.load_fit(pooled.to_json())
    assert isinstance(back, PooledFits) and repr(back) == repr(pooled)
    assert back.summary() == pooled.summary()
    pd.testing.assert_frame_equal(back.scale_trend(), pooled.scale_trend())
    assert back.predict_scale(1.6e9).limit() == pooled.predict_scale(1.6e9).limit()
    assert back.alone["m3"].limit() == pooled.alone["m3"].limit()
    assert json.loads(back.to_json()) == json.loads(pooled.to_json())
    at = np.array([[0.08, -3.0, -0.5, 0.5, -8.0]])
    densities = [
        fits["m3"].model.log_target(at, np.random.default_rng(0))[0] for fits in (back, pooled)
    ]
    assert densities[0] == pytest.approx(densities[1])


def test_run_needs_its_size(family: pd.DataFrame) -> None:
    with pytest.raises(ArgumentError, match=r"needs 'n_params' > 0 for every run"):
        sf.fit_bayes(family[family["run"] == "m0"].drop(columns="n_params"), pool="scale")
    with pytest.raises(ArgumentError, match="needs 'width_depth_ratio'"):
        sf.fit_bayes(family[family["run"] == "m0"], pool="scale", covariates=("width_depth_ratio",))


def test_single_run_is_fitted_alone(family: pd.DataFrame) -> None:
    found = sf.fit_bayes(family[family["run"] == "m0"], pool="scale", engine="importance")
    assert isinstance(found, PooledFits)
    assert [kind_of(n) for n in found["m0"].notes if "fitted alone" in n] == ["pooling"]


def test_runs_that_cannot_be_fitted_are_left_out_and_named(family: pd.DataFrame) -> None:
    full, short = family[family["run"].isin(["m0", "m1"])], family[family["run"] == "m2"].head(3)
    found = sf.fit_bayes(pd.concat([full, short]), pool="scale", engine="importance")
    assert list(found) == ["m0", "m1"] and list(found.left_out) == ["m2"]
    with pytest.raises(UnknownRunError, match="left out: run 'm2' has 3 usable"):
        found["m2"]
    said = "left out: run 'm2' has 3 usable points"
    assert said in found.summary() and "left out: run &#x27;m2&#x27;" in found._repr_html_()
    assert "left out: m2" in repr(found)
    back = sf.load_fit(found.to_json())
    assert isinstance(back, PooledFits) and said in back.summary()
    # Without it, all is as if it had not been measured.
    without = sf.fit_bayes(full, pool="scale", engine="importance")
    assert found["m0"].limit() == without["m0"].limit()
    with pytest.raises(FitError, match="run 'm2' has 3 usable points"):
        sf.fit_bayes(short, pool="scale")


@pytest.mark.parametrize("law", ["logspace_power", "vanilla_power", "loss_power"])
def test_features_and_their_inverse(law: str) -> None:
    chosen = laws.get(law)
    rng = np.random.default_rng(0)
    shape = rng.uniform(0.3, 2.0, (50, chosen.n_shape))
    amplitude, limit = rng.uniform(0.02, 0.1, 50), rng.uniform(0.1, 0.5, 50)
    z = features(chosen, 12.0, (2.0, 60.0), shape, amplitude, limit, np.full(50, 1e-3))
    np.testing.assert_allclose(
        to_theta(chosen, 12.0, z), chosen.to_theta(shape, amplitude, limit, (2.0, 60.0)), rtol=1e-8
    )


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0])
def test_noise_is_pooled_at_one_d(spread: float) -> None:
    """A short run's last noise scale is larger than that of a long run with the same noise."""
    law = laws.get("logspace_power")
    shape, amplitude, limit = np.array([[0.6, 1.5]]), np.array([0.03]), np.array([0.07])
    found = []
    for last in (12.0, 60.0):
        # Residuals of one standard deviation at every D, whatever the run's last point.
        sigma = np.array([1e-3 * (last / 20.0) ** -spread])
        z = features(law, 20.0, (2.0, last), shape, amplitude, limit, sigma, spread)
        found.append(z[0, -1])
    assert found[0] == pytest.approx(np.log(1e-3)) and found[1] == pytest.approx(found[0])


def test_density_is_the_average_over_hyper_parameters() -> None:
    rng = np.random.default_rng(3)
    population = Population(
        ("a", "b"), ("n_params",), np.zeros(1), 1.0,
        rng.normal(8.0, 1.0, (7, 2, 2)), rng.uniform(0.005, 2.0, (7, 2)), ("m0",),
    )  # fmt: skip
    row, z = np.array([1.0, 0.3]), rng.normal(10.0, 2.0, (50, 2))
    each = norm.logpdf(z[:, None], population.coefficients @ row, population.spread).sum(axis=2)
    expected = np.logaddexp.reduce(each, axis=1) - np.log(7)
    np.testing.assert_allclose(population.log_density(z, row), expected, rtol=1e-6)


def test_hyper_parameters_recover_a_line() -> None:
    rng = np.random.default_rng(1)
    x = np.linspace(-1.5, 1.5, 8)
    truth = np.column_stack([0.3 * x, -0.5 * x + 1.0]) + 0.05 * rng.standard_normal((8, 2))
    draws = [t + 0.1 * rng.standard_normal((1000, 2)) for t in truth]
    # Draws under a flat prior: nothing to divide out.
    design, level = np.column_stack([np.ones(8), x]), (np.zeros(2), np.full(2, 10.0))
    hyper = sample_hyper(draws, [np.zeros(1000)] * 8, design, level, rng)
    slope = hyper.coefficients[:, :, 1]
    assert np.all(np.abs(slope.mean(axis=0) - [0.3, -0.5]) < 3 * slope.std(axis=0))
    assert np.all(np.median(hyper.spread, axis=0) < 0.25)
    assert np.all(hyper.ess > 100)


def test_seeds_agree_on_a_population_of_badly_known_runs() -> None:
    """States of one chain are so alike that a few hundred of them say what the seed wants."""
    rng = np.random.default_rng(4)
    x = np.array([-1.0, -0.3, 0.6])
    truth = np.column_stack([0.3 * x, -0.5 * x])
    draws = [t + np.array([0.2, 1.5]) * rng.standard_normal((1000, 2)) for t in truth]
    design, row = np.column_stack([np.ones(3), x]), np.array([1.0, 1.5])
    means, spreads = [], []
    for seed in range(8):
        generator = np.random.default_rng(seed)
        level = (np.zeros(2), np.full(2, 10.0))
        hyper = sample_hyper(draws, [np.zeros(1000)] * 3, design, level, generator)
        predicted = hyper.coefficients @ row
        means.append(predicted.mean(axis=0))
        spreads.append(np.sqrt(predicted.var(axis=0) + (hyper.spread**2).mean(axis=0)))
    assert np.all(np.std(means, axis=0) < 0.12 * np.mean(spreads, axis=0))


def test_other_runs_can_bound_a_limit_that_the_run_itself_does_not(pooled: PooledFits) -> None:
    alone, together = pooled.alone["m3"].limit(), pooled["m3"].limit()
    assert alone.identified != "yes" and alone.lower == 0.0
    assert together.identified == "yes"
    assert 0.0 < together.lower <= _theta(SIZES[-1])[-1] <= together.upper


def test_the_others_share_of_the_likelihood_is_the_ratio_of_the_priors() -> None:
    """Conjugate case: own likelihood N(.3, .1), priors N(.5, .2) alone and N(.25, .05) pooled."""
    rng = np.random.default_rng(5)
    grid = np.linspace(0.0, 1.0, 201)
    own = LimitLikelihood(grid, np.exp(-0.5 * ((grid - 0.3) / 0.1) ** 2), 30.0, (0.0, 1.0))
    priors = [(0.5, 0.2), (0.25, 0.05)]
    draws, evidence = [], []
    for mean, sd in priors:
        precision = 0.1**-2 + sd**-2
        centre = (0.3 * 0.1**-2 + mean * sd**-2) / precision
        draws.append(rng.normal(centre, precision**-0.5, 4000))
        evidence.append(float(norm.logpdf(0.3, mean, np.hypot(sd, 0.1))))
    limit = np.concatenate(draws)
    log = [norm.logpdf(limit, mean, sd) for mean, sd in priors]
    found = with_others(own, limit, log[0], log[1], (evidence[0], evidence[1]))
    inside = (grid > 0.15) & (grid < 0.45)
    ratio = np.log(found.relative / own.relative)[inside]
    expected = (norm.logpdf(grid, *priors[1]) - norm.logpdf(grid, *priors[0]))[inside]
    offset = ratio - expected
    assert np.all(np.abs(offset - offset.mean()) < 0.25)
    assert found.relative.max() == 1.0 and found.dof == own.dof


def test_a_run_that_goes_against_the_law_is_named_to_those_that_learn_from_it(
    run_table: Run,
) -> None:
    rising = run_table("up", n_params=2e8).assign(
        activation_ratio=lambda t: 0.3 - t["activation_ratio"]
    )
    both = pd.concat([run_table("down", n_params=1e8), rising], ignore_index=True)
    found = sf.fit_bayes(both, pool="scale", engine="importance")
    said = [str(note) for note in found["down"].notes if kind_of(note) == "pooling"]
    assert said[0] == "pooled with 1 run: up"
    assert "the points of up go against logspace_power" in said[1]
    assert not any("go against" in note for note in found["up"].notes if "pooling" in note)
