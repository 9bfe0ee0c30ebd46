"""Probe and survey: where the root is looked for first."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint, calibrate_at
from sparsefit.collectors.guess import Patch, pooled_root, probe, survey
from sparsefit.collectors.single import solve_model
from sparsefit.collectors.skipped import SkippedNorms

TARGET = math.log(1.01)


@given(
    root=st.floats(0.01, 0.5),
    spots=st.lists(st.floats(0.5, 2.0), min_size=1, max_size=8),
)
def test_parts_at_any_cett_give_the_root_of_a_square_law(root: float, spots: list[float]) -> None:
    patches = [
        Patch(root * spot, 1000 * TARGET * spot**2, 1000.0) for spot in spots if root * spot < 0.99
    ]
    if patches:
        assert pooled_root([patches], TARGET) == pytest.approx(root, rel=1e-6)


def test_joint_roots_average_perplexity_ratios() -> None:
    """Algorithm 1: the mean of the ratios, not of their logarithms."""
    target = math.log(2.0)
    mild, harsh = [Patch(0.1, 0.1, 1.0)], [Patch(0.1, 1.0, 1.0)]
    root = pooled_root([mild, harsh], target)
    growth = (root / 0.1) ** 2
    assert (math.exp(0.1 * growth) + math.exp(growth)) / 2 == pytest.approx(2.0, rel=1e-6)


def test_a_perplexity_that_falls_has_no_root() -> None:
    assert pooled_root([[Patch(0.1, -1.0, 10.0)]], TARGET) == pytest.approx(0.99)


def test_a_survey_places_the_root(trained_silu, text) -> None:
    loaded = LoadedCheckpoint.of(trained_silu, text, 16)
    start = probe(loaded, text, TARGET)
    calibration = calibrate_at(loaded, text, start, wide=True)
    found = survey(loaded, text, calibration, TARGET, start)
    assert sum(patch.count for patch in found) == text.predicted.sum()
    guess = pooled_root([found], TARGET)
    solved = solve_model(loaded, text, TARGET)
    assert solved.step.status == "converged"
    assert solved.guess == guess
    assert abs(solved.measurement.log_ratio - TARGET) <= 3e-4
    assert guess == pytest.approx(solved.step.cett, rel=0.1)


def test_a_survey_stays_where_the_curves_are_calibrated(trained_silu, text) -> None:
    loaded = LoadedCheckpoint.of(trained_silu, text, 16)
    calibration = calibrate_at(loaded, text, 0.01, wide=True)
    low, high = (
        pick(curve.range[end] for curve in calibration.curves)
        for end, pick in enumerate((max, min))
    )
    # Ten times the rise of perplexity: the root lies far beyond.
    for patch in survey(loaded, text, calibration, 10 * TARGET, 0.01):
        assert low < patch.cett < high


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tokens", [1, 256, 700])
def test_skipped_norms_against_the_definition(tokens: int, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(tokens)
    hidden = torch.from_numpy(rng.normal(size=(tokens, 40))).to(dtype)
    weight = torch.from_numpy(rng.normal(size=(12, 40))).to(dtype)
    limit = torch.from_numpy(rng.uniform(0, 2, 40)).to(dtype)
    norms = SkippedNorms()
    # Twice, and with other sizes in between: the buffers are used again.
    norms(hidden[:1], weight, limit)
    found, count = norms(hidden[::2], weight, limit)
    weak = hidden[::2] * (hidden[::2].abs() < limit)
    expected = (weak.float() @ weight.float().t()).norm(dim=1)
    torch.testing.assert_close(
        found, expected, rtol=2e-2 if dtype == torch.bfloat16 else 1e-5, atol=1e-6
    )
    assert count == int((hidden[::2].abs() < limit).sum())
