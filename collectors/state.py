"""Atomic files and the parts folder from which an interrupted measurement resumes."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from sparsefit.errors import ArgumentError, CollectorError
from sparsefit.outputs import write_whole

if TYPE_CHECKING:
    import pandas as pd

Key = tuple[str, ...]
"""Words that name a part: what it is, then what it belongs to."""
_SUFFIX = ".part.json"
# Names of files need not be text.
_NAMES = "surrogateescape"
_PLAN: Key = ("plan",)
_FINISHED: Key = ("finished",)
GROWING = "growing"
"""The part that says that a measurement is to grow: its parts stay."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also across a kill or a power cut.

    Raises
    ------
    CollectorError
        The folder cannot be written (read-only, full).
    """
    try:
        write_whole(path, content)
        _sync_folder(path.parent)
    except OSError as error:
        raise CollectorError(f"{path}: cannot be written ({error.strerror or error})") from error


def write_frame(frame: pd.DataFrame, path: Path) -> None:
    """Write a data frame as CSV or Parquet (by suffix), whole or not at all."""
    buffer = io.BytesIO()
    if path.name.endswith(".parquet"):
        frame.to_parquet(buffer, index=False)
    else:
        # A fixed time stamp: the same table is the same file.
        compression: Any = {"method": "gzip", "mtime": 0} if path.suffix == ".gz" else None
        frame.to_csv(buffer, index=False, compression=compression)
    write_atomically(path, buffer.getvalue())


def layers_path(output: Path) -> Path:
    """Path of the per-layer table that belongs to a measurement table."""
    for suffix in (".csv.gz", ".csv", ".parquet"):
        if output.name.endswith(suffix):
            return output.with_name(f"{output.name.removesuffix(suffix)}.layers{suffix}")
    raise ArgumentError(f"{output}: the suffix must be .csv, .csv.gz or .parquet")


def clear(folder: Path) -> None:
    """Delete the parts in a folder, and nothing else.

    The plan goes first: parts without a plan are remains, which nothing resumes from. Going on
    from some of the parts could end in another table, as each decision builds on those before.
    """
    if folder.is_dir():
        (folder / file_name(_PLAN)).unlink(missing_ok=True)
        _sync_folder(folder)
        for path in [*folder.glob(f"*{_SUFFIX}"), *folder.glob(".*.partial")]:
            path.unlink()


def remove(folder: Path) -> None:
    """Delete the parts in a folder, and the folder; what somebody else put there keeps it."""
    clear(folder)
    if not any(folder.iterdir()):
        folder.rmdir()


def plan_of(folder: Path) -> dict[str, Any] | None:
    """Read the plan of the measurement whose parts are in a folder; None where there are none.

    Raises
    ------
    CollectorError
        The plan cannot be read.
    """
    plan = _read(folder / file_name(_PLAN), "Start over (--restart)")
    return None if plan is None else dict(plan)


def parts_of(folder: Path, kind: str) -> set[Key]:
    """Keys of the parts of one kind in a folder, without the kind."""
    return {key[1:] for key in _keys(folder) if key[0] == kind}


def _difference(key: str, known: Any, wanted: Any) -> str:
    """What differs between two plans under a key, in words; the checkpoints are too many for it."""
    if key == "checkpoints":
        return key
    if isinstance(known, dict) and isinstance(wanted, dict):
        names = [n for n in {**known, **wanted} if known.get(n) != wanted.get(n)]
        return ", ".join(f"{n} is {wanted.get(n)}, was {known.get(n)}" for n in names)
    return f"{key} is {wanted}, was {known}"


def mark_finished(folder: Path) -> None:
    """Note that the tables made from some parts are written: other measurements may clear them."""
    write_atomically(folder / file_name(_FINISHED), b"true")


class Parts:
    """Finished pieces of a measurement, one JSON file each.

    Parameters
    ----------
    folder : Path or None
        Where the parts live; None keeps them in memory only (nothing to resume).
    plan : mapping
        Everything that decides the result. A folder written under another plan is refused, unless
        its measurement is finished (`mark_finished`): then it is cleared.
    growing : bool
        Go on from a folder, finished or not, whose plan has other checkpoints and is the same
        otherwise.

    Raises
    ------
    CollectorError
        The folder belongs to another measurement or cannot be written.
    """

    def __init__(
        self, folder: Path | None, plan: Mapping[str, Any], *, growing: bool = False
    ) -> None:
        self.folder = folder
        self._memory: dict[Key, Any] = {}
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CollectorError(
                f"{folder}: cannot be created ({error.strerror or error})"
            ) from error
        for stale in folder.glob(".*.partial"):
            if not _is_being_written(stale):
                stale.unlink(missing_ok=True)
        wanted = json.loads(json.dumps(plan))
        known = self.get(_PLAN)
        finished = self.get(_FINISHED) is not None
        changed = sorted(
            key
            for key in {*(known or {}), *wanted}
            if (known or {}).get(key) != wanted.get(key) and not (growing and key == "checkpoints")
        )
        if known is None or (finished and changed and not growing):
            # Parts without a plan are what a killed `clear` left.
            clear(folder)
            self._memory.clear()
            self.put(_PLAN, wanted)
        elif changed:
            grown = changed == ["checkpoints"]
            also = "measure new checkpoints alone (--extend), " if grown else ""
            told = "; ".join(_difference(key, known.get(key), wanted.get(key)) for key in changed)
            raise CollectorError(
                f"{folder} holds parts of another measurement (different: {told}). "
                f"Start over (--restart), {also}or choose another output"
            )
        else:
            if known != wanted:
                self.put(_PLAN, wanted)
            if finished:
                self.forget([_FINISHED])
        if growing:
            self.put((GROWING,), True)

    def get(self, key: Key) -> Any:
        """Return a stored part, or None."""
        if key in self._memory:
            return self._memory[key]
        if self.folder is None:
            return None
        value = _read(self._path(key), "Delete it, and it will be measured again")
        if value is not None:
            self._memory[key] = value
        return value

    def put(self, key: Key, value: Any) -> Any:
        """Store a part (atomically) and return it as it will be read back."""
        content = json.dumps(value)
        if self.folder is not None:
            write_atomically(self._path(key), content.encode())
        # What a resumed run reads is what this run goes on with.
        self._memory[key] = json.loads(content)
        return self._memory[key]

    def keys(self) -> set[Key]:
        """Return the keys of all stored parts."""
        if self.folder is None:
            return set(self._memory)
        return _keys(self.folder)

    def forget(self, keys: Sequence[Key]) -> None:
        """Delete some parts, in this order."""
        for key in keys:
            self._memory.pop(key, None)
            if self.folder is not None:
                self._path(key).unlink(missing_ok=True)
                # Each for good before the next: what is left after a power cut is a whole tail.
                _sync_folder(self.folder)

    def discard(self) -> None:
        """Delete every part: nothing in them is worth going on from."""
        self._memory.clear()
        if self.folder is not None:
            remove(self.folder)

    def _path(self, key: Key) -> Path:
        assert self.folder is not None
        return self.folder / file_name(key)


def file_name(key: Key) -> str:
    """Return a part's file name; characters that file systems mind are written as %XX."""
    return "+".join(map(_quoted, key)) + _SUFFIX


def _quoted(word: str) -> str:
    # Letters of any script stay: as %XX they would be nine times as long.
    return "".join(
        letter if letter.isalnum() or letter in "._-" else quote(letter, "", errors=_NAMES)
        for letter in word
    )


def _key(path: Path) -> Key:
    return tuple(
        unquote(word, errors=_NAMES) for word in path.name.removesuffix(_SUFFIX).split("+")
    )


def _is_being_written(partial: Path) -> bool:
    """Whether the process in a partial file's name still runs (on this machine)."""
    writer = partial.name.split(".")[-2]
    # Elsewhere, signal 0 is none.
    if os.name != "posix" or not writer.isdigit() or int(writer) == os.getpid():
        return False
    try:
        os.kill(int(writer), 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, PermissionError)
    return True


def _read(path: Path, remedy: str) -> Any:
    """Content of a part; None where there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CollectorError(f"{path}: cannot be read ({error}). {remedy}") from error


def _keys(folder: Path) -> set[Key]:
    return {_key(path) for path in folder.glob(f"*{_SUFFIX}")}


def _sync_folder(folder: Path) -> None:
    # Makes the rename itself durable; not every platform lets a folder be opened.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
