"""The evaluation text of a run: its defaults, and whether text and windows have a fit length."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsefit.collectors.checkpoints import Checkpoint
from sparsefit.collectors.loading import LoadOptions, context_length, load_tokenizer
from sparsefit.collectors.settings import Settings
from sparsefit.collectors.text import FIXED_MINIMUM, SOLVE_MINIMUM, EvaluationText, load_text
from sparsefit.errors import CheckpointError, TextError


class SmallTextWarning(UserWarning):
    """The evaluation text is shorter than a stable measurement wants."""


def default_text(
    text: str | Path,
    checkpoints: Sequence[Checkpoint],
    settings: Settings,
    load: LoadOptions,
    *,
    tokenizer: Any = None,
    seq_len: int | None = None,
    n_tokens: int | None = None,
    bos: str = "auto",
    documents: str = "joined",
    growing: bool = False,
) -> EvaluationText:
    """Read an evaluation text with the defaults of a measurement.

    Parameters
    ----------
    text : path
        See `load_text`.
    checkpoints, settings, load
        What is to be measured.
    tokenizer : tokenizer or path, optional
        Default: that of the last checkpoint that has a whole one.
    seq_len : int, optional
        Default: the models' context, at most 1024.
    n_tokens : int, optional
        Default `minimum_tokens`.
    bos, documents
        See `load_text`.
    growing : bool
        The run still trains: the default length is that of a run of many checkpoints, so that the
        text stays the same when there are more.

    Raises
    ------
    TextError
        The text or its tokenizer cannot be used.
    CheckpointError
        No checkpoint has a tokenizer that can be loaded, and one has a damaged one.
    ArgumentError
        An argument is outside what `load_text` accepts.
    """
    count = max(len(checkpoints), settings.joint) if growing else len(checkpoints)
    if tokenizer is None:
        tokenizer = _last_tokenizer(checkpoints, load)
    elif isinstance(tokenizer, (str, Path)):
        folder = str(tokenizer)
        tokenizer = load_tokenizer(Checkpoint(folder, folder, 1), load)
        if tokenizer is None:
            raise TextError(f"{folder}: no tokenizer there (tokenizer.json, tokenizer.model, ...)")
    return load_text(
        text,
        tokenizer,
        seq_len=_window_length(checkpoints) if seq_len is None else seq_len,
        n_tokens=minimum_tokens(settings, count) if n_tokens is None else n_tokens,
        bos=bos,
        documents=documents,
    )


def minimum_tokens(settings: Settings, checkpoints: int) -> int:
    """Tokens wanted: more where a root is solved on a single checkpoint."""
    alone = settings.cett_scope == "checkpoint" or min(settings.joint, checkpoints) == 1
    return SOLVE_MINIMUM if settings.metric == "cett_ppl" and alone else FIXED_MINIMUM


def warn_if_small(text: EvaluationText, settings: Settings, checkpoints: int) -> None:
    """Warn where the text is too short for a stable measurement."""
    wanted = minimum_tokens(settings, checkpoints)
    if text.n_tokens < wanted:
        cost = "The standard errors tell what the shortage costs"
        if text.n_windows == 1:
            cost = "A single window gives no standard errors"
        warnings.warn(
            f"{text.name}: {text.n_tokens} tokens; {wanted} are wanted here for a stable "
            f"measurement. {cost}",
            SmallTextWarning,
            stacklevel=3,
        )


def check_context(text: EvaluationText, checkpoints: Sequence[Checkpoint]) -> None:
    """Refuse windows that a model was not made for: past its context its loss means nothing.

    Raises
    ------
    TextError
        A window is longer than the context that the checkpoint's configuration names.
    """
    longest = text.tokens.shape[1]
    for checkpoint in reversed(checkpoints):
        context = _context(checkpoint)
        if context is not None and longest > context:
            raise TextError(
                f"{text.name}: windows of {longest} tokens are longer than the context of "
                f"{checkpoint.name}, {context}: give a shorter seq_len (--seq-len)"
            )


def _context(checkpoint: Checkpoint) -> int | None:
    """Return a checkpoint's context; None also where its configuration is damaged.

    That is said in the checkpoint's own row.
    """
    try:
        return context_length(checkpoint)
    except CheckpointError:
        return None


def _window_length(checkpoints: Sequence[Checkpoint]) -> int:
    return min([1024, *(known for item in checkpoints if (known := _context(item)) is not None)])


def _last_tokenizer(checkpoints: Sequence[Checkpoint], load: LoadOptions) -> Any:
    """Return the tokenizer of the last checkpoint that has a whole one; None where none has any."""
    damage: CheckpointError | None = None
    for checkpoint in reversed(checkpoints):
        try:
            found = load_tokenizer(checkpoint, load)
        except CheckpointError as error:
            damage = damage or error
            continue
        if found is not None:
            return found
    if damage is not None:
        raise damage
    return None
