"""Notes of a fit: sentences for readers, of a kind that programs go by."""

from __future__ import annotations

from typing import Self

KINDS = {
    "misfit": "the points go against the law: use no limit, forecast or budget",
    "speeds up": "the curve accelerates in log D, which the law cannot represent",
    "late change": "the last points leave the curve of those before them",
    "pattern": "the residuals form a smooth pattern that the law cannot follow",
    "limiting form": "the least-squares fit degenerates to a limiting form of the law",
    "bound": "a coefficient of least squares ends on a bound",
    "warm-up": "first points are set aside",
    "fading start": "an early transient decays into the law",
    "outlier": "single points lie off the course of the others",
    "failed rows": "rows have no value",
    "standard errors": "measured standard errors are not used as given",
    "rounding": "the values are rounded so coarsely that neighbours are equal",
    "few draws": "the draws rest on a small effective sample",
    "sampler": "checks of the sampler failed: do not trust the posterior",
    "pooling": "which other runs a pooled run learns from, or that there is none",
    "other": "anything else",
}
"""Kinds of notes and what they say."""


class Note(str):
    """A sentence about a fit that knows its kind.

    Attributes
    ----------
    kind : str
        "misfit", "speeds up", "late change", "pattern", "limiting form", "bound", "warm-up",
        "fading start", "outlier", "failed rows", "standard errors", "rounding", "few draws",
        "sampler", "pooling" or "other": the keys of `KINDS`, which says what each means.
    """

    kind: str

    def __new__(cls, words: str, kind: str = "other") -> Self:
        """Build from the sentence and its kind."""
        if kind not in KINDS:
            raise ValueError(f"no kind of note: {kind!r}")
        new = super().__new__(cls, words)
        new.kind = kind
        return new

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return str(self), self.kind


def kind_of(note: str) -> str:
    """Kind of a note; that of a plain sentence is "other"."""
    return note.kind if isinstance(note, Note) else "other"
