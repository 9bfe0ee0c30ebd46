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


def simulated(law: Law, seed: int, noise: float = 1e-3, points: int = 30) -> pd.DataFrame:
    d = np.linspace(1.0, 40.0, points)
    y = law.value(d, TRUTH) + noise * np.random.default_rng(seed).standard_normal(points)
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
    span, change = (1.0, 40.0), 0.1
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
