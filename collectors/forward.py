"""Forward passes over an evaluation text: the model's own head, losses summed in float64."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from sparsefit.checks import check_whole
from sparsefit.collectors.configs import text_config
from sparsefit.collectors.evaluating import evaluating
from sparsefit.collectors.text import EvaluationText, checked_text
from sparsefit.collectors.weights import computing_device
from sparsefit.errors import CheckpointError, CollectorError, ModelError, SparsefitError

Result = TypeVar("Result")

# Rows of logits turned to float32 at once: bounds the memory that the loss adds to the pass.
_LOSS_ROWS = 256


@dataclass(frozen=True, eq=False)
class Batch:
    """Windows that go through the model together.

    Attributes
    ----------
    start, stop : int
        Range of windows in the text.
    tokens : torch.Tensor
        Token ids, shape (windows, length), on the model's device.
    counted : torch.Tensor
        Flattened mask of counted positions, shape (windows * length,), on the device.
    complete : bool
        True where every position is counted.
    """

    start: int
    stop: int
    tokens: torch.Tensor
    counted: torch.Tensor
    complete: bool
    _elsewhere: dict[torch.device, torch.Tensor] = field(default_factory=dict, repr=False)

    def counted_on(self, device: torch.device) -> torch.Tensor:
        """Return `counted` on the device of a layer of a model that is spread over several."""
        if device == self.counted.device:
            return self.counted
        if device not in self._elsewhere:
            self._elsewhere[device] = self.counted.to(device)
        return self._elsewhere[device]


@dataclass(frozen=True, eq=False)
class Losses:
    """Cross-entropy of a text.

    Attributes
    ----------
    sums : numpy.ndarray
        Summed loss of each window, nats, shape (windows,).
    counts : numpy.ndarray
        Predicted tokens of each window, shape (windows,).
    """

    sums: np.ndarray
    counts: np.ndarray

    @property
    def mean(self) -> float:
        """Mean loss per predicted token, nats."""
        return float(self.sums.sum() / self.counts.sum())


def default_batch_size(text: EvaluationText) -> int:
    """Windows per batch: about 2048 tokens, which keeps a CPU busy and the logits small."""
    return max(1, min(text.n_windows, 2048 // text.tokens.shape[1]))


def checked_batch_size(asked: int | None, text: EvaluationText) -> int:
    """Windows per batch: as asked for, by default `default_batch_size`.

    Raises
    ------
    ArgumentError
        Fewer than one window is asked for, or the text is none.
    """
    checked_text(text)
    if asked is None:
        return default_batch_size(text)
    return check_whole("batch_size", asked, 1)


@torch.inference_mode()
def forward_losses(
    model: nn.Module,
    text: EvaluationText,
    batch_size: int,
    on_batch: Callable[[Batch], None] | None = None,
    advance: Callable[[int], None] | None = None,
) -> Losses:
    """Run a model over a text.

    Parameters
    ----------
    model : torch.nn.Module
        Causal language model; in evaluation mode during the pass.
    text : EvaluationText
        Windows to run.
    batch_size : int
        Windows per batch.
    on_batch : callable, optional
        Called before each batch (hooks need to know which windows they see).
    advance : callable, optional
        Called after each batch with the number of counted tokens done.

    Raises
    ------
    CheckpointError
        The loss is not finite.
    ModelError
        A window is longer than the model's positions.
    """
    device = computing_device(model)
    sums = np.zeros(text.n_windows)
    with evaluating(model, device):
        for start in range(0, text.n_windows, batch_size):
            stop = min(start + batch_size, text.n_windows)
            counted = text.counted[start:stop]
            tokens = torch.from_numpy(text.tokens[start:stop]).to(device)
            batch = Batch(
                start,
                stop,
                tokens,
                torch.from_numpy(counted.ravel()).to(device),
                bool(counted.all()),
            )
            if on_batch is not None:
                on_batch(batch)
            try:
                logits = logits_of(model, tokens)
            except SparsefitError:
                raise
            except (IndexError, AssertionError, RuntimeError, ValueError) as error:
                if out_of_memory(error):
                    raise
                raise ModelError(
                    f"{type(model).__name__} fails on windows of {tokens.shape[1]} tokens "
                    f"({type(error).__name__}: {str(error)[:200]}): if its context is shorter, "
                    "give a --seq-len within it"
                ) from error
            sums[start:stop] = _window_losses(logits, tokens, text.predicted[start:stop])
            del logits
            if advance is not None:
                advance(int(counted.sum()))
    if not np.isfinite(sums).all():
        bad = int(np.flatnonzero(~np.isfinite(sums))[0])
        raise CheckpointError(
            f"the loss of window {bad} is not finite: the weights hold NaN or infinity, or the "
            "dtype overflows (try --dtype float32)"
        )
    return Losses(sums, text.predicted.sum(axis=1).astype(float))


def logits_of(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Run a model on token ids, shape (windows, length); logits (windows, length, vocabulary).

    The ids are given as ``input_ids`` to models of transformers and where the forward pass has an
    argument of that name, else as its first argument. Logits are taken from what it returns: a
    tensor, a tuple that starts with one, or something that holds ``logits``.

    Raises
    ------
    ModelError
        What it returns holds no logits.
    """
    # What torch.compile wraps takes any arguments.
    accepted = inspect.signature(getattr(model, "_orig_mod", model).forward).parameters
    placed = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    named = (
        "input_ids" in accepted
        or hasattr(model, "get_input_embeddings")
        or placed.isdisjoint(p.kind for p in accepted.values())
    )
    any_named = any(p.kind is p.VAR_KEYWORD for p in accepted.values())
    # A cache would only cost memory; models written for training know none.
    options = {"use_cache": False} if "use_cache" in accepted or (named and any_named) else {}
    output = model(input_ids=tokens, **options) if named else model(tokens, **options)
    found = output.get("logits") if isinstance(output, Mapping) else output
    found = getattr(found, "logits", found)
    if isinstance(found, (tuple, list)) and found:
        found = found[0]
    if not (isinstance(found, torch.Tensor) and found.is_floating_point() and found.dim() == 3):
        shape = f" of shape {tuple(found.shape)}" if isinstance(found, torch.Tensor) else ""
        raise ModelError(
            f"{type(model).__name__} returns {type(output).__name__}{shape} and no logits, "
            "(windows, tokens, vocabulary): give a causal language model with its head, or wrap it "
            "in a module that returns them"
        )
    return found


def vocabulary_size(model: nn.Module) -> int:
    """Return the number of token ids that a model knows.

    That is what its configuration says, or else the number of its logits.

    Raises
    ------
    ModelError
        The model does not run on token ids.
    """
    stated = getattr(text_config(model), "vocab_size", None)
    if isinstance(stated, int):
        return stated
    device = computing_device(model)
    with torch.inference_mode(), evaluating(model, device):
        # No id is in every vocabulary but 0; that of two tokens is a sequence for every model.
        return tried_logits(model, torch.zeros((1, 2), dtype=torch.long, device=device)).shape[-1]


def tried_logits(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Run a model that may not be a causal language model at all (`logits_of`).

    Raises
    ------
    ModelError
        It does not run on token ids alone, or returns no logits.
    """
    try:
        return logits_of(model, tokens)
    except SparsefitError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        exact = all(p.dtype is torch.float32 for p in model.parameters())
        raise ModelError(
            f"{type(model).__name__} does not run on token ids alone ({type(error).__name__}: "
            f"{str(error).strip()[:200]}): a causal language model is needed"
            + ("" if exact else ". Some run with --dtype float32 only")
        ) from error


def _window_losses(logits: torch.Tensor, tokens: torch.Tensor, predicted: np.ndarray) -> np.ndarray:
    windows, length = tokens.shape
    # A model that is spread over devices may predict on another one than it reads on.
    tokens = tokens.to(logits.device)
    targets = torch.where(
        torch.from_numpy(predicted).to(tokens.device),
        tokens[:, 1:],
        torch.full_like(tokens[:, 1:], -1),
    )
    result = torch.zeros(windows, dtype=torch.float64, device=logits.device)
    # One block for all rows: the small tensors between would land in it once it is freed, and
    # every further one of its size would make the heap grow.
    scores = torch.empty(
        (min(_LOSS_ROWS, length - 1), logits.shape[-1]), dtype=torch.float32, device=logits.device
    )
    for row in range(windows):
        for at in range(0, length - 1, _LOSS_ROWS):
            stop = min(at + _LOSS_ROWS, length - 1)
            wanted, block = targets[row, at:stop], scores[: stop - at]
            torch.log_softmax(logits[row, at:stop].float(), dim=-1, out=block)
            found = block.gather(1, wanted.clamp_min(0)[:, None]).squeeze(1)
            result[row] -= torch.where(wanted >= 0, found, torch.zeros_like(found)).double().sum()
    # Read once: each read makes the processor wait for its device.
    return result.cpu().numpy()


def with_batch_size(call: Callable[[int], Result], batch_size: int) -> tuple[Result, int]:
    """Call with a batch size, halving it whenever memory runs out.

    Returns
    -------
    result, int
        The call's result and the batch size that fitted.

    Raises
    ------
    CollectorError
        Not even one window fits.
    """
    size = batch_size
    while True:
        try:
            return call(size), size
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if size == 1:
                raise CollectorError(
                    "out of memory with one window per batch: use a shorter --seq-len, a smaller "
                    "--dtype or another --device"
                ) from error
        # Outside the except block, so that the traceback no longer holds the tensors.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        size = max(1, size // 2)


def out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    message = str(error)
    return "out of memory" in message or "not enough memory" in message


def flatten(hidden: Any) -> torch.Tensor:
    """See a hook's (windows, length, width) or (positions, width) tensor as (positions, width)."""
    return hidden.reshape(-1, hidden.shape[-1])
