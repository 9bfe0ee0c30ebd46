"""Progress bar with the time left, on standard error; silent unless asked for."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

# Passes over the text that one checkpoint costs: calibration and one sparse run, or a solve.
FIXED_PASSES = 2
SOLVE_PASSES = 4


class Progress:
    """Count tokens run through models.

    Parameters
    ----------
    enabled : bool
        Whether to show anything.
    tokens : int
        Tokens of the evaluation text.
    solved, fixed : int
        Checkpoints on which a root is solved, and others. The time left is an estimate: nobody
        knows beforehand how many passes a solve takes.
    """

    def __init__(self, enabled: bool, tokens: int, *, solved: int, fixed: int) -> None:
        self._bar: Any = None
        self._tokens = tokens
        self._remaining = solved + fixed
        if enabled:
            from tqdm import tqdm

            total = tokens * (SOLVE_PASSES * solved + FIXED_PASSES * fixed)
            self._bar = tqdm(
                total=total, unit="tok", unit_scale=True, file=sys.stderr, dynamic_ncols=True
            )

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, note: str) -> None:
        """Show what is being done."""
        if self._bar is not None:
            self._bar.set_postfix_str(note)

    def advance(self, tokens: int) -> None:
        """Count tokens of the current pass."""
        if self._bar is not None:
            self._bar.total = max(self._bar.total, self._bar.n + tokens)
            self._bar.update(tokens)

    def checkpoint_done(self) -> None:
        """Count a finished checkpoint, and correct the total by what is left."""
        self._remaining -= 1
        if self._bar is not None:
            self._bar.total = self._bar.n + self._remaining * FIXED_PASSES * self._tokens
            self._bar.refresh()
