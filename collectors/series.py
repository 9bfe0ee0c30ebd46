"""The measurement protocol over a series of checkpoints, in pieces that survive an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from sparsefit.collectors.checkpoint_measure import Measurement, measure_at, measure_rule
from sparsefit.collectors.checkpoints import Checkpoint
from sparsefit.collectors.forward import forward_losses, with_batch_size
from sparsefit.collectors.joint import JointSolver
from sparsefit.collectors.loading import LoadOptions
from sparsefit.collectors.memory import LoadedModels
from sparsefit.collectors.progress import Progress
from sparsefit.collectors.records import measurement_from, measurement_record
from sparsefit.collectors.rules import rule_of
from sparsefit.collectors.settings import Settings
from sparsefit.collectors.state import Key, Parts
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.usable import RUN, Usable
from sparsefit.errors import CheckpointError, CollectorError

_NOT_SOLVED = "given"


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
        self.growing = growing
        models = LoadedModels(
            text,
            load,
            settings.joint,
            batch_size=batch_size,
            pattern=settings.pattern,
            bar=bar,
        )
        self._usable = Usable(checkpoints, text, settings, parts, models, bar, growing=growing)
        self._solver = JointSolver(self._usable, text, settings)
        # By checkpoint: the solve whose CETT it is measured at.
        self._solves: dict[str, str] = {}

    def measure_all(self) -> dict[str, dict[str, Any]]:
        """Return each checkpoint's record: model description and measurement, or a reason."""
        self._usable.begin()
        # The last one that can be run says what model the run is of; it is in memory then, so the
        # rest goes on from there.
        self._usable.last(1)
        backwards = self.checkpoints[::-1]
        if self.settings.metric == "cett_ppl":
            if self.settings.cett_scope == "run":
                solve = self._solve_run()
                self._solves = {checkpoint.name: solve for checkpoint in self.checkpoints}
            else:
                for checkpoint in backwards:
                    if self._usable.prepare(checkpoint):
                        self._solves[checkpoint.name] = self._solver.solve([checkpoint])
        for checkpoint in backwards:
            if self._usable.reason(checkpoint) is None:
                self._usable.attempt(checkpoint, partial(self._measure, checkpoint))
            self.bar.checkpoint_done()
        reasons = {c.name: self._usable.reason(c) for c in self.checkpoints}
        if None not in reasons.values():
            listed = "\n".join(f"  - {_named(name, reason)}" for name, reason in reasons.items())
            # The cause is rarely every checkpoint's own: the same command is to try them again.
            if not self.growing:
                self.parts.discard()
            raise CheckpointError(f"no checkpoint could be measured:\n{listed}")
        return {
            c.name: {
                "model": self.parts.get(("model", c.name)),
                "failed": reasons[c.name],
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

    def _solve_run(self) -> str:
        """Solve on the last checkpoints; one that breaks is replaced by the one before."""
        if self.growing and (found := self.parts.get(RUN)) is not None:
            return str(found)
        while True:
            members = self._usable.last(self.settings.joint)
            solve = self._solver.solve(members)
            if all(self._usable.reason(member) is None for member in members):
                if members:
                    self.parts.put(RUN, solve)
                return solve

    def _measure(self, checkpoint: Checkpoint) -> None:
        """Measure one checkpoint at its CETT, or by its rule, unless that is done."""
        if not self._usable.prepare(checkpoint) or self._measurement(checkpoint) is not None:
            return
        self.bar.say(f"measuring {checkpoint.name}")
        loaded = self._usable.model(checkpoint)
        if self.settings.metric in ("cett_ppl", "cett"):
            cett = self._cett(checkpoint)
            if cett is None:
                raise CollectorError(
                    "the CETT of the run is not among its parts: start over (--restart)"
                )
            calibration = self._solver.calibration(
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

    def _cett(self, checkpoint: Checkpoint) -> float | None:
        if self.settings.metric == "cett":
            return self.settings.cett
        solution = self.parts.get(("solution", self._solve_of(checkpoint)))
        return None if solution is None else float(solution["cett"])

    def _solve_of(self, checkpoint: Checkpoint) -> str:
        return self._solves.get(checkpoint.name, _NOT_SOLVED)

    def _key(self, checkpoint: Checkpoint) -> Key:
        cett = self._cett(checkpoint)
        where = self.settings.metric if cett is None else repr(cett)
        return ("at", self._solve_of(checkpoint), where, checkpoint.name)

    def _measurement(self, checkpoint: Checkpoint) -> Measurement | None:
        record = self.parts.get(self._key(checkpoint))
        return None if record is None else measurement_from(record)


def _named(name: str, reason: str | None) -> str:
    """A reason with the checkpoint's name before it, once."""
    start = f"{name}: "
    return start + str(reason).removeprefix(start)
