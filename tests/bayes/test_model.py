"""Priors, likelihood and coordinates against brute force."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import expon, kstest, multivariate_normal
from scipy.stats import t as student_t

from sparsefit import laws
from sparsefit.bayes import Exponential, LogNormal, Normal, Priors, Uniform, default_priors
from sparsefit.bayes.coordinates import from_coordinates, to_coordinates
from sparsefit.bayes.importance import Model
from sparsefit.bayes.likelihood import likelihood_models
from sparsefit.bayes.mixture import fit_mixture
from sparsefit.bayes.nuts_coordinates import decode, encode
from sparsefit.bayes.priors import check_priors, draw_prior, log_prior_terms
from sparsefit.errors import ArgumentError
from sparsefit.estimation.draws import Draws

LAWS = ("logspace_power", "vanilla_power", "loss_power")


def _prior_draws(law: str, size: int, span: tuple[float, float] = (1.0, 50.0)) -> Draws:
    chosen = laws.get(law)
    none = np.zeros(size, dtype=np.intp)
    rng = np.random.default_rng(0)
    drawn = draw_prior(chosen, default_priors(chosen), span, size, rng)
    return Draws(*drawn, none, none, span)


@pytest.mark.parametrize("law", LAWS)
@given(first=st.floats(1e-3, 10.0), ratio=st.floats(1.5, 1e4))
@settings(max_examples=15, deadline=None)
def test_prior_draws_are_physical(law: str, first: float, ratio: float) -> None:
    chosen = laws.get(law)
    draws = _prior_draws(law, 300, (first, first * ratio))
    ends = draws.curve(chosen, np.array([first, first * ratio]))
    top = 1.0 if chosen.response == "activation_ratio" else np.inf
    assert np.all(np.isfinite(ends))
    assert np.all((ends >= -1e-9) & (ends <= top + 1e-9))
    assert np.all((draws.limit >= 0) & (draws.limit <= chosen.limit_bounds[1]))
    assert np.all(np.diff(ends, axis=1) * chosen.sign <= 1e-12)


@pytest.mark.parametrize("law", LAWS)
def test_prior_density_is_normalised_over_the_coordinates(law: str) -> None:
    chosen, priors = laws.get(law), default_priors(laws.get(law))
    span = (1.0, 50.0)
    u = to_coordinates(chosen, _prior_draws(law, 3000))
    rng = np.random.default_rng(1)
    proposal = fit_mixture(u, np.full(len(u), 1 / len(u)), 8, rng, dof=3.0)
    new = proposal.draw(60000, rng)
    d = from_coordinates(chosen, span, new)
    terms = log_prior_terms(chosen, priors, span, d.shape, d.amplitude, d.limit, d.sigma)
    with np.errstate(invalid="ignore", over="ignore"):
        log = np.sum(list(terms.values()), axis=0) + d.log_jacobian - proposal.log_density(new)
    mass = np.exp(np.where(np.isfinite(log), log, -np.inf)).mean()
    # Impossible pairs (last, change) are redrawn, which leaves a little mass to the others.
    assert mass == pytest.approx(1.0, abs=0.08)


def test_prior_draws_follow_the_priors() -> None:
    draws = _prior_draws("logspace_power", 4000)
    alpha = expon.cdf(draws.shape[:, 0])
    assert kstest((alpha - expon.cdf(0.01)) / (expon.cdf(6) - expon.cdf(0.01)), "uniform")[1] > 0.01
    last = draws.curve(laws.get("eq4"), np.array([50.0]))[:, 0]
    assert kstest(last, "uniform")[1] > 0.01


@pytest.mark.parametrize("law", LAWS)
def test_coordinates_and_their_inverse(law: str) -> None:
    chosen, draws = laws.get(law), _prior_draws(law, 500)
    d = from_coordinates(chosen, draws.span, to_coordinates(chosen, draws))
    np.testing.assert_allclose(d.shape, draws.shape, rtol=1e-8)
    np.testing.assert_allclose(d.limit, draws.limit, atol=1e-9)
    np.testing.assert_allclose(d.amplitude, draws.amplitude, rtol=1e-5)


@pytest.mark.parametrize("law", LAWS)
def test_coordinates_of_the_sampler_and_their_inverse(law: str) -> None:
    chosen, draws = laws.get(law), _prior_draws(law, 500)
    priors, u = default_priors(chosen), to_coordinates(chosen, draws)
    x = encode(chosen, priors, draws)
    inside = np.all(np.abs(x[:, :-1]) < 5, axis=1)
    back = decode(chosen, priors, draws.span, x)
    np.testing.assert_allclose(back[inside], u[inside], rtol=1e-4, atol=1e-6)
    assert abs(x[:, 2].mean()) < 0.15 and abs(x[:, 2].std() - 1) < 0.15


@pytest.mark.parametrize("log_spaced", [False, True])
@pytest.mark.parametrize("with_errors", [False, True])
def test_likelihood_table_against_brute_force(
    model_of: Callable[..., Model], with_errors: bool, log_spaced: bool
) -> None:
    n = 14
    se = np.linspace(1e-4, 5e-4, n) if with_errors else None
    model = model_of(se=se, n=n, log_spaced=log_spaced)
    rng = np.random.default_rng(3)
    residual = 4e-4 * rng.standard_normal((3, n))
    change, sigma = np.array([0.03, 0.02, 0.05]), np.array([2e-4, 4e-4, 1e-3])
    table = model.likelihood.table(residual, change, sigma, model.drops)
    d = model.points.d
    known = np.zeros(n) if se is None else se
    for j, noise in enumerate(model.likelihood.noises):
        for i, k in enumerate(model.drops):
            early = student_t.logpdf(residual[1, :k] / (0.2 * 0.02), 1) - np.log(0.2 * 0.02)
            if noise.kind == "student_t":
                scale = np.sqrt((4e-4 * noise.scale(d, d[-1])) ** 2 + known**2)[k:]
                late = student_t.logpdf(residual[1, k:] / scale, noise.rho) - np.log(scale)
                expected = early.sum() + late.sum()
            else:
                covariance = 4e-4**2 * noise.covariance(model.points)
                covariance = (covariance + np.diag(known**2))[k:, k:]
                late = multivariate_normal(np.zeros(n - k), covariance, allow_singular=False)
                expected = early.sum() + late.logpdf(residual[1, k:])
            assert table[j, i, 1] == pytest.approx(expected, rel=1e-8)


def test_likelihood_of_draws_is_an_entry_of_the_table(model_of: Callable[..., Model]) -> None:
    model = model_of()
    draws = _prior_draws("logspace_power", 5, (2.0, 40.0))
    noise, drop = np.array([0, 3, 7, 15, 16]), model.drops[[0, 1, 2, 1, 0]]
    draws = Draws(draws.shape, draws.amplitude, draws.limit, draws.sigma, noise, drop, draws.span)
    residual = model.points.y - draws.curve(model.law, model.points.d)
    change = np.abs(np.diff(draws.curve(model.law, model.points.d[[0, -1]]), axis=1))[:, 0]
    table = model.likelihood.table(residual, change, draws.sigma, model.drops)
    expected = table[noise, [0, 1, 2, 1, 0], np.arange(5)]
    np.testing.assert_allclose(model.likelihood.of(draws, model.drops), expected)


@pytest.mark.parametrize("likelihood", ["auto", "gaussian", "white", "ar1", "ou", "student_t"])
def test_likelihood_models_have_probability_one(likelihood: str) -> None:
    assert sum(m.prior for m in likelihood_models(likelihood)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "distribution", [Uniform(), Exponential(2.0), LogNormal(0.5, 1.2), Normal(0.2, 0.7)]
)
def test_truncated_distributions(distribution: Uniform) -> None:
    u = (np.arange(20000) + 0.5) / 20000
    x = distribution.draw_within(u, 0.1, 3.0)
    assert x.min() >= 0.1 and x.max() <= 3.0
    grid = np.linspace(0.1, 3.0, 20001)
    density = np.exp(distribution.log_density_within(grid, 0.1, 3.0))
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=1e-4)
    assert np.trapezoid(grid * density, grid) == pytest.approx(x.mean(), rel=1e-3)
    assert distribution.log_density_within(5.0, 0.1, 3.0) == -np.inf


def test_priors_by_name_and_their_errors() -> None:
    law = laws.get("eq4")
    found = check_priors(law, {"alpha": LogNormal(0.7, 0.8), "excess": "uniform"})
    assert found.alpha == LogNormal(0.7, 0.8) and found.last == Uniform()
    assert Priors.from_dict(found.to_dict()) == found
    with pytest.raises(ArgumentError, match=r"'beta'; names: last, change"):
        check_priors(law, {"beta": Uniform()})
    with pytest.raises(ArgumentError, match=r"belongs to Eq\. 4"):
        check_priors(laws.get("eq5"), {"excess": "uniform"})
    with pytest.raises(ArgumentError, match="sigma needs a proper prior"):
        check_priors(law, {"sigma": Uniform()})
    with pytest.raises(ArgumentError, match="alpha must be a distribution"):
        check_priors(law, {"alpha": 0.7})
    with pytest.raises(ArgumentError, match="median must be finite and > 0"):
        LogNormal(-1.0, 1.0)
