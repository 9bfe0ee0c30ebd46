"""The same work for many runs, of which some may fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from sparsefit.errors import FitError

T = TypeVar("T")


def each_run(runs: Iterable[str], work: Callable[[str], T]) -> tuple[dict[str, T], dict[str, str]]:
    """Fit or forecast each run by its name; one that it cannot be done for stops no other.

    Returns
    -------
    found : dict
        Run to what `work` returned.
    left_out : dict
        Run to the `FitError` that `work` raised, in words.
    """
    found: dict[str, T] = {}
    left_out: dict[str, str] = {}
    for run in runs:
        try:
            found[run] = work(run)
        except FitError as error:
            left_out[run] = str(error)
    return found, left_out
