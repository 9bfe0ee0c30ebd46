"""The models in memory: several small ones while a root is solved on them, one large one."""

from __future__ import annotations

import gc

import torch
from torch import nn

from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint
from sparsefit.collectors.checkpoints import Checkpoint
from sparsefit.collectors.loading import AUTO, LoadOptions, load_model
from sparsefit.collectors.progress import Progress
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import ArgumentError

# Models of this many bytes together stay in memory while a root is solved on several checkpoints.
_CACHE_BYTES = 1 << 30


class LoadedModels:
    """Loads checkpoints when they are asked for, and drops others first.

    Parameters
    ----------
    text : EvaluationText
        What they are tried on (`LoadedCheckpoint.of`).
    options : LoadOptions
        Device, dtype, remote code.
    most : int
        Models kept at most.
    batch_size : int
        Windows per batch at the start.
    pattern : str or None
        Site pattern.
    bar : Progress
        Told of what is loaded and run.
    """

    def __init__(
        self,
        text: EvaluationText,
        options: LoadOptions,
        most: int,
        *,
        batch_size: int,
        pattern: str | None,
        bar: Progress,
    ) -> None:
        self.text = text
        self.options = options
        self.most = most
        self.batch_size = batch_size
        self.pattern = pattern
        self.bar = bar
        self._kept: dict[str, LoadedCheckpoint] = {}

    def get(self, checkpoint: Checkpoint) -> LoadedCheckpoint:
        """Return a checkpoint's model, loaded where it is not in memory.

        Raises
        ------
        CheckpointError, ModelError, TextError
            It cannot be loaded, measured, or run on the text.
        ArgumentError
            A loader gives several checkpoints the same weights.
        """
        if checkpoint.name not in self._kept:
            self.bar.say(f"loading {checkpoint.name}")
            self._make_room()
            model = load_model(checkpoint, self.options)
            for name, kept in self._kept.items() if self.options.loader is not None else ():
                if not _weights(model).isdisjoint(_weights(kept.model)):
                    raise ArgumentError(
                        f"the loader returned the same weights for {checkpoint.name} as for "
                        f"{name}: several checkpoints are in memory at once, so it must build a "
                        "new model each time"
                    )
            self._kept[checkpoint.name] = LoadedCheckpoint.of(
                model,
                self.text,
                self.batch_size,
                pattern=self.pattern,
                advance=self.bar.advance,
            )
        return self._kept[checkpoint.name]

    def drop(self, checkpoint: Checkpoint) -> None:
        """Forget a checkpoint's model, where it is in memory."""
        self._kept.pop(checkpoint.name, None)
        self._free()

    def _make_room(self) -> None:
        """Drop models, so that with one more of their size the limits are kept."""
        sizes = [
            sum(p.numel() * p.element_size() for p in loaded.model.parameters())
            for loaded in self._kept.values()
        ]
        if sizes and sum(sizes) + max(sizes) > _CACHE_BYTES:
            self._kept.clear()
        while len(self._kept) >= self.most:
            self._kept.pop(next(iter(self._kept)))
        if len(self._kept) < len(sizes):
            self._free()

    def _free(self) -> None:
        """Give a dropped model's memory back before the next is spread over what is free.

        The hooks of accelerate and their modules hold each other: without a collection the model
        would stay on its devices for a while.
        """
        if self.options.device == AUTO:
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def _weights(model: nn.Module) -> set[int]:
    """Places in memory of a model's weights."""
    return {weight.data_ptr() for weight in model.parameters() if weight.numel()} - {0}
