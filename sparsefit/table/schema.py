"""The columns of a measurement table: kind, unit, permitted range.

The table is tidy, one row per run and checkpoint. Three columns are required; the others are used
where present; any further column is kept as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_COUNT = 1e15
"""Largest count taken for real; whole numbers up to here are exact in double precision."""

BILLIONS_BELOW = 1e3
"""A run whose largest token count is below this was given in billions, not in tokens."""

MIN_POINTS = 5
"""Points that the smallest shipped law needs: three parameters plus two."""


@dataclass(frozen=True)
class Column:
    """What a known column may hold.

    Attributes
    ----------
    name : str
        Column name.
    kind : {"text", "number", "count", "whole"}
        Counts and whole numbers are stored as int64 where no value is missing or fractional; a
        fractional count (an average, a grid) is permitted, a fractional ``whole`` is a fault.
    meaning : str
        One line, with the unit.
    lower, upper : float or None
        Closed range of the values, where there is one; `open_lower` excludes `lower` itself.
    open_lower : bool
        Whether `lower` is excluded.
    choices : tuple of str
        Permitted values of a text column; empty where free.
    constant : bool
        Whether the value must be the same in all rows of a run.
    fraction : bool
        Whether percent given by mistake is to be named as such.
    """

    name: str
    kind: Literal["text", "number", "count", "whole"]
    meaning: str
    lower: float | None = None
    upper: float | None = None
    open_lower: bool = False
    choices: tuple[str, ...] = ()
    constant: bool = False
    fraction: bool = False


def _text(name: str, meaning: str, *choices: str, constant: bool = False) -> Column:
    return Column(name, "text", meaning, choices=choices, constant=constant)


def _positive(
    name: str, meaning: str, *, kind: Literal["number", "count", "whole"], constant: bool = False
) -> Column:
    upper = None if kind == "number" else MAX_COUNT
    return Column(name, kind, meaning, 0.0, upper, open_lower=True, constant=constant)


_ALL = (
    _text("run", "training run: one architecture, one seed, a series of checkpoints"),
    _positive("tokens", "training tokens seen by the checkpoint, a raw count", kind="count"),
    Column(
        "activation_ratio",
        "number",
        "share of feed-forward neurons kept, a fraction",
        0.0,
        1.0,
        open_lower=True,
        fraction=True,
    ),
    _text("activation", "activation function: relu, silu, gelu, ...", constant=True),
    _positive("n_params", "non-embedding parameters, a raw count", kind="count", constant=True),
    _positive("hidden_size", "width of the residual stream", kind="whole", constant=True),
    _positive("n_layers", "number of layers", kind="whole", constant=True),
    _positive("d_ff", "neurons per feed-forward layer", kind="whole", constant=True),
    Column("step", "whole", "optimiser step of the checkpoint", 0.0, MAX_COUNT),
    Column(
        "se", "number", "standard error of the activation ratio, without the shared part", 0.0, 1.0
    ),
    Column(
        "se_shared",
        "number",
        "part of the standard error that all checkpoints of a run share",
        0.0,
        1.0,
    ),
    _positive("loss", "training loss, nats per token", kind="number"),
    _text(
        "metric",
        "how the activation ratio was measured",
        *("cett_ppl", "cett", "relu_zero", "topk", "fat"),
        constant=True,
    ),
    Column(
        "p_percent",
        "number",
        "p of CETT-PPL-p%: allowed rise of perplexity, in percent",
        0.0,
        constant=True,
    ),
    Column("cett", "number", "CETT value, a fraction", 0.0, 1.0, fraction=True),
    _text(
        "cett_scope",
        "whether one CETT value holds for the run or for one checkpoint",
        *("run", "checkpoint"),
        constant=True,
    ),
    Column("loss_dense", "number", "validation loss of the dense model, nats per token", 0.0),
    Column(
        "loss_sparse", "number", "validation loss with weak neurons skipped, nats per token", 0.0
    ),
    _positive("ppl_ratio", "ratio of sparse to dense perplexity", kind="number"),
    _positive("n_eval_tokens", "number of tokens that were evaluated", kind="whole"),
    _text("eval_data", "name and hash of the evaluation text", constant=True),
    _text("status", "whether the measurement succeeded", "ok", "failed"),
    _text("message", "why the measurement failed"),
)

COLUMNS: dict[str, Column] = {column.name: column for column in _ALL}
"""Known columns by name, in the order of the documentation."""

REQUIRED = ("run", "tokens")
"""Columns that every table has, besides its response."""

RESPONSES = ("activation_ratio", "loss")
"""Columns that a law can be fitted to."""

MISTAKEN_NAMES: dict[str, str] = {
    "token_passed": "tokens",
    "tokens_passed": "tokens",
    "n_tokens": "tokens",
    "D": "tokens",
    "name": "run",
    "run_id": "run",
    "model": "run",
    "activation": "activation_ratio",
    "ratio": "activation_ratio",
    "A": "activation_ratio",
    "train_loss": "loss",
    "training_loss": "loss",
}
"""Names that other tools use for a required column, to be named in a remedy (never renamed)."""
