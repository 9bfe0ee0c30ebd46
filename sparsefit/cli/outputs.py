"""Files that a command is asked to write: refused before any work where they cannot be."""

from __future__ import annotations

from pathlib import Path

from sparsefit.errors import ArgumentError

FIGURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".eps", ".ps", ".tif", ".tiff", ".webp")


def check_file(option: str, path: str | None) -> None:
    """Refuse a path that names no file to write.

    Raises
    ------
    ArgumentError
        Names the option and the path.
    """
    if path is None:
        return
    target = Path(path)
    if not target.parent.is_dir():
        raise ArgumentError(f"{option} {path}: there is no folder {str(target.parent)!r}")
    if target.is_dir():
        raise ArgumentError(f"{option} {path}: this is a folder; name a file in it")
    # Files appear whole, by renaming: a device or pipe would be replaced.
    if target.exists() and not target.is_file():
        raise ArgumentError(f"{option} {path}: this is no ordinary file; name one")


def check_figure(option: str, path: str | None) -> None:
    """Refuse a path that names no figure to write; see `check_file`."""
    check_file(option, path)
    if path is not None and Path(path).suffix.lower() not in FIGURES:
        raise ArgumentError(f"{option} {path}: the suffix must be .png, .pdf or .svg")
