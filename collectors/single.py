"""Solving CETT-PPL-p% on one model that is already in memory."""

from __future__ import annotations

from dataclasses import dataclass

from sparsefit.collectors.checkpoint_measure import (
    LoadedCheckpoint,
    Measurement,
    calibrate_at,
    calibration_reaches,
    measure_at,
)
from sparsefit.collectors.guess import SURVEY_ERROR, pooled_root, probe, survey
from sparsefit.collectors.solve import DEFAULT_TOLERANCE, Evaluation, Step, next_step
from sparsefit.collectors.text import EvaluationText


@dataclass(frozen=True, eq=False)
class Solved:
    """Root of one model.

    Attributes
    ----------
    step : Step
        CETT found and how the search ended.
    measurement : Measurement
        Measurement at that CETT, on the whole text.
    history : tuple of Evaluation
        Every evaluation of the whole text.
    guess : float
        Where the survey put the root.
    """

    step: Step
    measurement: Measurement
    history: tuple[Evaluation, ...]
    guess: float


def solve_model(
    loaded: LoadedCheckpoint,
    text: EvaluationText,
    target: float,
    *,
    tolerance: float = DEFAULT_TOLERANCE,
) -> Solved:
    """Find the CETT at which one model's log perplexity ratio is `target`.

    The steps of `joint.JointSolver` for a single checkpoint, without parts to resume from.
    """
    start = probe(loaded, text, target)
    calibration = calibrate_at(loaded, text, start, wide=True)
    guess = pooled_root([survey(loaded, text, calibration, target, start)], target)
    history: list[Evaluation] = []
    measured: dict[float, Measurement] = {}
    while True:
        step = next_step(
            history, target, guess=guess, guess_error=SURVEY_ERROR, tolerance=tolerance
        )
        if step.done:
            return Solved(step, measured[step.cett], tuple(history), guess)
        if not calibration_reaches(calibration, step.cett):
            calibration = calibrate_at(loaded, text, step.cett, wide=True)
        measured[step.cett] = measure_at(loaded, text, calibration, step.cett)
        history.append(Evaluation(step.cett, measured[step.cett].log_ratio))
