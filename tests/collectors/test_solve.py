"""The root finder on made-up curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsefit.collectors.solve import HIGHEST, LOWEST, Evaluation, Step, next_step, root_exponent

TARGET = math.log(1.01)


def solve(curve, guess: float = 0.06, target: float = TARGET) -> tuple[Step, list[Evaluation]]:
    history: list[Evaluation] = []
    while not (step := next_step(history, target, guess=guess)).done:
        assert LOWEST <= step.cett <= HIGHEST
        assert step.cett not in [point.cett for point in history]
        history.append(Evaluation(step.cett, curve(step.cett)))
    return step, history


@settings(max_examples=100, deadline=None)
@given(
    root=st.floats(2e-3, 0.6),
    power=st.floats(0.8, 3.5),
    guess=st.floats(1e-3, 0.8),
)
def test_power_laws_are_solved_in_few_steps(root: float, power: float, guess: float) -> None:
    step, history = solve(lambda c: TARGET * (c / root) ** power, guess)
    assert step.status == "converged"
    assert abs(TARGET * (step.cett / root) ** power - TARGET) <= 3e-4
    assert len(history) <= 12


def test_a_good_guess_needs_two_evaluations() -> None:
    _, history = solve(lambda c: TARGET * (c / 0.05) ** 2, guess=0.056)
    assert len(history) == 2


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), dip=st.floats(0, 0.02))
def test_jagged_curves_that_fall_first(seed: int, dip: float) -> None:
    rng = np.random.default_rng(seed)
    phases = rng.uniform(0, 2 * np.pi, 3)

    def curve(c: float) -> float:
        noise = sum(np.sin(f * math.log(c) + p) for f, p in zip((20, 47, 101), phases, strict=True))
        return TARGET * (c / 0.1) ** 2 - dip * math.exp(-((c / 0.03) ** 2)) + 2e-4 * noise

    step, history = solve(curve)
    assert step.status in ("converged", "jagged")
    assert step.cett in [point.cett for point in history]
    if step.status == "converged":
        assert abs(curve(step.cett) - TARGET) <= 3e-4


def test_one_sided_results_are_flagged() -> None:
    below, _ = solve(lambda c: 0.001 * c)
    assert below.status == "below"
    assert below.cett == HIGHEST
    above, _ = solve(lambda c: 0.5)
    assert above.status == "above"
    assert above.cett == LOWEST
    assert above.message


def test_a_jump_over_the_target_is_flagged() -> None:
    step, history = solve(lambda c: 0.002 if c < 0.0777 else 0.05)
    assert step.status == "jagged"
    assert step.cett == pytest.approx(0.0777, rel=2e-3)
    assert "jumps" in step.message
    assert len(history) < 25


def test_the_same_history_gives_the_same_step() -> None:
    _, history = solve(lambda c: TARGET * (c / 0.2) ** 1.5)
    for count in range(len(history)):
        again = next_step(history[:count][::-1], TARGET, guess=0.06)
        assert again.cett == history[count].cett


def test_exponent_at_the_root_is_robust() -> None:
    wide = [Evaluation(c, TARGET * (c / 0.1) ** 3) for c in (0.04, 0.08, 0.1, 0.25)]
    assert root_exponent(wide, 0.1) == pytest.approx(3.0, abs=0.05)
    # Three points within 2%: jaggedness, not slope.
    close = [Evaluation(0.100, 0.0096), Evaluation(0.101, 0.0105), Evaluation(0.102, 0.0099)]
    assert root_exponent(close, 0.101) == pytest.approx(2.0, abs=0.3)
    assert root_exponent([], 0.1) == 2.0
