"""One measurement at a time: two that wrote the same parts would mix or delete each other's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sparsefit.errors import CollectorError

LOCK = ".lock"
"""File in a parts folder that the process which measures holds a lock on."""


@contextmanager
def alone(folder: Path | None) -> Iterator[None]:
    """Hold a parts folder for this thread, which may hold it already.

    The system releases the lock of a process that ends, however it ends. A file system that has no
    locks goes without.

    Parameters
    ----------
    folder : Path or None
        Parts folder, created here; None for none.

    Raises
    ------
    CollectorError
        Another measurement holds it.
    """
    from filelock import FileLock, Timeout

    if folder is None:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0, is_singleton=True)
        lock.acquire()
    except Timeout:
        raise CollectorError(
            f"{folder} is in use: another measurement is writing the same output. Wait for it, or "
            "choose another output"
        ) from None
    except (OSError, NotImplementedError):
        # What cannot be written is told by what has to write it.
        yield
        return
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            _tidy(folder)
        lock.release()


def _tidy(folder: Path) -> None:
    """Delete the lock's file, and the folder where nothing else is in it."""
    with suppress(OSError):  # it is gone, or open files cannot be deleted here
        (folder / LOCK).unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
