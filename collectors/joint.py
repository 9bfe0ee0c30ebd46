"""One CETT for several checkpoints, found in pieces that survive an interruption."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from sparsefit.collectors.calibrate import Calibration
from sparsefit.collectors.checkpoint_measure import calibrate_at, calibration_reaches, measure_at
from sparsefit.collectors.checkpoints import Checkpoint
from sparsefit.collectors.guess import SURVEY_ERROR, Patch, pooled_root, probe, survey
from sparsefit.collectors.records import (
    calibration_from,
    calibration_record,
    measurement_from,
    measurement_record,
)
from sparsefit.collectors.settings import Settings
from sparsefit.collectors.solve import Evaluation, Step, next_step
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.usable import Usable


class JointSolver:
    """Finds the CETT at which the mean perplexity of some checkpoints rises by p%.

    Parameters
    ----------
    usable : Usable
        The checkpoints, their models, and the parts in which every piece is kept.
    text : EvaluationText
        The evaluation text.
    settings : Settings
        Target and tolerance.
    """

    def __init__(self, usable: Usable, text: EvaluationText, settings: Settings) -> None:
        self._usable = usable
        self._parts = usable.parts
        self._bar = usable.bar
        self._text = text
        self._settings = settings

    def solve(self, members: Sequence[Checkpoint]) -> str:
        """Solve one CETT jointly on the members, and return the solve's name in the parts.

        Stops early where one of them fails.
        """
        names = [member.name for member in members]
        solve = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
        if not members or self._parts.get(("solution", solve)) is not None:
            return solve
        self._parts.put(("members", solve), names)
        start = self._start(solve, members[-1])
        if start is None:
            return solve
        surveys: list[list[Patch]] = []
        for member in members:
            patches = self._usable.attempt(
                member, partial(self._survey, solve, member, start, surveys)
            )
            if patches is None:
                return solve
            surveys.append(patches)
        guess = pooled_root(surveys, self._settings.target)
        while True:
            evaluations = self._parts.get(("history", solve)) or []
            step = self._next_step(evaluations, guess)
            if step.done:
                break
            ratios: list[float] = []
            for member in members:
                ratio = self._usable.attempt(
                    member, partial(self._evaluate, solve, member, step.cett)
                )
                if ratio is None:
                    return solve
                ratios.append(ratio)
            mean = sum(math.exp(ratio) for ratio in ratios) / len(ratios)
            point = {"cett": step.cett, "log_ratio": math.log(mean), "members": ratios}
            self._parts.put(("history", solve), [*evaluations, point])
        solution = {
            "cett": step.cett,
            "status": step.status,
            "message": step.message,
            "target_log_ratio": self._settings.target,
            "checkpoints": names,
            "evaluations": list(evaluations),
        }
        self._parts.put(("solution", solve), solution)
        return solve

    def calibration(
        self, solve: str, checkpoint: Checkpoint, cett: float, *, wide: bool
    ) -> Calibration:
        """Return a checkpoint's curves around a CETT: those kept for a solve, where they reach."""
        key = ("curves", solve, checkpoint.name)
        record = self._parts.get(key)
        if record is not None:
            calibration = calibration_from(record)
            if calibration_reaches(calibration, cett):
                return calibration
        calibration = calibrate_at(self._usable.model(checkpoint), self._text, cett, wide=wide)
        return calibration_from(self._parts.put(key, calibration_record(calibration)))

    def _start(self, solve: str, checkpoint: Checkpoint) -> float | None:
        """Where to begin, from a little of the text (`guess.probe`); None where that fails."""
        key = ("probe", solve)
        record = self._parts.get(key)
        if record is None:
            self._bar.say(f"probing {checkpoint.name}")
            found = self._usable.attempt(
                checkpoint,
                lambda: probe(self._usable.model(checkpoint), self._text, self._settings.target),
            )
            if found is None:
                return None
            record = self._parts.put(key, {"cett": found})
        return float(record["cett"])

    def _survey(
        self, solve: str, checkpoint: Checkpoint, start: float, others: Sequence[Sequence[Patch]]
    ) -> list[Patch]:
        """Survey one checkpoint for the root (see `guess.survey`)."""
        key = ("survey", solve, checkpoint.name)
        record = self._parts.get(key)
        if record is None:
            self._bar.say(f"surveying {checkpoint.name}")
            calibration = self.calibration(solve, checkpoint, start, wide=True)
            found = survey(
                self._usable.model(checkpoint),
                self._text,
                calibration,
                self._settings.target,
                start,
                others,
            )
            record = self._parts.put(key, [[p.cett, p.difference, p.count] for p in found])
        return [Patch(*values) for values in record]

    def _next_step(self, evaluations: Sequence[dict[str, Any]], guess: float) -> Step:
        return next_step(
            [Evaluation(item["cett"], item["log_ratio"]) for item in evaluations],
            self._settings.target,
            guess=guess,
            guess_error=SURVEY_ERROR,
            tolerance=self._settings.tolerance,
        )

    def _evaluate(self, solve: str, checkpoint: Checkpoint, cett: float) -> float:
        """Log perplexity ratio of one checkpoint at a CETT; the measurement is kept."""
        key = ("at", solve, repr(cett), checkpoint.name)
        record = self._parts.get(key)
        if record is None:
            self._bar.say(f"{checkpoint.name} at CETT {cett:.5f}")
            loaded = self._usable.model(checkpoint)
            calibration = self.calibration(solve, checkpoint, cett, wide=True)
            record = self._parts.put(
                key, measurement_record(measure_at(loaded, self._text, calibration, cett))
            )
        return measurement_from(record).log_ratio
