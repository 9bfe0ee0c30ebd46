"""What a training run is: its shape, schedule and seed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from sparsefit.errors import ArgumentError, quoted


@dataclass(frozen=True)
class RunSpec:
    """One training run of a small Llama-shaped model.

    Attributes
    ----------
    name : str
        Name of the run, and of its folder.
    activation : {"relu", "silu"}
    hidden_size, n_layers, d_ff, n_heads : int
    learning_rate : float
        Constant after a linear warm-up.
    tokens : int
        Training tokens; the run ends at its last checkpoint within them.
    seed : int
        Seeds the initial weights and the order of the batches.
    vocab_size : int
    sequence_length, batch_sequences : int
        Tokens per window and windows per step.
    warmup_tokens : int
        Tokens over which the learning rate rises.
    first_checkpoint : int
        Tokens at the first checkpoint (the untrained model is not saved).
    checkpoint_ratio : float
        Each further checkpoint has about this many times the tokens of the one before.
    weight_decay, beta1, beta2, clip : float
        AdamW; weight decay on matrices only, gradients clipped to this norm.
    """

    name: str
    activation: str
    hidden_size: int
    n_layers: int
    d_ff: int
    n_heads: int
    learning_rate: float
    tokens: int
    seed: int = 0
    vocab_size: int = 1024
    sequence_length: int = 128
    batch_sequences: int = 8
    warmup_tokens: int = 100_000
    first_checkpoint: int = 200_000
    checkpoint_ratio: float = 1.17
    weight_decay: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.95
    clip: float = 1.0

    def __post_init__(self) -> None:
        if self.activation not in ("relu", "silu"):
            raise ArgumentError(f"activation={quoted(self.activation)}: choose 'relu' or 'silu'")
        if self.hidden_size % (2 * self.n_heads):
            raise ArgumentError(
                f"hidden_size={self.hidden_size}: rotary embeddings need an even size for each of "
                f"the {self.n_heads} heads"
            )
        if not 0 < self.learning_rate < float("inf"):
            raise ArgumentError(f"learning_rate={self.learning_rate}: must be positive")
        if not 1 < self.checkpoint_ratio < float("inf"):
            raise ArgumentError(f"checkpoint_ratio={self.checkpoint_ratio}: must be above 1")
        if self.tokens < max(self.first_checkpoint, self.tokens_per_step):
            raise ArgumentError(
                f"tokens={self.tokens}: fewer than one step or than the first checkpoint's "
                f"{self.first_checkpoint}"
            )

    @property
    def tokens_per_step(self) -> int:
        """Training tokens in one step."""
        return self.sequence_length * self.batch_sequences

    @property
    def n_steps(self) -> int:
        """Steps of the whole run."""
        return self.checkpoint_steps()[-1]

    @property
    def n_tokens(self) -> int:
        """Training tokens of the last checkpoint."""
        return self.n_steps * self.tokens_per_step

    @property
    def warmup_steps(self) -> int:
        """Steps over which the learning rate rises."""
        return max(1, round(self.warmup_tokens / self.tokens_per_step))

    @property
    def n_params(self) -> int:
        """Non-embedding parameters (the output head is tied to the embedding)."""
        d, attention, ffn = self.hidden_size, 4 * self.hidden_size**2, 3 * self.d_ff
        return self.n_layers * (attention + ffn * d + 2 * d) + d

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of a step, counted from 1."""
        return self.learning_rate * min(1.0, step / self.warmup_steps)

    def checkpoint_steps(self) -> list[int]:
        """Steps, counted from 1, after which a checkpoint is saved.

        They do not depend on `tokens` but for their end: a longer run begins like a shorter one.
        """
        first = max(1, round(self.first_checkpoint / self.tokens_per_step))
        last = max(first, self.tokens // self.tokens_per_step)
        count = int(np.log(last / first) / np.log(self.checkpoint_ratio) + 1e-9)
        points = first * self.checkpoint_ratio ** np.arange(count + 1)
        return sorted({int(step) for step in np.rint(points)})

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary of all fields."""
        return asdict(self)

    def fingerprint(self, corpus_sha256: str) -> str:
        """Hash of everything that decides the weights at a step.

        That is the corpus and this specification but for `tokens`, so that a finished run can be
        trained further.
        """
        decisive = {**asdict(self), "corpus": corpus_sha256}
        del decisive["tokens"]
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
