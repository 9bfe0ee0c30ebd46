"""The measurement protocol over a series of checkpoints, in pieces that survive an interruption."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from sparsefit.collectors.checkpoint_measure import (
    Measurement,
    calibrate_at,
    calibration_reaches,
    measure_at,
    measure_rule,
)
from sparsefit.collectors.checkpoints import Checkpoint
from sparsefit.collectors.forward import forward_losses, with_batch_size
from sparsefit.collectors.guess import SURVEY_ERROR, Patch, pooled_root, probe, survey
from sparsefit.collectors.loading import LoadOptions
from sparsefit.collectors.memory import LoadedModels
from sparsefit.collectors.progress import Progress
from sparsefit.collectors.records import (
    calibration_from,
    calibration_record,
    measurement_from,
    measurement_record,
)
from sparsefit.collectors.refusals import refuse_other_model
from sparsefit.collectors.rules import check_relu, rule_of
from sparsefit.collectors.settings import Settings
from sparsefit.collectors.solve import Evaluation, Step, next_step
from sparsefit.collectors.state import Key, Parts
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import (
    ArgumentError,
    CheckpointError,
    CollectorError,
    SparsefitError,
)

Value = TypeVar("Value")

_NOT_SOLVED = "given"
_RUN: Key = ("run",)


class Series:
    """Runs the protocol; every finished piece goes to the parts, every decision comes from them.

    What is measured for a root is kept under the checkpoints that it is solved on: the table
    depends on which checkpoints can be measured, not on when the others failed.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        text: EvaluationText,
        settings: Settings,
        load: LoadOptions,
        parts: Parts,
        batch_size: int,
        bar: Progress,
        *,
        growing: bool = False,
    ) -> None:
        self.checkpoints = checkpoints
        self.text = text
        self.settings = settings
        self.parts = parts
        self.bar = bar
        # Whether the run's CETT stays what it was when there were fewer checkpoints.
        self.growing = growing
        self._models = LoadedModels(
            text,
            load,
            settings.joint,
            batch_size=batch_size,
            pattern=settings.pattern,
            bar=bar,
        )
        self._run_model: tuple[str, dict[str, Any]] | None = None
        # By checkpoint: the solve whose CETT it is measured at.
        self._solves: dict[str, str] = {}

    def measure_all(self) -> dict[str, dict[str, Any]]:
        """Return each checkpoint's record: model description and measurement, or a reason."""
        self._forget_failed()
        if self.growing:
            self._run_model = self._earlier_model()
        # The last one that can be run says what model the run is of; it is in memory then, so the
        # rest goes on from there.
        self._usable(1)
        backwards = self.checkpoints[::-1]
        if self.settings.metric == "cett_ppl":
            if self.settings.cett_scope == "run":
                solve = self._solve_run()
                self._solves = {checkpoint.name: solve for checkpoint in self.checkpoints}
            else:
                for checkpoint in backwards:
                    if self._prepare(checkpoint):
                        self._solves[checkpoint.name] = self._solve([checkpoint])
        for checkpoint in backwards:
            if self._reason(checkpoint) is None:
                self._attempt(checkpoint, partial(self._final, checkpoint))
            self.bar.checkpoint_done()
        if all(self._reason(checkpoint) is not None for checkpoint in self.checkpoints):
            reasons = "\n".join(f"  - {_named(c, self._reason(c))}" for c in self.checkpoints)
            # The cause is rarely every checkpoint's own: the same command is to try them again.
            if not self.growing:
                self.parts.discard()
            raise CheckpointError(f"no checkpoint could be measured:\n{reasons}")
        return {
            c.name: {
                "model": self.parts.get(("model", c.name)),
                "failed": self._reason(c),
                "measurement": self._measurement(c),
            }
            for c in self.checkpoints
        }

    def solutions(self) -> dict[str, dict[str, Any]]:
        """Solved roots: that of the run under "run", others under their checkpoint's name."""
        joint = self.settings.cett_scope == "run"
        found = {
            "run" if joint else c.name: self.parts.get(("solution", self._solve_of(c)))
            for c in self.checkpoints
        }
        return {name: value for name, value in found.items() if value is not None}

    def _forget_failed(self) -> None:
        """Let checkpoints that failed before be tried again: by now they may be repaired.

        Nothing stays of what was measured on them, nor of solves that they took part in.
        """
        keys = self.parts.keys()
        for checkpoint in self.checkpoints:
            name = checkpoint.name
            if ("failed", name) not in keys:
                continue
            solves = {
                key[1:] for key in keys if key[0] == "members" and name in self.parts.get(key)
            }
            held = self.parts.get(_RUN)
            if self.growing:
                # What the run is measured at stays, whatever becomes of one that it rests on.
                solves.discard((held,))
            forgotten = [key for key in keys if key[1:2] in solves or key[1:][-1:] == (name,)]
            if (held,) in solves:
                forgotten.append(_RUN)
            # What says which to forget goes last: killed on the way, a resumed run does the rest.
            forgotten.sort(key=lambda key: (key[0] == "failed", key[0] == "members"))
            self.parts.forget(forgotten)
            keys.difference_update(forgotten)

    def _earlier_model(self) -> tuple[str, dict[str, Any]] | None:
        """The model of what was measured before: a new checkpoint of another one is the odd one."""
        keys = self.parts.keys()
        measured = {key[-1] for key in keys if key[0] == "at"}
        for checkpoint in self.checkpoints:
            found = self.parts.get(("model", checkpoint.name))
            if checkpoint.name in measured and found is not None:
                return checkpoint.name, found
        return None

    # -- what can be measured ----------------------------------------------------------------

    def _reason(self, checkpoint: Checkpoint) -> str | None:
        record = self.parts.get(("failed", checkpoint.name))
        return None if record is None else str(record["reason"])

    def _attempt(self, checkpoint: Checkpoint, call: Callable[[], Value]) -> Value | None:
        """Run a step; a checkpoint's own trouble becomes a failed row (None), ours goes up."""
        try:
            return call()
        except (SparsefitError, RuntimeError, ValueError, ArithmeticError) as error:
            # A plain CollectorError is about the measurement (disk, memory), not the checkpoint.
            if type(error) is CollectorError or isinstance(error, ArgumentError):
                raise
            known = isinstance(error, SparsefitError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            self.parts.put(("failed", checkpoint.name), {"reason": reason})
            self._models.drop(checkpoint)
            self.bar.say(f"{checkpoint.name} failed: {reason}")
            return None

    def _prepare(self, checkpoint: Checkpoint) -> bool:
        """Load a checkpoint once, run it on one window, and note what it is."""

        def describe() -> Any:
            loaded = self._models.get(checkpoint)
            if self.settings.metric == "relu_zero":
                check_relu(loaded.model, loaded.sites)
            # One batch: NaN weights and a wrong vocabulary show here, before a joint solve.
            first = self.text.take(slice(0, 1))
            with_batch_size(lambda size: forward_losses(loaded.model, first, size), 1)
            return self.parts.put(("model", checkpoint.name), loaded.describe())

        def prepare() -> bool:
            found = self.parts.get(("model", checkpoint.name)) or describe()
            self._run_model = self._run_model or (checkpoint.name, found)
            refuse_other_model(checkpoint.name, found, *self._run_model)
            return True

        return self._reason(checkpoint) is None and self._attempt(checkpoint, prepare) is not None

    def _usable(self, count: int) -> list[Checkpoint]:
        """The last `count` checkpoints that can be loaded and run."""
        found: list[Checkpoint] = []
        for checkpoint in reversed(self.checkpoints):
            if self._prepare(checkpoint):
                found.append(checkpoint)
            if len(found) == count:
                break
        return found[::-1]

    # -- solving -----------------------------------------------------------------------------

    def _solve_run(self) -> str:
        """Solve on the last checkpoints; one that breaks is replaced by the one before."""
        if self.growing and (found := self.parts.get(_RUN)) is not None:
            return str(found)
        while True:
            members = self._usable(self.settings.joint)
            solve = self._solve(members)
            if all(self._reason(member) is None for member in members):
                if members:
                    self.parts.put(_RUN, solve)
                return solve

    def _solve(self, members: Sequence[Checkpoint]) -> str:
        """Solve one CETT jointly on the members, and return the solve's name in the parts.

        Stops early where one of them fails.
        """
        names = [member.name for member in members]
        solve = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
        if not members or self.parts.get(("solution", solve)) is not None:
            return solve
        self.parts.put(("members", solve), names)
        target = self.settings.target
        probed = self.parts.get(("probe", solve))
        if probed is None:
            self.bar.say(f"probing {names[-1]}")
            found = self._attempt(
                members[-1], lambda: probe(self._models.get(members[-1]), self.text, target)
            )
            if found is None:
                return solve
            probed = self.parts.put(("probe", solve), {"cett": found})
        surveys: list[list[Patch]] = []
        for member in members:
            patches = self._attempt(
                member, partial(self._survey, solve, member, probed["cett"], surveys)
            )
            if patches is None:
                return solve
            surveys.append(patches)
        guess = pooled_root(surveys, target)
        while True:
            evaluations = self.parts.get(("history", solve)) or []
            history = [Evaluation(item["cett"], item["log_ratio"]) for item in evaluations]
            step = next_step(
                history,
                target,
                guess=guess,
                guess_error=SURVEY_ERROR,
                tolerance=self.settings.tolerance,
            )
            if step.done:
                break
            ratios: list[float] = []
            for member in members:
                ratio = self._attempt(member, partial(self._evaluate, solve, member, step.cett))
                if ratio is None:
                    return solve
                ratios.append(ratio)
            mean = sum(math.exp(ratio) for ratio in ratios) / len(ratios)
            point = {"cett": step.cett, "log_ratio": math.log(mean), "members": ratios}
            self.parts.put(("history", solve), [*evaluations, point])
        self.parts.put(("solution", solve), _solution(step, members, evaluations, target))
        return solve

    def _survey(
        self, solve: str, checkpoint: Checkpoint, start: float, others: Sequence[Sequence[Patch]]
    ) -> list[Patch]:
        """Survey one checkpoint for the root (see `guess.survey`)."""
        key = ("survey", solve, checkpoint.name)
        record = self.parts.get(key)
        if record is None:
            self.bar.say(f"surveying {checkpoint.name}")
            calibration = self._calibration(solve, checkpoint, start, wide=True)
            found = survey(
                self._models.get(checkpoint),
                self.text,
                calibration,
                self.settings.target,
                start,
                others,
            )
            record = self.parts.put(key, [[p.cett, p.difference, p.count] for p in found])
        return [Patch(*values) for values in record]

    def _evaluate(self, solve: str, checkpoint: Checkpoint, cett: float) -> float:
        """Log perplexity ratio of one checkpoint at a CETT; the measurement is kept."""
        key = ("at", solve, repr(cett), checkpoint.name)
        record = self.parts.get(key)
        if record is None:
            self.bar.say(f"{checkpoint.name} at CETT {cett:.5f}")
            loaded = self._models.get(checkpoint)
            calibration = self._calibration(solve, checkpoint, cett, wide=True)
            record = self.parts.put(
                key, measurement_record(measure_at(loaded, self.text, calibration, cett))
            )
        return measurement_from(record).log_ratio

    def _calibration(self, solve: str, checkpoint: Checkpoint, cett: float, *, wide: bool) -> Any:
        key = ("curves", solve, checkpoint.name)
        record = self.parts.get(key)
        if record is not None:
            calibration = calibration_from(record)
            if calibration_reaches(calibration, cett):
                return calibration
        calibration = calibrate_at(self._models.get(checkpoint), self.text, cett, wide=wide)
        return calibration_from(self.parts.put(key, calibration_record(calibration)))

    # -- final measurement -------------------------------------------------------------------

    def _cett(self, checkpoint: Checkpoint) -> float | None:
        if self.settings.metric == "cett":
            return self.settings.cett
        solution = self.parts.get(("solution", self._solve_of(checkpoint)))
        return None if solution is None else float(solution["cett"])

    def _solve_of(self, checkpoint: Checkpoint) -> str:
        return self._solves.get(checkpoint.name, _NOT_SOLVED)

    def _final(self, checkpoint: Checkpoint) -> None:
        if not self._prepare(checkpoint) or self._measurement(checkpoint) is not None:
            return
        self.bar.say(f"measuring {checkpoint.name}")
        loaded = self._models.get(checkpoint)
        if self.settings.metric in ("cett_ppl", "cett"):
            cett = self._cett(checkpoint)
            if cett is None:
                raise CollectorError(
                    "the CETT of the run is not among its parts: start over (--restart)"
                )
            calibration = self._calibration(
                self._solve_of(checkpoint), checkpoint, cett, wide=False
            )
            measured = measure_at(loaded, self.text, calibration, cett)
        else:
            dense, loaded.batch_size = with_batch_size(
                lambda size: forward_losses(
                    loaded.model, self.text, size, advance=self.bar.advance
                ),
                loaded.batch_size,
            )
            measured = measure_rule(loaded, self.text, rule_of(self.settings), dense)
        self.parts.put(self._key(checkpoint), measurement_record(measured))

    def _key(self, checkpoint: Checkpoint) -> Key:
        cett = self._cett(checkpoint)
        where = self.settings.metric if cett is None else repr(cett)
        return ("at", self._solve_of(checkpoint), where, checkpoint.name)

    def _measurement(self, checkpoint: Checkpoint) -> Measurement | None:
        record = self.parts.get(self._key(checkpoint))
        return None if record is None else measurement_from(record)


def _named(checkpoint: Checkpoint, reason: str | None) -> str:
    """A reason with the checkpoint's name before it, once."""
    start = f"{checkpoint.name}: "
    return start + str(reason).removeprefix(start)


def _solution(
    step: Step,
    members: Sequence[Checkpoint],
    evaluations: Sequence[dict[str, Any]],
    target: float,
) -> dict[str, Any]:
    return {
        "cett": step.cett,
        "status": step.status,
        "message": step.message,
        "target_log_ratio": target,
        "checkpoints": [member.name for member in members],
        "evaluations": list(evaluations),
    }
