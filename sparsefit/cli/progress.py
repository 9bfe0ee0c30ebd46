"""How far a long job has come, on standard error: a count, or the item at work."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

# A wait longer than this is explained.
PATIENCE = 2.0


def rewrite(line: str) -> None:
    """Replace a terminal's last line on standard error; an empty one clears it."""
    print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def counter(what: str, jobs: int | None = 1) -> Callable[[int, int], None]:
    """Make a function that is told ``(done, total)`` and says so once a job takes long.

    A terminal gets one line that changes and goes away at the end, a log a single line.

    Parameters
    ----------
    what : str
        What is counted.
    jobs : int or None
        Processes at work; a log is told of ``--jobs`` where there is one. None without that option.
    """
    start = time.monotonic()
    said = False

    def step(done: int, total: int) -> None:
        nonlocal said
        passed = time.monotonic() - start
        if passed < PATIENCE:
            return
        if sys.stderr.isatty():
            rewrite("" if done == total else f"{what}: {done} of {total}")
        elif not said and done < total:
            hint = " (--jobs 2 takes two processes)" if jobs == 1 else ""
            line = f"{what}: {done} of {total} after {passed:.0f} s{hint}"
            print(line, file=sys.stderr, flush=True)
        said = True

    return step


class Progress:
    """Lines on standard error, from the moment that a job takes longer than `PATIENCE`."""

    def __init__(self, total: int, verb: str) -> None:
        self._total, self._verb = total, verb
        self._count = 0
        self._start = time.monotonic()
        self._live = sys.stderr.isatty()
        self._shown = False

    def step(self, name: str) -> None:
        """Announce the next item."""
        self._count += 1
        if time.monotonic() - self._start < PATIENCE:
            return
        self._shown = True
        line = f"{self._verb} {self._count}/{self._total}: {name}"
        # A terminal gets one line that changes, a log one line an item.
        if self._live:
            rewrite(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def done(self) -> None:
        """Clear the line."""
        if self._shown and self._live:
            rewrite("")
