"""The fast path against the plain reference, on the same tokens."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sparsefit.collectors import find_sites, forward, masking, reference
from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint, calibrate_at, measure_at
from sparsefit.collectors.rules import NonZero
from sparsefit.collectors.solve import Evaluation, next_step

MODELS = ("trained_silu", "trained_relu")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("which", ["text", "ragged_text"])
@pytest.mark.parametrize("cett", [0.001, 0.05, 0.3, 0.9, 0.99])
def test_thresholds_and_ratio_match_the_reference(name, which, cett, request):
    model, text = request.getfixturevalue(name), request.getfixturevalue(which)
    loaded = LoadedCheckpoint.of(model, text, 16)
    calibration = calibrate_at(loaded, text, cett, wide=False)
    measured = measure_at(loaded, text, calibration, cett)
    expected = reference.sparse_run(model, text, cett)
    dense, hidden = reference.dense_run(model, text)
    np.testing.assert_allclose(measured.thresholds, expected.thresholds, rtol=1e-3)
    for site, h, eps in zip(loaded.sites, hidden, measured.thresholds, strict=True):
        # On a few hundred tokens one neuron of one token moves the mean by more than 1e-4.
        assert abs(reference.layer_cett(h, site.weight, eps) - cett) < max(
            1e-4, (0.3 + cett) / text.n_tokens
        )
    assert measured.loss_dense.mean == pytest.approx(dense, abs=1e-6)
    np.testing.assert_allclose(measured.layer_ratio, expected.layer_ratio, atol=2e-4)
    # Thresholds lie on a neuron's output, which rounding keeps or not. At a CETT of .99 it can be
    # the last of its token and move that token's loss by as much as 1.
    if cett < 0.99:
        assert measured.loss_sparse.mean == pytest.approx(expected.loss, abs=2e-4)


@pytest.mark.parametrize("name", MODELS)
def test_curve_stays_close_away_from_its_target(name, text, request):
    model = request.getfixturevalue(name)
    loaded = LoadedCheckpoint.of(model, text, 16)
    calibration = calibrate_at(loaded, text, 0.1, wide=True)
    _, hidden = reference.dense_run(model, text)
    for cett in (0.07, 0.1, 0.14):
        for site, h, curve in zip(loaded.sites, hidden, calibration.curves, strict=True):
            exact = reference.layer_cett(h, site.weight, curve.threshold(cett))
            assert exact == pytest.approx(cett, rel=0.05)


def test_root_matches_algorithm_1(trained_silu, text):
    target = math.log(1.01)
    loaded = LoadedCheckpoint.of(trained_silu, text, 16)
    history: list[Evaluation] = []
    while not (step := next_step(history, target, guess=0.1)).done:
        calibration = calibrate_at(loaded, text, step.cett, wide=True)
        measured = measure_at(loaded, text, calibration, step.cett)
        history.append(Evaluation(step.cett, measured.log_ratio))
    assert step.status == "converged"
    root = reference.find_cett([trained_silu], text, 1.0, eps=5e-4)
    expected = reference.sparse_run(trained_silu, text, root)
    assert abs(measured.log_ratio - target) <= 3e-4
    assert measured.activation_ratio == pytest.approx(expected.activation_ratio, abs=3e-3)


def test_result_does_not_depend_on_the_batch_size(trained_silu, ragged_text):
    results = []
    for size in (1, 7, 40):
        loaded = LoadedCheckpoint.of(trained_silu, ragged_text, size)
        calibration = calibrate_at(loaded, ragged_text, 0.1, wide=False)
        measured = measure_at(loaded, ragged_text, calibration, 0.1)
        results.append((measured.loss_dense.mean, measured.loss_sparse.mean, *measured.thresholds))
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)
    np.testing.assert_allclose(results[2], results[0], rtol=1e-6)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_calibrations_reach_almost_everything(size, trained_relu, text):
    """The first tokens need not hold the largest neuron output of all."""
    loaded = LoadedCheckpoint.of(trained_relu, text, size)
    calibration = calibrate_at(loaded, text, 0.9, wide=True)
    assert calibration.targets == (0.9,)
    assert np.isfinite(calibration.window_cett).all()
    assert calibration.covers(0.99)


def test_freed_memory_is_given_back_before_the_logits(trained_relu, text, monkeypatch) -> None:
    """Once a batch, where the last layer's hook ends: the logits are a small model's peak."""
    order: list[str] = []
    monkeypatch.setattr(masking, "release_gaps", lambda block: order.append("release"))
    handle = trained_relu.lm_head.register_forward_pre_hook(lambda *_: order.append("logits"))
    sites = find_sites(trained_relu)
    try:
        masking.run_sparse(trained_relu, sites, text, NonZero(), batch_size=32)
    finally:
        handle.remove()
    assert order == ["release", "logits"] * 2


def test_all_losses_go_through_one_block(monkeypatch) -> None:
    """One for each 256 tokens would leave the heap larger by as many, and so a solve's peak."""
    tokens = torch.randint(1, 64, (3, 600), generator=torch.Generator().manual_seed(0))
    predicted = np.random.default_rng(0).random((3, 599)) < 0.8
    logits = torch.randn(3, 600, 64, generator=torch.Generator().manual_seed(1))
    blocks = set()
    original = torch.log_softmax

    def watched(*args, out, **options):
        blocks.add(out.data_ptr())
        return original(*args, out=out, **options)

    monkeypatch.setattr(torch, "log_softmax", watched)
    found = forward._window_losses(logits, tokens, predicted)
    assert len(blocks) == 1
    single = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none"
    )
    np.testing.assert_allclose(
        found, (single.view(3, 599).double().numpy() * predicted).sum(axis=1), rtol=1e-6
    )
