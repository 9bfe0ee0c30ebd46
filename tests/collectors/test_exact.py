"""Exact thresholds of small texts: every step of a layer's CETT."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefit.collectors import reference
from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint, calibrate_at, measure_at
from sparsefit.collectors.curve import CurveRangeError
from sparsefit.collectors.exact import Steps, exact_thresholds, invert, steps_between


def layer(seed: int, tokens: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(seed)
    hidden = torch.randn(tokens, 20, generator=rng)
    # Exact zeros, and a token without any output.
    hidden[hidden.abs() < 0.1] = 0
    hidden[3] = 0
    return hidden, torch.randn(8, 20, generator=rng)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), low=st.floats(0.3, 2), width=st.floats(1.01, 1.5))
def test_steps_add_up_to_the_curve(seed: int, low: float, width: float) -> None:
    hidden, weight = layer(seed)
    total = (hidden @ weight.t()).norm(dim=1)
    found = steps_between(hidden, total, weight, weight.norm(dim=0), low, low * width)
    assert found.base / 300 == pytest.approx(reference.layer_cett(hidden, weight, low), abs=1e-6)
    assert ((found.sizes >= low) & (found.sizes < low * width)).all()
    for eps in np.linspace(low, low * width, 5):
        value = (found.base + found.jumps[found.sizes < eps].sum()) / 300
        assert value == pytest.approx(reference.layer_cett(hidden, weight, eps), abs=1e-6)


def test_inverse_lies_under_the_step_that_crosses() -> None:
    parts = [
        Steps(1.0, np.array([0.3, 0.1]), np.array([1.0, 0.5]), 0.3),
        Steps(1.0, np.array([0.2]), np.array([0.5]), 0.2),
    ]
    # Sums 2.5, 3.0, 4.0 after the norms 0.1, 0.2, 0.3.
    eps, reached = invert(parts, 10, 0.35)
    assert (eps, reached) == pytest.approx((0.3, 0.3))
    assert eps <= 0.3
    assert invert(parts, 10, 0.19) is None
    assert invert(parts, 10, 0.41) is None


@pytest.mark.parametrize("name", ["trained_silu", "trained_relu"])
def test_solved_checkpoints_get_exact_thresholds_too(name, ragged_text, request) -> None:
    """Curves calibrated for another CETT, 10% away, still end in the reference's thresholds."""
    model = request.getfixturevalue(name)
    loaded = LoadedCheckpoint.of(model, ragged_text, 16)
    calibration = calibrate_at(loaded, ragged_text, 0.1, wide=True)
    measured = measure_at(loaded, ragged_text, calibration, 0.11)
    expected = reference.sparse_run(model, ragged_text, 0.11)
    # The same neurons are skipped, so that nothing but rounding is left.
    np.testing.assert_allclose(measured.layer_ratio, expected.layer_ratio, atol=1e-9)
    assert measured.loss_sparse.mean == pytest.approx(expected.loss, abs=1e-6)
    np.testing.assert_allclose(measured.thresholds, expected.thresholds, rtol=1e-3)
    assert measured.layer_cett == pytest.approx([0.11, 0.11], abs=1.5 / ragged_text.n_tokens)
    assert (measured.layer_cett <= 0.11).all()


def test_a_poor_guess_costs_further_passes(trained_silu, text) -> None:
    loaded = LoadedCheckpoint.of(trained_silu, text, 16)
    expected = reference.sparse_run(trained_silu, text, 0.2).thresholds
    found, reached = exact_thresholds(
        trained_silu, loaded.sites, text, expected * [0.8, 1.3], 0.2, batch_size=16
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert reached == pytest.approx([0.2, 0.2], abs=1e-3)
    with pytest.raises(CurveRangeError, match=r"layers \[0, 1\]"):
        exact_thresholds(trained_silu, loaded.sites, text, expected * 1e4, 0.2, batch_size=16)


def test_layers_without_a_guess_are_left_out(trained_silu, text) -> None:
    loaded = LoadedCheckpoint.of(trained_silu, text, 16)
    guesses = np.array([np.nan, reference.sparse_run(trained_silu, text, 0.2).thresholds[1]])
    found, reached = exact_thresholds(trained_silu, loaded.sites, text, guesses, 0.2, batch_size=16)
    assert np.isnan(found[0]) and np.isnan(reached[0])
    assert np.isfinite(found[1])
