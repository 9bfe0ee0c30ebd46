"""Files to write: refused where they cannot be, and never seen half written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sparsefit.errors import ArgumentError, quoted


def writable(path: Any, name: str = "path") -> Path:
    """Return the path of a file to write.

    Parameters
    ----------
    path : path-like
        What was given.
    name : str
        Argument or option that it was given for.

    Raises
    ------
    ArgumentError
        Where no file can be written there; names the argument and the path.
    """
    if not isinstance(path, str | os.PathLike):
        raise ArgumentError(f"{name}: the name of a file is expected, got {quoted(path)}")
    target = Path(path)
    if not target.parent.is_dir():
        raise ArgumentError(
            f"{name} {path}: there is no folder {str(target.parent)!r}; create it first"
        )
    if target.is_dir():
        raise ArgumentError(f"{name} {path}: this is a folder; name a file in it")
    # Files appear whole, by renaming: a device or pipe would be replaced.
    if target.exists() and not target.is_file():
        raise ArgumentError(f"{name} {path}: this is not an ordinary file; name one")
    return target


def writable_page(path: Any, name: str = "path") -> Path:
    """Return the path of an HTML page to write.

    Raises
    ------
    ArgumentError
        As `writable`; also for the suffix of another kind of file, which programs would not open.
    """
    target = writable(path, name)
    if target.suffix.lower() not in ("", ".html", ".htm", ".xhtml"):
        raise ArgumentError(
            f"{name} {path}: the page is HTML; give a name that ends in .html. For a PDF print it "
            "from a browser; figures (PDF, SVG, PNG) are written by --figures or save_figures, "
            "tables by to_latex() or to_csv() of what tidy() returns"
        )
    return target


def write_whole(target: Path, content: bytes) -> None:
    """Write a file that readers see complete or not at all, also after a power cut.

    Raises
    ------
    OSError
        It cannot be written; nothing is left of the attempt.
    """
    # By process, so that two that write the same file do not write into each other's.
    part = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
