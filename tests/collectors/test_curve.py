"""The curve of one layer, apart from any model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefit.collectors.calibrate import Plan, calibrate
from sparsefit.collectors.curve import TINY, CurveRangeError, LayerCurve
from sparsefit.collectors.scout import energy_curve, locate
from sparsefit.collectors.sites import find_sites
from sparsefit.errors import ArgumentError

NONE = np.zeros(0)


def curve(log_eps, cett, anchor=NONE, factor=NONE) -> LayerCurve:
    log_eps = np.asarray(log_eps, dtype=float)
    return LayerCurve(
        log_eps, np.asarray(cett, float), np.linspace(0.9, 0.1, log_eps.size), anchor, factor
    )


@settings(max_examples=60, deadline=None)
@given(power=st.floats(0.3, 3), level=st.floats(0.5, 2), target=st.floats(0.03, 0.12))
def test_threshold_inverts_value(power: float, level: float, target: float) -> None:
    log_eps = np.linspace(-4, -1, 7) / power
    layer = curve(log_eps, np.exp(power * log_eps), np.array([-2.5]), np.array([level]))
    low, high = layer.range
    wanted = min(max(target, low), high)
    eps = layer.threshold(wanted)
    assert layer.value(eps) == pytest.approx(wanted, rel=1e-6)
    assert layer.slope(eps) == pytest.approx(power, rel=1e-3)


def test_outside_the_range_is_an_error_not_an_extrapolation() -> None:
    layer = curve([-3, -2, -1, 0], [0.01, 0.05, 0.2, 0.6])
    with pytest.raises(CurveRangeError, match=r"0\.01\.\.0\.6"):
        layer.threshold(0.001)
    with pytest.raises(CurveRangeError):
        layer.threshold(0.7)
    assert np.isnan(layer.value(10.0))
    assert layer.threshold(0.0) == TINY
    assert layer.threshold(1.0) == np.inf


@given(st.floats(-20, 5), st.floats(-20, 5))
def test_the_ends_of_the_range_have_a_value(start: float, end: float) -> None:
    # log(exp(x)) may differ from x in its last digit: at an end that is outside.
    log_eps = np.linspace(start, start + 1 + abs(end), 5)
    layer = curve(log_eps, [0.01, 0.05, 0.1, 0.2, 0.6])
    for cett in layer.range:
        assert layer.value(layer.threshold(cett)) == pytest.approx(cett)


def test_dips_and_leading_zeros() -> None:
    layer = curve([-5, -4, -3, -2, -1, 0], [0, 0, 0.05, 0.0499, 0.2, 0.6])
    assert layer.range == pytest.approx((0.05, 0.6))
    assert -3 <= np.log(layer.threshold(0.0501)) < -2
    with pytest.raises(CurveRangeError, match="fewer than two"):
        curve([-2, -1], [0, 0.1]).threshold(0.1)


def test_a_dead_layer_has_no_error_at_any_threshold() -> None:
    layer = LayerCurve(NONE, NONE, NONE, NONE, NONE, dead=True)
    assert layer.value(1.0) == 0
    assert layer.threshold(0.3) == TINY
    assert layer.active_slope(0.1) == 0


def test_one_dead_layer_in_a_model(tiny, text) -> None:
    model = tiny("relu", seed=5)
    with torch.no_grad():
        model.model.layers[1].mlp.gate_proj.weight.zero_()
    result = calibrate(model, find_sites(model), text, Plan((0.1,)), batch_size=8)
    assert [c.dead for c in result.curves] == [False, True]
    assert result.thresholds(0.1)[1] == TINY
    assert np.isfinite(result.window_cett).all()


def test_a_first_batch_without_any_output(tiny, text) -> None:
    """Thresholds are still found where the first windows give no output at all."""
    from sparsefit.collectors.text import EvaluationText

    model = tiny("relu", seed=5)
    with torch.no_grad():
        model.model.embed_tokens.weight[2].zero_()
    silent = np.full_like(text.tokens[:4], 2)
    joined = EvaluationText(
        np.concatenate([silent, text.tokens]),
        np.ones((4 + text.n_windows, text.tokens.shape[1]), dtype=bool),
    )
    result = calibrate(model, find_sites(model), joined, Plan((0.1,)), batch_size=4)
    assert not any(layer.dead for layer in result.curves)
    assert np.isfinite(result.thresholds(0.1)).all()


def test_massive_tokens_weigh_one_token() -> None:
    """The energy curve is a mean of per-token ratios: scaling one token changes nothing."""
    rng = np.random.default_rng(0)
    sizes = torch.from_numpy(rng.lognormal(size=(50, 40)))
    total = sizes.norm(dim=1)
    _, before = energy_curve(sizes, total)
    huge = sizes.clone()
    huge[0] *= 1e4
    log_eps, after = energy_curve(huge, huge.norm(dim=1))
    # One token in fifty can move a mean of ratios by a fiftieth, however large it is.
    grid, _ = energy_curve(sizes, total)
    same = np.interp(log_eps, grid, before)
    assert np.abs(after - same)[log_eps < grid[-1]].max() < 0.05


def test_locate_brackets_a_kinked_curve() -> None:
    def cett(at: float) -> float:
        return 0.0 if at < -1 else float(np.exp(3 * at))

    log_eps = np.linspace(-8, 0, 30)
    at, slope = locate(cett, 0.2, (-8.0, 0.0), (log_eps, np.exp(log_eps)), {})
    assert cett(at) == pytest.approx(0.2, rel=0.06)
    assert 0.2 <= slope <= 5


def test_targets_are_fractions() -> None:
    with pytest.raises(ArgumentError, match="between 0 and 1"):
        Plan((1.2,))
