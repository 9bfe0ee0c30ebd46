"""A law of somebody else: its limit is covered; what cannot be done with it is said."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

import sparsefit as sf
from sparsefit.errors import ArgumentError
from sparsefit.estimation.declared_prior import declared_prior
from sparsefit.laws import Law

PAGE = Path(__file__).parents[2] / "docs" / "howto_compare.md"


@pytest.fixture(scope="module")
def law() -> Law:
    """The law that the page writes down."""
    text = PAGE.read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(import numpy as np\n.*?)\n\n\nrun = ", text, re.S)
    names: dict[str, object] = {}
    exec(block, names)  # the page's own code
    return names["Hyperbolic"]()  # type: ignore[operator, no-any-return]


TRUTH = (6.0, 0.2, 0.1)


def simulated(
    law: Law, seed: int, noise: float = 1e-3, points: int = 30, truth: tuple[float, ...] = TRUTH
) -> pd.DataFrame:
    d = np.linspace(1.0, 40.0, points)
    y = law.value(d, truth) + noise * np.random.default_rng(seed).standard_normal(points)
    return pd.DataFrame({"run": "simulated", "tokens": (d * 1e9).round(), "activation_ratio": y})


def test_limit_and_forecast_are_covered(law) -> None:
    """Of 40 runs, 90% intervals miss at most 8 times (p = .02 for the right level)."""
    inside = []
    for seed in range(40):
        fit = sf.fit(simulated(law, seed), law=law)
        limit, ahead = fit.limit(), fit.forecast([8e10]).iloc[0]
        truth = float(law.value(np.array([80.0]), TRUTH)[0])
        assert limit.identified == "yes"
        assert limit.upper - limit.lower < 0.02
        inside.append(
            (
                limit.lower <= TRUTH[-1] <= limit.upper,
                ahead["curve_lower"] <= truth <= ahead["curve_upper"],
            )
        )
    assert np.sum(inside, axis=0).min() >= 32


def test_the_measures_integrate_to_one_and_agree(law) -> None:
    """What the density of the shape implies for the limit is the density that is divided out."""

    class Bounded(type(law)):  # type: ignore[misc]
        alpha_bounds = (0.5, 500.0)

    law, span, change = Bounded(), (1.0, 40.0), 0.1
    prior = declared_prior(law)
    low, high = law.alpha_bounds

    def excess(tau: float) -> float:
        left = float(law.basis(np.array(span), np.array([[tau]]), span)[0, 1])
        return change * left / (1.0 - left)

    def shape_density(log_tau: float) -> float:
        tau = np.exp(log_tau)
        gone = 1.0 - float(law.basis(np.array(span), np.array([[tau]]), span)[0, 1])
        return float(np.exp(prior.log_density(np.array([[tau]]), span)[0]) * tau / gone)

    mass = quad(shape_density, np.log(low), np.log(high), limit=400)[0]
    assert mass == pytest.approx(1.0, abs=0.01)
    ends = [excess(tau) for tau in (2.0, 30.0)]
    implied = quad(
        lambda e: float(np.exp(prior.log_limit_density(np.array([e]), change, span)[0])), *ends
    )[0]
    assert implied == pytest.approx(np.log(30.0 / 2.0) / np.log(high / low), rel=0.05)


def test_law_choice_prefers_the_law_that_the_points_follow(law) -> None:
    run = simulated(law, 0, noise=1e-4)
    evidence = {name: sf.fit(run, law=name).averaged.log_evidence for name in (law, "eq4", "eq5")}
    assert max(evidence, key=lambda name: evidence[name]) is law


def test_saved_fits_and_bayesian_fits_say_what_they_need(law) -> None:
    with pytest.raises(ArgumentError, match=r"hyperbolic.*sf\.fit fits this one"):
        sf.fit_bayes(simulated(law, 0), law=law)
    saved = sf.fit(simulated(law, 0), law=law).to_json()
    with pytest.raises(ArgumentError, match="register"):
        sf.load_fit(saved)


@pytest.mark.parametrize("returned", [np.nan, -np.inf])
def test_a_density_that_is_none_is_refused(law, returned, monkeypatch) -> None:
    class Broken(type(law)):  # type: ignore[misc]
        def log_shape_density(self, shape):
            return np.full(len(shape), returned)

    with pytest.raises(ArgumentError, match="log_shape_density must return a log density"):
        sf.fit(simulated(law, 0), law=Broken())
    with pytest.raises(ArgumentError, match=r"give an instance, Broken\(\)"):
        sf.fit(simulated(law, 0), law=Broken)  # type: ignore[arg-type]


def test_a_density_that_disagrees_with_the_points_does_not_break_the_limit(law) -> None:
    """The limit's interval stays near its draws, whatever the density says of its tails."""

    class Elsewhere(type(law)):  # type: ignore[misc]
        def log_shape_density(self, shape):
            # A factor of fifty from the truth, with a spread of a factor of e.
            return -0.5 * (np.log(shape[:, 0]) - np.log(50 * TRUTH[0])) ** 2

    fit = sf.fit(simulated(law, 0), law=Elsewhere())
    limit, draws = fit.limit(), np.quantile(fit.averaged.draws.limit, [0.05, 0.95])
    assert limit.upper - limit.lower < 4.0 * np.ptp(draws)
    assert limit.lower <= limit.estimate <= limit.upper


def test_the_limit_is_covered_where_many_shapes_are_one_curve(law) -> None:
    """Below the first point, every tau gives the same curve; 20 runs, 90% intervals."""
    limits = [
        sf.fit(simulated(law, seed, truth=(0.05, 0.8, 0.1)), law=law).limit() for seed in range(20)
    ]
    assert sum(limit.lower <= 0.1 <= limit.upper for limit in limits) >= 15
