"""What the extra ``collect`` installs, and the error where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sparsefit.errors import MissingDependencyError

PACKAGES = ("torch", "transformers", "safetensors", "tokenizers", "accelerate", "gguf")
"""Modules that the extra installs."""


@contextmanager
def needed_for(purpose: str) -> Iterator[None]:
    """Name the extra where one of its packages is missing.

    Parameters
    ----------
    purpose : str
        What needs it, as a noun phrase.

    Raises
    ------
    MissingDependencyError
        Instead of the ModuleNotFoundError of one of `PACKAGES`.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = str(error.name).partition(".")[0]
        if package not in PACKAGES:
            raise
        raise MissingDependencyError.for_extra(package, "collect", purpose) from error
