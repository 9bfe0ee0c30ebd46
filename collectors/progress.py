"""Progress bar with the time left, on standard error; silent unless asked for."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class Progress:
    """Count checkpoints and tokens.

    Parameters
    ----------
    enabled : bool
        Whether to show anything.
    tokens : int
        Tokens of the evaluation text.
    checkpoints : int
        Number of checkpoints; the time left is that of the remaining ones.
    """

    def __init__(self, enabled: bool, tokens: int, checkpoints: int) -> None:
        self._bar: Any = None
        if enabled:
            from tqdm import tqdm

            self._bar = tqdm(total=checkpoints, unit="ckpt", file=sys.stderr, dynamic_ncols=True)
        self._text = tokens
        self._tokens = 0
        self._note = ""

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
        self._note = note
        self._tokens = 0
        if self._bar is not None:
            self._bar.set_postfix_str(note)

    def advance(self, tokens: int) -> None:
        """Count tokens of the current pass."""
        self._tokens += tokens
        if self._bar is not None:
            done = self._tokens / self._text
            self._bar.set_postfix_str(f"{self._note}, {done:.1f} passes")

    def checkpoint_done(self, name: str) -> None:
        """Count a finished checkpoint."""
        if self._bar is not None:
            self._bar.update(1)
