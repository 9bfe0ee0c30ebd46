"""Values, gradients, inverse and derivative of every law; registration."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefit import laws
from sparsefit.errors import ArgumentError

THETAS = {
    "logspace_power": [0.45, -3.0, 0.29, 0.067],
    "vanilla_power": [0.84, 0.21, 0.39],
    "loss_power": [0.3, 0.8, 2.1],
}
D = np.array([0.003, 0.5, 1.0, 7.0, 90.0, 2000.0])


@pytest.mark.parametrize("name", laws.names())
def test_gradient_is_that_of_the_value(name: str) -> None:
    law, theta = laws.get(name), np.array(THETAS[name])
    analytic = law.gradient(D, theta)
    for i in range(law.n_parameters):
        step = np.zeros_like(theta)
        step[i] = 1e-6 * max(abs(theta[i]), 1)
        numeric = (law.value(D, theta + step) - law.value(D, theta - step)) / (2 * step[i])
        np.testing.assert_allclose(analytic[:, i], numeric, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("name", laws.names())
def test_derivative_is_that_of_the_value(name: str) -> None:
    law, theta = laws.get(name), np.array(THETAS[name])
    numeric = (law.value(D * (1 + 1e-6), theta) - law.value(D * (1 - 1e-6), theta)) / (2e-6 * D)
    np.testing.assert_allclose(law.derivative(D, theta), numeric, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("name", laws.names())
def test_inverse_returns_to_the_tokens(name: str) -> None:
    law, theta = laws.get(name), np.array(THETAS[name])
    for d in (0.5, 7.0, 90.0):
        target = float(law.value([d], theta)[0])
        assert float(law.inverse(target, theta)) == pytest.approx(d, rel=1e-6)


@pytest.mark.parametrize("name", laws.names())
def test_inverse_never_beyond_the_limit(name: str) -> None:
    law, theta = laws.get(name), np.array(THETAS[name])
    assert np.isinf(law.inverse(theta[-1] - law.sign * 1e-6, theta))


def test_eq4_inverse_is_zero_where_the_curve_starts_below() -> None:
    theta = np.array(THETAS["logspace_power"])
    start = float(laws.get("eq4").value([1e-30], theta)[0])
    assert laws.get("eq4").inverse(start + 0.1, theta) == 0.0


@settings(max_examples=60, deadline=None)
@given(
    alpha=st.floats(0.01, 6.0),
    kappa=st.floats(0.01, 40.0),
    amplitude=st.floats(1e-4, 0.9),
    limit=st.floats(0.0, 0.9),
    start=st.floats(1e-5, 100.0),
    ratio=st.floats(2.0, 1000.0),
)
@pytest.mark.parametrize("name", laws.names())
def test_shape_form_and_published_form_agree(
    name: str,
    alpha: float,
    kappa: float,
    amplitude: float,
    limit: float,
    start: float,
    ratio: float,
) -> None:
    """Both ways to write a law give the same curve, and the map between them is its own inverse."""
    law, span = laws.get(name), (start, start * ratio)
    shape = np.array([alpha, kappa][: law.n_shape])
    theta = law.to_theta(shape, np.array(amplitude), np.array(limit), span)
    d = np.geomspace(*span, 7)
    direct = limit + law.sign * amplitude * law.basis(d, shape[None, :], span)[0]
    np.testing.assert_allclose(law.value(d, theta), direct, rtol=1e-6, atol=1e-9 * amplitude)
    back_shape, back_amplitude, back_limit = law.from_theta(theta, span)
    np.testing.assert_allclose(back_shape, shape, rtol=1e-6)
    np.testing.assert_allclose([back_amplitude, back_limit], [amplitude, limit], rtol=1e-6)


def test_eq4_runs_into_the_plain_power_law() -> None:
    """Alpha -> 0 with c alpha = p fixed: A0 + K D^-p, the edge that the docs name."""
    law, p, k, a0, alpha = laws.get("eq4"), 0.4, 0.05, 0.06, 1e-7
    theta = [alpha, np.log(k) + p / alpha, p / alpha, a0]
    np.testing.assert_allclose(law.value(D, theta), a0 + k * D**-p, rtol=1e-5)
    assert law.edge_has_limit and not laws.get("eq5").edge_has_limit


def test_values_of_many_draws_have_the_shape_draws_by_points() -> None:
    theta = np.tile(THETAS["vanilla_power"], (5, 1))
    assert laws.get("eq5").value(D, theta).shape == (5, D.size)
    assert laws.get("eq5").inverse(0.3, theta).shape == (5,)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("eq4", "logspace_power"),
        ("ReLU ", "logspace_power"),
        ("eq5", "vanilla_power"),
        ("silu", "vanilla_power"),
    ],
)
def test_aliases(alias: str, name: str) -> None:
    assert laws.get(alias).name == name


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ArgumentError, match="logspace_power"):
        laws.get("cubic")


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(ArgumentError, match="already belongs"):
        laws.register(laws.VanillaPower())
    with pytest.raises(ArgumentError, match=r"call it, VanillaPower\(\)"):
        laws.register(laws.VanillaPower)  # type: ignore[arg-type]
