"""The exact profile against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefit.width_depth.models import design


def brute(built, y: np.ndarray, taus: np.ndarray) -> float:
    best = np.inf
    for tau in taus:
        columns = built.columns(float(tau))
        coefficients = np.linalg.lstsq(columns, y, rcond=None)[0]
        best = min(best, float(np.sum((y - columns @ coefficients) ** 2)))
    return best


@pytest.mark.parametrize("model", ["line_plateau", "line_line"])
@given(seed=st.integers(0, 10**6), n=st.integers(5, 14))
@settings(max_examples=25, deadline=None)
def test_profile_is_never_above_a_fine_grid(model: str, seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0.05, 1.0, n))
    built = design(model, x, rng.uniform(0.3, 3.0, n))
    y = rng.standard_normal(n) * built.root_weight
    found = built.kernel.minimise(y[None])
    low, high = built.ends
    grid = brute(built, y, np.linspace(low, high, 400))
    assert found.rss[0] <= grid * (1 + 1e-9)
    # The break returned has the sum of squares returned.
    assert brute(built, y, found.at) == pytest.approx(found.rss[0], rel=1e-8)


@pytest.mark.parametrize(
    ("model", "name", "at"),
    [
        ("line_plateau", "slope", np.inf),
        ("line_plateau", "law", np.inf),
        ("line_plateau", "law", 0.0),
        ("line_plateau", "law", 0.31),
        ("line_plateau", "law", 0.9),
        ("line_plateau", "saving", 0.2),
        ("line_line", "slope", np.inf),
        ("line_line", "slope_after", np.inf),
        ("line_line", "law", 0.31),
    ],
)
def test_holding_a_quantity_holds_it_and_costs_nothing_at_its_estimate(
    model: str, name: str, at: float
) -> None:
    from sparsefit.width_depth.intervals import value
    from sparsefit.width_depth.kernel import linear_fit

    rng = np.random.default_rng(4)
    x = np.linspace(0.1, 1.0, 10)
    built = design(model, x, np.ones(10))
    y = np.minimum(x, 0.5) + 0.02 * rng.standard_normal(10)
    free = built.kernel.minimise(y[None])
    tau = float(free.at[0])
    theta = np.append(linear_fit(built.columns(tau), y)[0], tau)
    estimate = value(model, name, at, theta)
    constraint = built.constraint(name, at)
    held = constraint.fit(built, y, estimate)
    assert held.rss == pytest.approx(free.rss[0], rel=1e-6)
    moved = constraint.fit(built, y, estimate + 0.2)
    assert moved.rss > free.rss[0] * 1.01
    # Value and array version agree, and the fitted curve has the quantity at the value asked for.
    assert constraint.rss(y[None], estimate + 0.2)[0] == pytest.approx(moved.rss, rel=1e-8)
    if name == "law" and np.isinf(at):
        assert moved.fitted[-1] == pytest.approx(estimate + 0.2)


def test_repeated_ratios_and_weights_enter_as_replicates() -> None:
    x = np.array([0.1, 0.2, 0.2, 0.4, 0.6, 0.8, 1.0])
    y = np.random.default_rng(0).standard_normal(7)
    once = np.delete(x, 2)
    mean = np.delete(y, 2)
    mean[1] = (y[1] + y[2]) / 2
    weight = np.ones(6)
    weight[1] = 2.0
    double = design("line_line", x, np.ones(7)).kernel.minimise(y[None])
    merged = design("line_line", once, weight)
    single = merged.kernel.minimise((mean * merged.root_weight)[None])
    assert double.at[0] == pytest.approx(single.at[0])
    within = (y[1] - y[2]) ** 2 / 2
    assert double.rss[0] == pytest.approx(single.rss[0] + within)


def brute_rising(built, y: np.ndarray, taus: np.ndarray) -> float:
    """Smallest sum of squares with a free level and a slope of at least 0, by scipy's solver."""
    from scipy.optimize import lsq_linear

    best = np.inf
    for tau in taus:
        found = lsq_linear(built.columns(float(tau)), y, bounds=([-np.inf, 0.0], np.inf))
        best = min(best, 2.0 * float(found.cost))
    return best


@given(seed=st.integers(0, 10**6), n=st.integers(5, 12), slope=st.sampled_from([-6.0, 0.0, 6.0]))
@settings(max_examples=30, deadline=None)
def test_rising_profile_is_the_constrained_minimum(seed: int, n: int, slope: float) -> None:
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0.05, 1.0, n))
    built = design("line_plateau", x, rng.uniform(0.3, 3.0, n), "rising")
    y = (slope * np.minimum(x, 0.4) + rng.standard_normal(n)) * built.root_weight
    found = built.kernel.minimise(y[None])
    low, high = built.ends
    grid = brute_rising(built, y, np.linspace(low, high, 120))
    assert found.rss[0] <= grid * (1 + 1e-7)
    # The break returned has the sum of squares returned, with a slope that is allowed.
    assert brute_rising(built, y, found.at) == pytest.approx(found.rss[0], rel=1e-6)


@given(seed=st.integers(0, 10**6), name=st.sampled_from(["slope", "law", "saving", "breakpoint"]))
@settings(max_examples=40, deadline=None)
def test_holding_a_quantity_costs_nothing_or_more_where_the_law_rises(seed: int, name: str) -> None:
    from sparsefit.width_depth.intervals import value
    from sparsefit.width_depth.kernel import linear_fit

    rng = np.random.default_rng(seed)
    x = np.linspace(0.1, 1.0, 8)
    built = design("line_plateau", x, np.ones(8), "rising")
    y = rng.standard_normal(8)
    at = 0.2 if name == "saving" else np.inf
    free = built.kernel.minimise(y[None])
    tau = float(free.at[0])
    coefficients, fitted = linear_fit(built.columns(tau), y, rising=True)
    assert float(np.sum((y - fitted) ** 2)) == pytest.approx(free.rss[0], rel=1e-8)
    assert coefficients[1] >= 0
    constraint = built.constraint(name, at)
    shift = rng.uniform(0.0, 0.5)
    estimate = (
        tau
        if name == "breakpoint"
        else value("line_plateau", name, at, np.append(coefficients, tau))
    )
    if name != "saving" or tau > at:
        assert constraint.fit(built, y, estimate).rss == pytest.approx(free.rss[0], rel=1e-6)
    held = constraint.fit(built, y, min(estimate + shift, 1.0) if name == "breakpoint" else shift)
    assert held.rss >= free.rss[0] * (1 - 1e-9)
    if name in ("slope", "saving"):
        assert constraint.allows(0.1)
        assert not constraint.allows(-0.1)
