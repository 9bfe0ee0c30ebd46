"""Which checkpoints of a run can be measured; the others keep the reason why not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint
from sparsefit.collectors.checkpoints import Checkpoint
from sparsefit.collectors.forward import forward_losses, with_batch_size
from sparsefit.collectors.memory import LoadedModels
from sparsefit.collectors.progress import Progress
from sparsefit.collectors.refusals import refuse_other_model
from sparsefit.collectors.rules import check_relu
from sparsefit.collectors.settings import Settings
from sparsefit.collectors.state import Key, Parts
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import ArgumentError, CollectorError, SparsefitError

Value = TypeVar("Value")

RUN: Key = ("run",)
"""The part that names the solve at whose CETT the run is measured."""


class Usable:
    """Loads and tries checkpoints; one that fails is noted in the parts and not tried again.

    Parameters
    ----------
    checkpoints : sequence of Checkpoint
        The run, in the order of tokens.
    text : EvaluationText
        What they are tried on.
    settings : Settings
        What is measured.
    parts : Parts
        Where failures and descriptions of models are kept.
    models : LoadedModels
        Loads them.
    bar : Progress
        Told of failures.
    growing : bool
        Whether the run's model and CETT stay what they were when there were fewer checkpoints.
    """

    def __init__(
        self,
        checkpoints: Sequence[Checkpoint],
        text: EvaluationText,
        settings: Settings,
        parts: Parts,
        models: LoadedModels,
        bar: Progress,
        *,
        growing: bool,
    ) -> None:
        self.checkpoints = checkpoints
        self.parts = parts
        self.bar = bar
        self.growing = growing
        self._text = text
        self._settings = settings
        self._models = models
        self._run_model: tuple[str, dict[str, Any]] | None = None

    def begin(self) -> None:
        """Let those that failed before be tried again, and recall the model of a growing run."""
        self._forget_failed()
        if self.growing:
            self._run_model = self._earlier_model()

    def model(self, checkpoint: Checkpoint) -> LoadedCheckpoint:
        """Return a checkpoint's model, see `LoadedModels.get`."""
        return self._models.get(checkpoint)

    def reason(self, checkpoint: Checkpoint) -> str | None:
        """Return why a checkpoint failed; None where it did not."""
        record = self.parts.get(("failed", checkpoint.name))
        return None if record is None else str(record["reason"])

    def attempt(self, checkpoint: Checkpoint, call: Callable[[], Value]) -> Value | None:
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

    def prepare(self, checkpoint: Checkpoint) -> bool:
        """Load a checkpoint once, run it on one window, and note what it is."""

        def describe() -> Any:
            loaded = self.model(checkpoint)
            if self._settings.metric == "relu_zero":
                check_relu(loaded.model, loaded.sites)
            # One batch: NaN weights and a wrong vocabulary show here, before a joint solve.
            first = self._text.take(slice(0, 1))
            with_batch_size(lambda size: forward_losses(loaded.model, first, size), 1)
            return self.parts.put(("model", checkpoint.name), loaded.describe())

        def try_it() -> bool:
            found = self.parts.get(("model", checkpoint.name)) or describe()
            self._run_model = self._run_model or (checkpoint.name, found)
            refuse_other_model(checkpoint.name, found, *self._run_model)
            return True

        return self.reason(checkpoint) is None and self.attempt(checkpoint, try_it) is not None

    def last(self, count: int) -> list[Checkpoint]:
        """Return the last `count` checkpoints that can be loaded and run."""
        found: list[Checkpoint] = []
        for checkpoint in reversed(self.checkpoints):
            if self.prepare(checkpoint):
                found.append(checkpoint)
            if len(found) == count:
                break
        return found[::-1]

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
            held = self.parts.get(RUN)
            if self.growing:
                # What the run is measured at stays, whatever becomes of one that it rests on.
                solves.discard((held,))
            forgotten = [key for key in keys if key[1:2] in solves or key[1:][-1:] == (name,)]
            if (held,) in solves:
                forgotten.append(RUN)
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
