"""Where a file or result came from: versions, git commit, command, platform, time.

Everything is looked up when asked for, from the standard library alone.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

_PACKAGES = ("numpy", "scipy", "pandas", "pyarrow", "lmfit")
_IF_LOADED = ("torch", "transformers", "pymc", "nutpie", "arviz", "statsmodels")


def provenance(**extra: Any) -> dict[str, Any]:
    """Describe this process, to be stored with what it writes.

    Parameters
    ----------
    **extra
        Further entries, such as ``seed=0`` or ``device="cpu"``. Paths are shortened, NumPy scalars
        become Python numbers.

    Returns
    -------
    dict
        JSON-ready, with the keys ``sparsefit``, ``git`` (commit of the checkout, with "-dirty"
        where it has changes; None where sparsefit is installed), ``python``, ``platform``,
        ``packages``, ``command``, ``utc`` and those of `extra`. It holds no path of a home folder.
    """
    from sparsefit import __version__

    packages = [*_PACKAGES, *(name for name in _IF_LOADED if name in sys.modules)]
    return {
        "sparsefit": __version__,
        "git": git_commit(),
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "packages": {name: version for name in packages if (version := _version(name))},
        "command": " ".join(_short_argument(word) for word in sys.argv) or "python",
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        **{name: to_json(value) for name, value in extra.items()},
    }


@cache
def git_commit() -> str | None:
    """Commit of the checkout that sparsefit runs from, None where it runs from an installation."""
    root = Path(__file__).resolve().parents[1]
    # An installation may lie inside somebody else's checkout: that commit is not ours.
    if not ((root / ".git").exists() and (root / "pyproject.toml").exists()):
        return None
    command = [
        "git",
        "-C",
        str(root),
        "describe",
        "--always",
        "--dirty",
        "--abbrev=40",
        "--exclude=*",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


@cache
def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _short_argument(word: str) -> str:
    option, equals, value = word.partition("=")
    if equals and option.startswith("-"):
        return f"{option}={short_path(value)}"
    return short_path(word)


def short_path(path: str | PurePath) -> str:
    """Show a path without the folders of one machine.

    A path below the working folder becomes relative to it; of any other absolute path the file
    name is left. Anything else stays as it is.
    """
    text = str(path)
    if not PurePath(text).is_absolute():
        return text
    try:
        return str(PurePath(text).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return PurePath(text).name or text


def to_json(value: Any) -> Any:
    """Turn paths, NumPy scalars, tuples and mappings into what JSON can hold."""
    if isinstance(value, PurePath):
        return short_path(value)
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    if isinstance(value, str | int | float | bool) or value is None:
        return value
    item = getattr(value, "item", None)
    return item() if callable(item) and getattr(value, "ndim", None) == 0 else str(value)
