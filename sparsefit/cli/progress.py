"""How far a long job has come, on standard error: a count, or the item at work."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

# A wait longer than this is explained.
PATIENCE = 2.0
# A log is told again when so many times as long has passed.
_AGAIN = 4.0


def rewrite(line: str) -> None:
    """Replace a terminal's last line on standard error; an empty one clears it."""
    print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def counter(what: str, jobs: int | None = 1) -> Callable[[int, int], None]:
    """Make a function that is told ``(done, total)`` and says so once a job takes long.

    A terminal gets one line that changes and goes away at the end, a log lines further and further
    apart.

    Parameters
    ----------
    what : str
        What is counted.
    jobs : int or None
        Processes at work; a log is told of ``--jobs`` where there is one. None without that option.
    """
    start = time.monotonic()
    due = PATIENCE

    def step(done: int, total: int) -> None:
        nonlocal due
        passed = time.monotonic() - start
        if passed < PATIENCE:
            return
        if sys.stderr.isatty():
            rewrite("" if done == total else f"{what}: {done} of {total}")
        elif passed >= due and done < total:
            hint = " (--jobs 2 takes two processes)" if jobs == 1 and due == PATIENCE else ""
            line = f"{what}: {done} of {total} after {passed:.0f} s{hint}"
            print(line, file=sys.stderr, flush=True)
            due = max(_AGAIN * passed, 1.0)

    return step


class Progress:
    """Lines on standard error, from the moment that a job takes longer than `PATIENCE`.

    A context, so that nothing is said any more when the job has ended or failed.
    """

    def __init__(self, total: int, verb: str) -> None:
        self._total, self._verb = total, verb
        self._count = 0
        self._start = time.monotonic()
        self._live = sys.stderr.isatty()
        self._shown = False
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Progress:
        return self

    def step(self, name: str) -> None:
        """Announce the next item."""
        self._count += 1
        self._stop_waiting()
        line = f"{self._verb} {self._count}/{self._total}: {name}"
        patience = PATIENCE - (time.monotonic() - self._start)
        if patience <= 0:
            self._say(line)
            return
        # This item alone may take longer, and there may be no other.
        self._timer = threading.Timer(patience, self._say, [line])
        self._timer.daemon = True
        self._timer.start()

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _say(self, line: str) -> None:
        self._shown = True
        # A terminal gets one line that changes, a log one line an item.
        if self._live:
            rewrite(line)
        else:
            print(line, file=sys.stderr, flush=True)

    def __exit__(self, *_: object) -> None:
        self._stop_waiting()
        if self._shown and self._live:
            rewrite("")
