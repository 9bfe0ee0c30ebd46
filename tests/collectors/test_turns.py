"""Curves that are exact wherever a root may turn out to be."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sparsefit.collectors import checkpoint_measure, reference
from sparsefit.collectors.calibrate import Plan
from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint, calibrate_at
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.turns import Draw, Turns
from sparsefit.errors import ArgumentError

GRID = np.linspace(-0.6, 0.6, 11)
ANCHORS = np.arange(1, 10)
WINDOWS = 20


def population(tokens: int = 20_000, seed: int = 0) -> np.ndarray:
    """Relative errors of made-up tokens at the grid: levels, slopes and steps of their own."""
    rng = np.random.default_rng(seed)
    level = rng.normal(math.log(0.04), 0.5, (tokens, 1))
    slope = rng.normal(1.5, 0.4, (tokens, 1))
    steps = rng.normal(0, 0.08, (tokens, GRID.size)).cumsum(axis=1)
    return np.exp(level + slope * GRID + steps)


def collected(values: np.ndarray, sample: np.ndarray, windows: np.ndarray) -> Turns:
    """Tokens of which some (`sample`, booleans) are seen on the whole grid."""
    turns = Turns(ANCHORS, GRID.size, WINDOWS)
    turns.add_sample(values[sample], windows[sample])
    numbers = np.random.default_rng(1).integers(0, 1 << 32, values.shape[0], dtype=np.uint32)
    groups = turns.group_of(numbers)
    seen = np.take_along_axis(values, turns.groups[groups], axis=1)
    for part in np.array_split(np.flatnonzero(~sample), 7):
        turns.add_turns(seen[part], groups[part], windows[part])
    return turns


def test_two_values_of_each_token_give_the_mean_of_all() -> None:
    errors, sampled = [], []
    for seed in range(20):
        values = population(seed=seed)
        sample = np.arange(values.shape[0]) % 25 == 0
        turns = collected(values, sample, np.zeros(values.shape[0], dtype=int))
        errors.append(turns.means(values.shape[0]) / values.mean(axis=0) - 1)
        sampled.append(values[sample].mean(axis=0) / values.mean(axis=0) - 1)
    inside = np.sqrt(np.mean(np.square(errors), axis=0))[ANCHORS]
    assert (inside < 0.15 * np.sqrt(np.mean(np.square(sampled), axis=0))[ANCHORS]).all()
    # No bias either: 20 populations average theirs out.
    assert (np.abs(np.mean(errors, axis=0)[ANCHORS]) < 0.8 * inside).all()


def test_nothing_missing_is_the_plain_mean() -> None:
    values = population(500)
    everything = np.ones(500, dtype=bool)
    turns = collected(values, everything, np.zeros(500, dtype=int))
    np.testing.assert_allclose(turns.means(500), values.mean(axis=0), rtol=1e-12)
    # Tokens before the first output of a layer lose nothing.
    np.testing.assert_allclose(turns.means(1000), values.mean(axis=0) / 2, rtol=1e-12)


def test_tokens_that_are_all_alike() -> None:
    values = np.tile(np.exp(1.5 * GRID), (400, 1))
    turns = collected(values, np.arange(400) % 4 == 0, np.zeros(400, dtype=int))
    np.testing.assert_allclose(turns.means(400), values[0], rtol=1e-9)


def test_too_small_a_sample_says_nothing() -> None:
    values = population(400)
    turns = collected(values, np.arange(400) % 100 == 0, np.zeros(400, dtype=int))
    assert np.isnan(turns.means(400)).all()


@pytest.mark.parametrize("every", [1, 25])
def test_windows_relative_to_the_text(every: int) -> None:
    values = population()
    windows = np.arange(values.shape[0]) * WINDOWS // values.shape[0]
    high = windows == 3
    values[high] *= 1.5
    turns = collected(values, np.arange(values.shape[0]) % every == 0, windows)
    tokens = np.bincount(windows).astype(float)
    found = turns.by_window(turns.means(values.shape[0]), tokens)
    assert tokens @ found / tokens.sum() == pytest.approx(1, abs=2e-3)
    assert found[3] / np.delete(found, 3).mean() == pytest.approx(1.5, abs=0.06)


@pytest.mark.parametrize("length", [21, 42, 64, 610, 987])
def test_no_place_in_a_window_has_turns_of_its_own(length: int) -> None:
    """First tokens are like no others: always in the same group, they would shift its mean."""
    tokens = np.zeros((800, length), dtype=int)
    draw = Draw(EvaluationText(tokens, np.ones_like(tokens, dtype=bool)))
    assert (draw.windows.reshape(tokens.shape) == np.arange(800)[:, None]).all()
    groups = Turns(ANCHORS, GRID.size, 1).groups.shape[0]
    first = np.bincount(draw.numbers[::length] % groups, minlength=groups)
    assert first.max() < 2 * first.mean()
    assert first.min() > 0.4 * first.mean()


@pytest.mark.parametrize("n_windows", [64, 1024])
def test_curves_are_exact_away_from_where_they_were_made(family, monkeypatch, n_windows) -> None:
    """Too many hidden states for exact thresholds: the curve itself has to be right everywhere."""
    monkeypatch.setattr(checkpoint_measure, "EXACT_STATES", 0)
    model = family("Llama", num_hidden_layers=1, intermediate_size=128, vocab_size=2048)
    tokens = np.random.default_rng(0).integers(3, 2048, (n_windows, 64))
    text = EvaluationText(tokens, np.ones_like(tokens, dtype=bool))
    loaded = LoadedCheckpoint.of(model, text, 32)
    _, (hidden,) = reference.dense_run(model, text)
    calibration = calibrate_at(loaded, text, 0.03, wide=True)
    errors = []
    for offset in (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3):
        cett = 0.03 * math.exp(offset)
        (eps,) = calibration.thresholds(cett)
        errors.append(reference.layer_cett(hidden, loaded.sites[0].weight, eps) - cett)
    assert np.abs(errors).max() < 1e-4
    assert np.sqrt(np.mean(np.square(errors))) < 5e-5


def test_turns_are_taken_around_one_target() -> None:
    with pytest.raises(ArgumentError, match="one target"):
        Plan((0.1, 0.2), turns=(0.9, 1.1))
