"""Atomic files and the parts folder from which an interrupted measurement resumes."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefit.errors import CollectorError

if TYPE_CHECKING:
    import pandas as pd

_PLAN = "plan"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, also across a kill or a power cut.

    Raises
    ------
    CollectorError
        The folder cannot be written (read-only, full).
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
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


def clear(folder: Path) -> None:
    """Delete the parts in a folder, and nothing else.

    The plan goes first: parts without a plan are remains, which nothing resumes from. Going on
    from some of the parts could end in another table, as each decision builds on those before.
    """
    if folder.is_dir():
        (folder / f"{_PLAN}.json").unlink(missing_ok=True)
        _sync_folder(folder)
        for path in [*folder.glob("*.json"), *folder.glob(".*.partial")]:
            path.unlink()


def remove(folder: Path) -> None:
    """Delete the parts in a folder, and the folder; what somebody else put there keeps it."""
    clear(folder)
    if not any(folder.iterdir()):
        folder.rmdir()


class Parts:
    """Finished pieces of a measurement, one JSON file each.

    Parameters
    ----------
    folder : Path or None
        Where the parts live; None keeps them in memory only (nothing to resume).
    plan : mapping
        Everything that decides the result. A folder written under another plan is refused.

    Raises
    ------
    CollectorError
        The folder belongs to another measurement or cannot be written.
    """

    def __init__(self, folder: Path | None, plan: Mapping[str, Any]) -> None:
        self.folder = folder
        self._memory: dict[str, Any] = {}
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CollectorError(
                f"{folder}: cannot be created ({error.strerror or error})"
            ) from error
        for stale in folder.glob(".*.partial"):
            stale.unlink(missing_ok=True)
        wanted = json.loads(json.dumps(plan))
        known = self.get(_PLAN)
        if known is None:
            if any(folder.glob("*.json")):
                # Parts without a plan are what a killed `clear` left.
                clear(folder)
            self.put(_PLAN, wanted)
        elif known != wanted:
            changed = sorted(key for key in {*known, *wanted} if known.get(key) != wanted.get(key))
            raise CollectorError(
                f"{folder} holds parts of another measurement (different: {', '.join(changed)}). "
                "Start over (--restart), or choose another output"
            )

    def get(self, key: str) -> Any:
        """Return a stored part, or None."""
        if key in self._memory:
            return self._memory[key]
        if self.folder is None:
            return None
        path = self._path(key)
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise CollectorError(
                f"{path}: cannot be read ({error}). Delete it, and it will be measured again"
            ) from error
        self._memory[key] = value
        return value

    def put(self, key: str, value: Any) -> Any:
        """Store a part (atomically) and return it as it will be read back."""
        content = json.dumps(value)
        if self.folder is not None:
            write_atomically(self._path(key), content.encode())
        # What a resumed run reads is what this run goes on with.
        self._memory[key] = json.loads(content)
        return self._memory[key]

    def discard(self) -> None:
        """Delete every part: nothing in them is worth going on from."""
        self._memory.clear()
        if self.folder is not None:
            remove(self.folder)

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{safe_name(key)}.json"


def safe_name(key: str) -> str:
    """Return a key as a file name; characters that file systems mind are written as %xx."""
    return re.sub(r"[^A-Za-z0-9._-]", lambda found: f"%{ord(found.group()):02x}", key)


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
