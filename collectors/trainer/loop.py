"""The training loop: deterministic on one machine, and resumable to the identical state."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparsefit.collectors.trainer.checkpoint import (
    Progress,
    build_model,
    build_tokenizer,
    load_resume,
    save_checkpoint,
    save_resume,
)
from sparsefit.collectors.trainer.corpus import Corpus
from sparsefit.collectors.trainer.loss import model_loss
from sparsefit.collectors.trainer.spec import RunSpec
from sparsefit.errors import ArgumentError, TextError

_RESUME_SECONDS = 60.0
_LOG_STEPS = 100
# The logged loss is a mean over the last tenth of the run, at most so many steps.
_LOSS_STEPS = 100
_EVAL_WINDOWS = 64


class Batches:
    """Windows of the packed token stream in a seeded order that is a function of the step alone."""

    def __init__(self, tokens: np.ndarray, spec: RunSpec) -> None:
        self._tokens = tokens
        self._spec = spec
        self._windows = (len(tokens) - 1) // spec.sequence_length
        self.steps_per_epoch = self._windows // spec.batch_sequences
        if self.steps_per_epoch == 0:
            raise TextError(
                f"{len(tokens)} training tokens are fewer than one batch of "
                f"{spec.tokens_per_step}. Use a larger corpus or a smaller batch"
            )
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    def __getitem__(self, step: int) -> torch.Tensor:
        """Batch of a step counted from 1, shape (batch, sequence length + 1), int64."""
        epoch, place = divmod(step - 1, self.steps_per_epoch)
        if epoch != self._epoch:
            rng = np.random.default_rng([self._spec.seed, epoch])
            self._order, self._epoch = rng.permutation(self._windows), epoch
        size, length = self._spec.batch_sequences, self._spec.sequence_length
        starts = self._order[place * size : (place + 1) * size] * length
        windows = self._tokens[starts[:, None] + np.arange(length + 1)]
        return torch.from_numpy(windows.astype(np.int64))


def _optimizer(model: Any, spec: RunSpec) -> torch.optim.Optimizer:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "weight_decay": spec.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, spec.learning_rate, (spec.beta1, spec.beta2), fused=True)


@torch.no_grad()
def _validation_loss(model: Any, tokens: np.ndarray, spec: RunSpec) -> float:
    length = spec.sequence_length
    count = min(_EVAL_WINDOWS, (len(tokens) - 1) // length)
    if count == 0:
        raise TextError(f"{len(tokens)} validation tokens are fewer than one window of {length}")
    starts = np.arange(count) * length
    windows = tokens[starts[:, None] + np.arange(length + 1)].astype(np.int64)
    parts = torch.from_numpy(windows).split(8)
    losses = [float(model_loss(model, part)) for part in parts]
    return float(np.average(losses, weights=[len(part) for part in parts]))


def _write_run(folder: Path, spec: RunSpec, corpus: Corpus, threads: int) -> None:
    import tokenizers
    import transformers

    record = {
        "spec": spec.to_dict(),
        "n_params": spec.n_params,
        "corpus": corpus.card(),
        "versions": {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "tokenizers": tokenizers.__version__,
        },
        "threads": threads,
        "dtype": "float32",
        "device": "cpu",
    }
    (folder / "run.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def train(
    spec: RunSpec,
    corpus: Corpus,
    out: Path | str,
    threads: int = 1,
    progress: bool = True,
    report: Callable[[str], None] | None = None,
    stop_after: int | None = None,
) -> Path:
    """Train a run, or continue it where it was stopped.

    The batches are a function of seed and step, and nothing after the initial weights draws random
    numbers, so an interrupted run ends in the same weights, bit for bit, as one that was not.

    Parameters
    ----------
    spec : RunSpec
    corpus : Corpus
    out : Path or str
        Folder in which the run's folder (its name) is made.
    threads : int
        Torch threads. More than one may change the last digits of the weights.
    progress : bool
        Show a bar on standard error where it is a terminal.
    report : callable, optional
        Called with one line of text at each checkpoint.
    stop_after : int, optional
        Stop once this step is done, as an interruption would.

    Returns
    -------
    Path
        The run's folder, with ``checkpoint-<step>`` folders and ``run.json``.

    Raises
    ------
    CheckpointError
        If the folder holds a run with another specification or corpus.
    TextError
        If the corpus is too small for one batch.
    ArgumentError
        If the corpus has another vocabulary than the run.
    """
    from tqdm import tqdm

    if corpus.vocab_size != spec.vocab_size:
        raise ArgumentError(
            f"the run's vocab_size={spec.vocab_size} differs from the corpus' {corpus.vocab_size}"
        )
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    folder = Path(out) / spec.name
    folder.mkdir(parents=True, exist_ok=True)
    batches = Batches(corpus.tokens("train"), spec)
    validation = corpus.tokens("validation")
    model, tokenizer = build_model(spec), build_tokenizer(corpus, spec)
    model.train()
    optimizer = _optimizer(model, spec)
    fingerprint = spec.fingerprint(corpus.sha256)
    state = load_resume(folder, model, optimizer, fingerprint)
    if state.step < spec.n_steps:
        _write_run(folder, spec, corpus, threads)
    saves = set(spec.checkpoint_steps())
    last = spec.n_steps if stop_after is None else min(stop_after, spec.n_steps)
    earlier, clock, cpu = state.seconds, time.monotonic(), time.process_time()

    with tqdm(
        total=spec.tokens_per_step * spec.n_steps,
        initial=spec.tokens_per_step * state.step,
        desc=spec.name,
        unit="tok",
        unit_scale=True,
        disable=None if progress else True,
    ) as bar:
        while state.step < last:
            step = state.step + 1
            loss = model_loss(model, batches[step])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), spec.clip)
            for group in optimizer.param_groups:
                group["lr"] = spec.learning_rate_at(step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            state.step = step
            state.losses = [*state.losses, float(loss.detach())][-_LOSS_STEPS:]
            bar.update(spec.tokens_per_step)
            if step in saves or step % _LOG_STEPS == 0:
                _log(state, spec, batches, model, validation if step in saves else None)
            if step in saves:
                save_checkpoint(folder, model, tokenizer, spec, state)
                if report is not None:
                    report(_line(spec, state))
            if step in saves or step == last or time.monotonic() - clock > _RESUME_SECONDS:
                state.seconds = earlier + time.process_time() - cpu
                save_resume(folder, model, optimizer, state, fingerprint)
                clock = time.monotonic()
    return folder


def _log(
    state: Progress, spec: RunSpec, batches: Batches, model: Any, validation: np.ndarray | None
) -> None:
    recent = state.losses[-max(1, min(_LOSS_STEPS, state.step // 10)) :]
    row = {
        "step": state.step,
        "epoch": state.step / batches.steps_per_epoch,
        "num_input_tokens_seen": state.step * spec.tokens_per_step,
        "loss": sum(recent) / len(recent),
        "learning_rate": spec.learning_rate_at(state.step),
    }
    if validation is not None:
        row["eval_loss"] = _validation_loss(model, validation, spec)
    state.log.append(row)


def _line(spec: RunSpec, state: Progress) -> str:
    row = state.log[-1]
    return (
        f"{spec.name} step {state.step}/{spec.n_steps} tokens {row['num_input_tokens_seen']:,} "
        f"loss {row['loss']:.4f} eval_loss {row['eval_loss']:.4f}"
    )
