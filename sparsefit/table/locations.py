"""Files, local or at any fsspec URL: list them, read them whole, write them atomically."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from sparsefit.errors import ArgumentError, Fault, MissingDependencyError, TableError, quoted
from sparsefit.outputs import write_whole

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".json", ".txt")
"""What a table's file name can end with (.json and .txt: the authors' JSON)."""

SIDECAR = ".provenance.json"

STDIN = "-"
"""The path that stands for standard input, as CSV."""

Location = str | os.PathLike[str]


def path_text(path: Location) -> str:
    """Return a path as text.

    Raises
    ------
    ArgumentError
        It is no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"{quoted(path)} is not a path: give a str or a pathlib.Path")
    return os.fspath(path)


def is_remote(path: str) -> bool:
    """Whether the path is a URL for fsspec."""
    return "://" in path


def is_stream(path: str) -> bool:
    """Whether the path is standard input (``-``), a pipe or a device such as /dev/stdin."""
    if path == STDIN:
        return True
    local = Path(path)
    return not is_remote(path) and local.exists() and not local.is_file() and not local.is_dir()


def suffix(path: str) -> str | None:
    """Return the entry of `SUFFIXES` that the file name ends with, None if it has none.

    What is read from a pipe is CSV, unless its name says otherwise.
    """
    name = file_name(path).lower()
    if name.endswith(SIDECAR):
        return None
    found = next((known for known in SUFFIXES if name.endswith(known)), None)
    return ".csv" if found is None and is_stream(path) else found


def file_name(path: str) -> str:
    """Return the last part of a path or URL."""
    return PurePosixPath(path.split("://", 1)[1]).name if is_remote(path) else Path(path).name


def expand(source: Location | Iterable[Location]) -> tuple[list[str], list[str]]:
    """List the files that a path, folder, glob or list of them stands for.

    Returns
    -------
    files : list of str
        Without repetition, in order; sorted within a folder or glob.
    ignored : list of str
        Names of files in a folder that are no tables by their suffix (sidecars not counted).

    Raises
    ------
    ArgumentError
        No path among them, or something that is none.
    TableError
        A folder or glob without a table.
    """
    if isinstance(source, str | os.PathLike):
        sources = [source]
    elif not isinstance(source, Iterable):
        raise ArgumentError(
            f"{quoted(source)} is not a path: give a str, a pathlib.Path, or a list"
        )
    else:
        sources = list(source)
        if not sources:
            raise ArgumentError("the list of files is empty: give at least one path")
    files: dict[str, None] = {}
    ignored: list[str] = []
    for entry in sources:
        name = path_text(entry)
        if not name:
            raise ArgumentError("the path is empty: name a file or folder ('.' for this one)")
        found, left = _expand_one(name)
        files.update(dict.fromkeys(found))
        ignored.extend(left)
    return list(files), ignored


def _expand_one(path: str) -> tuple[list[str], list[str]]:
    remote = is_remote(path)
    if remote:
        system, inner = _filesystem(path)
        isdir, listing = system.isdir(inner), system.glob
        full = system.unstrip_protocol
    else:
        inner, isdir, full = path, Path(path).is_dir(), str

        def listing(pattern: str) -> list[str]:
            # Path.glob takes no absolute pattern.
            names = glob.glob(pattern, recursive=True)  # noqa: PTH207
            return [name for name in names if Path(name).is_file()]

    if isdir:
        names = listing(f"{inner.rstrip('/')}/*" if remote else str(Path(glob.escape(inner)) / "*"))
        names = sorted(name for name in names if not file_name(name).startswith("."))
        tables = [full(name) for name in names if suffix(name)]
        ignored = [file_name(name) for name in names if not suffix(name) and SIDECAR not in name]
        if not tables:
            raise _no_file(path, "the folder holds no table", f"Known: {', '.join(SUFFIXES)}")
        return tables, ignored
    if any(mark in inner for mark in "*?[") and (remote or not Path(inner).exists()):
        names = sorted(name for name in listing(inner) if not name.endswith(SIDECAR))
        if not names:
            raise _no_file(path, "no file matches the pattern", "Check the path")
        return [full(name) for name in names], []
    return [path], []


def _filesystem(path: str) -> tuple[Any, str]:
    import fsspec

    try:
        return fsspec.core.url_to_fs(path)
    except ImportError as error:
        raise MissingDependencyError(f"{path}: {error}") from error
    except ValueError as error:
        raise _no_file(path, str(error), "Use a protocol that fsspec knows") from error


def _no_file(path: str, problem: str, remedy: str) -> TableError:
    return TableError([Fault(None, None, problem, remedy)], source=path)


def read_bytes(path: str) -> bytes:
    """Read a whole file.

    Raises
    ------
    TableError
        If it is not there or cannot be read.
    """
    try:
        if is_remote(path):
            system, inner = _filesystem(path)
            return system.cat_file(inner)
        if path == STDIN:
            return sys.stdin.buffer.read()
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise _no_file(path, "there is no such file", "Check the path") from error
    except OSError as error:
        problem = f"the file cannot be read ({error.strerror or error})"
        raise _no_file(path, problem, "Check the path and its permissions") from error


def exists(path: str) -> bool:
    """Whether there is a file at the path."""
    if is_remote(path):
        system, inner = _filesystem(path)
        return bool(system.exists(inner))
    return Path(path).is_file()


def write_bytes(path: str, content: bytes) -> None:
    """Write a whole file; a local one appears complete or not at all.

    Raises
    ------
    TableError
        If it cannot be written.
    """
    try:
        if is_remote(path):
            system, inner = _filesystem(path)
            system.pipe_file(inner, content)
            return
        write_whole(Path(path), content)
    except OSError as error:
        problem = f"the file cannot be written ({error.strerror or error})"
        raise _no_file(path, problem, "Check the folder and its permissions") from error
