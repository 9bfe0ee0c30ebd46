"""The measurement protocol over a series of checkpoints, in pieces that survive an interruption."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from sparsefit.collectors.checkpoint_measure import (
    LoadedCheckpoint,
    Measurement,
    calibrate_at,
    calibration_reaches,
    measure_at,
    measure_rule,
)
from sparsefit.collectors.checkpoints import Checkpoint
from sparsefit.collectors.forward import forward_losses, with_batch_size
from sparsefit.collectors.guess import SURVEY_ERROR, Patch, pooled_root, probe, survey
from sparsefit.collectors.loading import LoadOptions, load_model
from sparsefit.collectors.masking import ForcedThreshold, NonZero, Rule, TopK, check_relu
from sparsefit.collectors.progress import Progress
from sparsefit.collectors.records import (
    calibration_from,
    calibration_record,
    measurement_from,
    measurement_record,
)
from sparsefit.collectors.settings import Settings
from sparsefit.collectors.solve import Evaluation, Step, next_step
from sparsefit.collectors.state import Parts
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import ArgumentError, CheckpointError, CollectorError, SparsefitError

Value = TypeVar("Value")

# Models of this many bytes together stay in memory while a root is solved on several checkpoints.
_CACHE_BYTES = 1 << 30


class Series:
    """Runs the protocol; every finished piece goes to the parts, every decision comes from them."""

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        text: EvaluationText,
        settings: Settings,
        load: LoadOptions,
        parts: Parts,
        batch_size: int,
        bar: Progress,
    ) -> None:
        self.checkpoints = checkpoints
        self.text = text
        self.settings = settings
        self.load_options = load
        self.parts = parts
        self.batch_size = batch_size
        self.bar = bar
        self._loaded: dict[str, LoadedCheckpoint] = {}

    def measure_all(self) -> dict[str, dict[str, Any]]:
        """Return each checkpoint's record: model description and measurement, or a reason."""
        if self.settings.metric == "cett_ppl":
            if self.settings.cett_scope == "run":
                self._solve_run()
            else:
                for checkpoint in self.checkpoints:
                    if self._prepare(checkpoint):
                        self._solve(checkpoint.name, [checkpoint])
        for checkpoint in self.checkpoints:
            if self._reason(checkpoint) is None:
                self._attempt(checkpoint, partial(self._final, checkpoint))
            self.bar.checkpoint_done()
        if all(self._reason(checkpoint) is not None for checkpoint in self.checkpoints):
            reasons = "\n".join(f"  - {c.name}: {self._reason(c)}" for c in self.checkpoints)
            # The cause is rarely every checkpoint's own: the same command is to try them again.
            self.parts.discard()
            raise CheckpointError(f"no checkpoint could be measured:\n{reasons}")
        return {
            c.name: {
                "model": self.parts.get(f"model-{c.name}"),
                "failed": self._reason(c),
                "measurement": self._measurement(c),
            }
            for c in self.checkpoints
        }

    def solutions(self) -> dict[str, dict[str, Any]]:
        """Solved groups, by name."""
        names = ["run", *(checkpoint.name for checkpoint in self.checkpoints)]
        found = {name: self.parts.get(f"solution-{name}") for name in names}
        return {name: value for name, value in found.items() if value is not None}

    # -- loading -----------------------------------------------------------------------------

    def _model(self, checkpoint: Checkpoint) -> LoadedCheckpoint:
        if checkpoint.name not in self._loaded:
            self.bar.say(f"loading {checkpoint.name}")
            model = load_model(checkpoint, self.load_options)
            size = sum(p.numel() * p.element_size() for p in model.parameters())
            if size * (len(self._loaded) + 1) > _CACHE_BYTES:
                self._loaded.clear()
            while len(self._loaded) >= self.settings.joint:
                self._loaded.pop(next(iter(self._loaded)))
            self._loaded[checkpoint.name] = LoadedCheckpoint.of(
                model,
                self.text,
                self.batch_size,
                pattern=self.settings.pattern,
                advance=self.bar.advance,
            )
        return self._loaded[checkpoint.name]

    def _reason(self, checkpoint: Checkpoint) -> str | None:
        record = self.parts.get(f"failed-{checkpoint.name}")
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
            self.parts.put(f"failed-{checkpoint.name}", {"reason": reason})
            self._loaded.pop(checkpoint.name, None)
            self.bar.say(f"{checkpoint.name} failed: {reason}")
            return None

    def _prepare(self, checkpoint: Checkpoint) -> bool:
        """Load a checkpoint once, note what it is, and compute its dense loss by calibrating."""
        if self._reason(checkpoint) is not None:
            return False
        if self.parts.get(f"model-{checkpoint.name}") is not None:
            return True

        def describe() -> Any:
            loaded = self._model(checkpoint)
            if self.settings.metric == "relu_zero":
                check_relu(loaded.model, loaded.sites)
            # One batch: NaN weights and a wrong vocabulary show here, before a joint solve.
            forward_losses(loaded.model, self.text.take(slice(0, 1)), 1)
            return self.parts.put(f"model-{checkpoint.name}", loaded.describe())

        return self._attempt(checkpoint, describe) is not None

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

    def _solve_run(self) -> None:
        """Solve on the last checkpoints; one that breaks is replaced by the one before."""
        while True:
            members = self._usable(self.settings.joint)
            before = [self._reason(member) for member in members]
            self._solve("run", members)
            if [self._reason(member) for member in members] == before:
                return

    def _solve(self, group: str, members: Sequence[Checkpoint]) -> None:
        """Solve one CETT jointly on the members; stops early where one of them fails."""
        if not members or self.parts.get(f"solution-{group}") is not None:
            return
        target = self.settings.target
        names = [member.name for member in members]
        probed = self.parts.get(f"probe-{group}")
        if probed is None:
            self.bar.say(f"probing {names[-1]}")
            found = self._attempt(
                members[-1], lambda: probe(self._model(members[-1]), self.text, target)
            )
            if found is None:
                return
            probed = self.parts.put(f"probe-{group}", {"cett": found})
        surveys: list[list[Patch]] = []
        for member in members:
            patches = self._attempt(
                member, partial(self._survey, group, member, probed["cett"], surveys)
            )
            if patches is None:
                return
            surveys.append(patches)
        guess = pooled_root(surveys, target)
        while True:
            kept = self.parts.get(f"history-{group}") or {}
            evaluations = kept.get("evaluations", []) if kept.get("checkpoints") == names else []
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
                ratio = self._attempt(member, partial(self._evaluate, member, step.cett))
                if ratio is None:
                    return
                ratios.append(ratio)
            mean = sum(math.exp(ratio) for ratio in ratios) / len(ratios)
            point = {"cett": step.cett, "log_ratio": math.log(mean), "members": ratios}
            self.parts.put(
                f"history-{group}", {"checkpoints": names, "evaluations": [*evaluations, point]}
            )
        self.parts.put(f"solution-{group}", _solution(step, members, evaluations, target))

    def _survey(
        self, group: str, checkpoint: Checkpoint, start: float, others: Sequence[Sequence[Patch]]
    ) -> list[Patch]:
        """Survey one checkpoint for the group's root (see `guess.survey`)."""
        key = f"survey-{group}-{checkpoint.name}"
        record = self.parts.get(key)
        if record is None:
            self.bar.say(f"surveying {checkpoint.name}")
            calibration = self._calibration(checkpoint, start, wide=True)
            found = survey(
                self._model(checkpoint),
                self.text,
                calibration,
                self.settings.target,
                start,
                others,
            )
            record = self.parts.put(key, [[p.cett, p.difference, p.count] for p in found])
        return [Patch(*values) for values in record]

    def _evaluate(self, checkpoint: Checkpoint, cett: float) -> float:
        """Log perplexity ratio of one checkpoint at a CETT; the measurement is kept."""
        key = f"at-{cett!r}-{checkpoint.name}"
        record = self.parts.get(key)
        if record is None:
            self.bar.say(f"{checkpoint.name} at CETT {cett:.5f}")
            loaded = self._model(checkpoint)
            calibration = self._calibration(checkpoint, cett, wide=True)
            record = self.parts.put(
                key, measurement_record(measure_at(loaded, self.text, calibration, cett))
            )
        return measurement_from(record).log_ratio

    def _calibration(self, checkpoint: Checkpoint, cett: float, *, wide: bool) -> Any:
        key = f"curves-{checkpoint.name}"
        record = self.parts.get(key)
        if record is not None:
            calibration = calibration_from(record)
            if calibration_reaches(calibration, cett):
                return calibration
        calibration = calibrate_at(self._model(checkpoint), self.text, cett, wide=wide)
        return calibration_from(self.parts.put(key, calibration_record(calibration)))

    # -- final measurement -------------------------------------------------------------------

    def _cett(self, checkpoint: Checkpoint) -> float | None:
        if self.settings.metric == "cett":
            return self.settings.cett
        group = "run" if self.settings.cett_scope == "run" else checkpoint.name
        solution = self.parts.get(f"solution-{group}")
        return None if solution is None else float(solution["cett"])

    def _final(self, checkpoint: Checkpoint) -> None:
        if not self._prepare(checkpoint) or self._measurement(checkpoint) is not None:
            return
        self.bar.say(f"measuring {checkpoint.name}")
        loaded = self._model(checkpoint)
        if self.settings.metric in ("cett_ppl", "cett"):
            cett = self._cett(checkpoint)
            assert cett is not None
            calibration = self._calibration(checkpoint, cett, wide=False)
            measured = measure_at(loaded, self.text, calibration, cett)
        else:
            dense, loaded.batch_size = with_batch_size(
                lambda size: forward_losses(
                    loaded.model, self.text, size, advance=self.bar.advance
                ),
                loaded.batch_size,
            )
            measured = measure_rule(loaded, self.text, self._rule(), dense)
        self.parts.put(self._key(checkpoint), measurement_record(measured))

    def _key(self, checkpoint: Checkpoint) -> str:
        cett = self._cett(checkpoint)
        return f"at-{self.settings.metric if cett is None else repr(cett)}-{checkpoint.name}"

    def _measurement(self, checkpoint: Checkpoint) -> Measurement | None:
        record = self.parts.get(self._key(checkpoint))
        return None if record is None else measurement_from(record)

    def _rule(self) -> Rule:
        if self.settings.metric == "topk":
            assert self.settings.k is not None
            return TopK(self.settings.k)
        if self.settings.metric == "fat":
            assert self.settings.eps is not None
            return ForcedThreshold(self.settings.eps)
        return NonZero()


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
