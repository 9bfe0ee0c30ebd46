"""Files that a command is asked to write: refused before any work where they cannot be."""

from __future__ import annotations

from pathlib import Path

from sparsefit.errors import ArgumentError
from sparsefit.outputs import writable

FIGURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg", ".eps", ".ps", ".tif", ".tiff", ".webp")


def check_file(option: str, path: str | None) -> None:
    """Refuse a path that names no file to write.

    Raises
    ------
    ArgumentError
        Names the option and the path.
    """
    if path is not None:
        writable(path, option)


def check_figure(option: str, path: str | None) -> None:
    """Refuse a path that names no figure to write; see `check_file`."""
    check_file(option, path)
    if path is not None and Path(path).suffix.lower() not in FIGURES:
        raise ArgumentError(f"{option} {path}: the suffix must be .png, .pdf or .svg")
