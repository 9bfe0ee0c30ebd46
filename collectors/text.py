"""The evaluation text: the same windows of tokens for every checkpoint.

Windows are right-padded. A causal model never looks to the right, so padding changes no real
position and needs no attention mask; it only has to be left out of sums, which ``counted`` and
``predicted`` say.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsefit.checks import check_choice, check_whole
from sparsefit.collectors.display import number_of
from sparsefit.collectors.documents import read_documents, token_ids, whole_numbers
from sparsefit.errors import ArgumentError, TextError, quoted

FIXED_MINIMUM = 16_384
SOLVE_MINIMUM = 131_072
# Of a long document, this many characters for each token wanted are encoded, and so many tokens
# more than wanted: the last ones change with what follows.
_CHARACTERS = 8
_MARGIN = 256
_UNKNOWN_SHARE = 0.01


class UnknownTokensWarning(UserWarning):
    """The tokenizer does not know much of the text."""


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationText:
    """Windows of token ids.

    Attributes
    ----------
    tokens : numpy.ndarray
        Token ids, int64, shape (windows, length), right-padded with 0.
    counted : numpy.ndarray
        True where a token belongs to the text (not padding, not an inserted beginning-of-sequence
        token): activity and CETT are means over these positions.
    name : str
        Name of the source.
    """

    tokens: np.ndarray
    counted: np.ndarray
    name: str = "text"

    def __post_init__(self) -> None:
        # Whatever integers and truth values came in; token ids of another kind are refused.
        object.__setattr__(self, "tokens", whole_numbers(self.tokens, self.name))
        object.__setattr__(self, "counted", np.asarray(self.counted, dtype=bool))
        if self.tokens.ndim != 2 or self.tokens.shape != self.counted.shape:
            raise TextError(f"{self.name}: windows must be one two-dimensional array")
        if self.tokens.shape[0] == 0 or int(self.counted.sum()) == 0:
            raise TextError(f"{self.name}: the evaluation text is empty")
        if int(self.predicted.sum()) == 0:
            raise TextError(f"{self.name}: no window has two tokens, so nothing can be predicted")

    def __repr__(self) -> str:
        return (
            f"EvaluationText({self.label}: {number_of(self.n_tokens, 'token')} in "
            f"{number_of(self.n_windows, 'window')} of {self.tokens.shape[1]:,})"
        )

    @property
    def predicted(self) -> np.ndarray:
        """True where a position's next token is part of the text, shape (windows, length - 1)."""
        return self.counted[:, 1:]

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return int(self.tokens.shape[0])

    @property
    def n_tokens(self) -> int:
        """Number of counted tokens."""
        return int(self.counted.sum())

    @property
    def hash(self) -> str:
        """SHA-256 over token ids and counted positions (first 16 hex digits)."""
        digest = hashlib.sha256(np.asarray(self.tokens.shape, dtype="<i8").tobytes())
        digest.update(np.ascontiguousarray(self.tokens, dtype="<i8").tobytes())
        digest.update(np.packbits(self.counted).tobytes())
        return digest.hexdigest()[:16]

    @property
    def label(self) -> str:
        """Value of the table's ``eval_data`` column: name and hash."""
        return f"{self.name} sha256:{self.hash}"

    def take(self, windows: Sequence[int] | np.ndarray | slice) -> EvaluationText:
        """Return the text of some of the windows."""
        return EvaluationText(self.tokens[windows], self.counted[windows], self.name)

    def spread(self, n_tokens: int) -> EvaluationText:
        """Return windows spread evenly over the text with about `n_tokens` counted tokens."""
        per_window = max(1.0, self.n_tokens / self.n_windows)
        count = min(self.n_windows, max(1, int(np.ceil(n_tokens / per_window))))
        # Centres of equal shares: neither the first nor the last window is favoured.
        picks = ((np.arange(count) + 0.5) * self.n_windows / count).astype(int)
        return self.take(picks)

    def shortened(self, length: int) -> EvaluationText:
        """Return the windows cut to `length` positions; those that become empty are left out."""
        tokens, counted = self.tokens[:, :length], self.counted[:, :length]
        filled = counted.any(axis=1)
        return EvaluationText(tokens[filled], counted[filled], self.name)

    def check_vocabulary(self, vocab_size: int) -> None:
        """Raise TextError where a token id is outside a model's vocabulary (wrong tokenizer)."""
        low, high = int(self.tokens.min()), int(self.tokens.max())
        if low < 0 or high >= vocab_size:
            raise TextError(
                f"{self.name}: token ids run from {low} to {high}, the model's vocabulary has "
                f"{vocab_size}: the text was tokenized for another model"
            )


def checked_text(text: object) -> EvaluationText:
    """Return an evaluation text as it is.

    Raises
    ------
    ArgumentError
        Something else, such as a path: only a tokenizer makes tokens of it.
    """
    if not isinstance(text, EvaluationText):
        raise ArgumentError(
            f"{str(text)[:60]!r} is not an EvaluationText: give load_text(path, tokenizer, ...)"
        )
    return text


def pack_windows(
    documents: Iterable[Sequence[int] | np.ndarray],
    *,
    seq_len: int,
    n_tokens: int | None = None,
    bos: int | None = None,
    separator: int | None = None,
    separate: bool = False,
    name: str = "text",
) -> EvaluationText:
    """Cut token sequences into windows.

    Parameters
    ----------
    documents : iterable of integer sequences
        Token ids of each document.
    seq_len : int
        Window length, the inserted `bos` included.
    n_tokens : int, optional
        Stop after this many tokens of text (the last window is shortened); default all.
    bos : int, optional
        Token put before every window; not counted.
    separator : int, optional
        Token put after every document where documents are joined.
    separate : bool
        If True no window crosses a document's end (shorter windows are padded); if False documents
        are joined into one stream first.
    name : str
        Name of the source, kept in the tables.

    Raises
    ------
    TextError
        Nothing to predict is left.
    ArgumentError
        `seq_len` or `n_tokens` is too small, or no whole number.
    """
    # Two tokens of text, beside the one that is inserted.
    body = check_whole("seq_len", seq_len, 2 + (bos is not None)) - (bos is not None)
    if n_tokens is not None:
        n_tokens = check_whole("n_tokens", n_tokens, 2)
    streams: list[np.ndarray] = []
    total = 0
    for document in documents:
        ids = token_ids(document, f"{name}: a document")
        if ids.size == 0:
            continue
        if separator is not None and not separate:
            ids = np.append(ids, separator)
        if n_tokens is not None:
            ids = ids[: n_tokens - total]
        streams.append(ids)
        total += ids.size
        if n_tokens is not None and total >= n_tokens:
            break
    if total < 2:
        raise TextError(f"{name}: the evaluation text has {total} tokens; give more text")
    if not separate:
        streams = [np.concatenate(streams)]
    pieces = [ids[at : at + body] for ids in streams for at in range(0, ids.size, body)]
    # A window of one token predicts nothing unless a beginning-of-sequence token precedes it.
    pieces = [piece for piece in pieces if piece.size > 1 or bos is not None]
    if not pieces:
        raise TextError(f"{name}: every document has a single token; nothing can be predicted")
    width = max(piece.size for piece in pieces) + (bos is not None)
    tokens = np.zeros((len(pieces), width), dtype=np.int64)
    counted = np.zeros_like(tokens, dtype=bool)
    for row, piece in enumerate(pieces):
        start = 0
        if bos is not None:
            tokens[row, 0], start = bos, 1
        tokens[row, start : start + piece.size] = piece
        counted[row, start : start + piece.size] = True
    return EvaluationText(tokens, counted, name)


def load_text(
    source: str | Path | np.ndarray | EvaluationText | Sequence[Any],
    tokenizer: Any = None,
    *,
    seq_len: int = 1024,
    n_tokens: int | None = None,
    bos: str = "auto",
    documents: str = "joined",
    name: str | None = None,
) -> EvaluationText:
    """Read an evaluation text.

    Parameters
    ----------
    source : path, array, list or EvaluationText
        ``.txt`` (one document), ``.jsonl`` (one document a line: a field ``text``, or ``tokens`` /
        ``input_ids``; ``.json`` may also be an array of them), either also as ``.gz``; ``.npy``
        (integer token ids, one stream or one window a row; windows are taken as they are), an
        integer array, a list of strings or of integer lists; an `EvaluationText` is returned as it
        is.
    tokenizer : transformers tokenizer, optional
        Needed for anything that is not token ids.
    seq_len, n_tokens
        See `pack_windows`.
    bos : {"auto", "always", "never"}
        Whether a beginning-of-sequence token precedes every window. ``auto`` does what the
        tokenizer itself does when it encodes a text.
    documents : {"joined", "separate"}
        Whether windows may cross a document's end. Joined documents are separated by the
        tokenizer's end-of-sequence token where there is a tokenizer.
    name : str, optional
        Name of the text; default the file's name.

    Raises
    ------
    TextError
        Missing, empty or undecodable text, or text without a tokenizer.
    ArgumentError
        An argument is outside what the call accepts.
    """
    if isinstance(source, EvaluationText):
        return source
    check_choice("bos", bos, ("auto", "always", "never"))
    check_choice("documents", documents, ("joined", "separate"))
    if n_tokens is not None:
        n_tokens = check_whole("n_tokens", n_tokens, 2)
    raw, default_name = read_documents(source)
    label = name or default_name
    if isinstance(raw, np.ndarray) and raw.ndim == 2:
        return _rows(raw, n_tokens, label)
    items: list[Any] = [raw] if isinstance(raw, np.ndarray) else raw
    if any(isinstance(item, str) for item in items):
        if tokenizer is None:
            raise TextError(
                f"{label}: text needs a tokenizer; give one (--tokenizer), or a file of token ids"
            )
        if not callable(tokenizer):
            raise ArgumentError(
                f"tokenizer must be a tokenizer of transformers, got {quoted(tokenizer)}: give "
                "AutoTokenizer.from_pretrained(folder)"
            )
        items = list(_encode(items, tokenizer, n_tokens))
        _warn_of_unknown(items, tokenizer, label)
    bos_id = _bos(tokenizer, bos, label)
    separator = getattr(tokenizer, "eos_token_id", None) if len(items) > 1 else None
    return pack_windows(
        items,
        seq_len=seq_len,
        n_tokens=n_tokens,
        bos=bos_id,
        separator=separator,
        separate=documents == "separate",
        name=label,
    )


def _rows(rows: np.ndarray, n_tokens: int | None, name: str) -> EvaluationText:
    if rows.size == 0 or rows.shape[1] < 2:
        raise TextError(f"{name}: windows of shape {rows.shape} hold nothing to predict")
    if n_tokens is not None:
        rows = rows[: max(1, -(-n_tokens // rows.shape[1]))]
    return EvaluationText(rows, np.ones_like(rows, dtype=bool), name)


def _encode(items: Iterable[Any], tokenizer: Any, n_tokens: int | None) -> Iterable[Any]:
    total = 0
    for item in items:
        ids = item
        if isinstance(item, str):
            ids = _ids(item, tokenizer, None if n_tokens is None else n_tokens - total)
        yield ids
        total += len(ids)
        if n_tokens is not None and total >= n_tokens:
            return


def _ids(document: str, tokenizer: Any, wanted: int | None) -> Any:
    """Token ids of a document, or of so much of it that the first `wanted` are those of the whole.

    The start is enough: a tokenizer keeps a hundred times the text's size in memory.
    """
    length = len(document) if wanted is None else _CHARACTERS * (wanted + _MARGIN)
    while True:
        # verbose=False: the text is cut into windows later, so its length needs no warning.
        ids = tokenizer(document[:length], add_special_tokens=False, verbose=False)["input_ids"]
        if length >= len(document) or len(ids) >= (wanted or 0) + _MARGIN:
            return ids
        length *= 4


def _warn_of_unknown(documents: Sequence[Any], tokenizer: Any, name: str) -> None:
    """A tokenizer that knows little of a text is hardly the one that the models learnt with."""
    unknown = getattr(tokenizer, "unk_token_id", None)
    # Some have one token for everything special.
    special = [getattr(tokenizer, f"{use}_token_id", None) for use in ("eos", "bos", "pad")]
    if unknown is None or unknown in special:
        return
    ids = np.concatenate([np.asarray(document, dtype=np.int64) for document in documents])
    share = float((ids == unknown).mean()) if ids.size else 0.0
    if share > _UNKNOWN_SHARE:
        warnings.warn(
            f"{name}: {share:.0%} of the tokens are {tokenizer.unk_token}, unknown to the "
            "tokenizer. Is it the one that the models were trained with?",
            UnknownTokensWarning,
            stacklevel=3,
        )


def _bos(tokenizer: Any, bos: str, name: str) -> int | None:
    identity = getattr(tokenizer, "bos_token_id", None)
    if bos == "never" or (bos == "auto" and identity is None):
        return None
    if identity is None:
        raise TextError(f"{name}: bos='always' needs a tokenizer with a bos token")
    if bos == "always":
        return int(identity)
    encoded = tokenizer("a")["input_ids"]
    return int(identity) if encoded and encoded[0] == identity else None
