"""Checks of arguments: each returns what it was given, in one form, or raises `ArgumentError`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsefit.errors import ArgumentError, quoted

# Share of the first point's tokens below which a forecast is taken for one in another unit.
_FAR_BEFORE = 1e-3

WRT = ("tokens", "data_scale_ratio", "log_tokens")
SIMULATED = ("curve", "measured", "observation")


def check_level(level: float) -> float:
    """Return a confidence level in (0, 1)."""
    if not (isinstance(level, int | float | np.floating) and 0.0 < float(level) < 1.0):
        raise ArgumentError(
            f"level must lie strictly between 0 and 1 (0.9 for 90%), got {quoted(level)}"
        )
    return float(level)


def check_above(name: str, value: Any, least: float) -> float:
    """Return a finite number > `least`."""
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not (number and np.isfinite(value) and value > least):
        raise ArgumentError(f"{name} must be finite and > {least:g}, got {quoted(value)}")
    return float(value)


def check_positive(name: str, value: Any) -> float:
    """Return a finite number > 0."""
    return check_above(name, value, 0.0)


def check_whole(name: str, value: Any, least: int) -> int:
    """Return a whole number, at least `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not (whole and value >= least):
        raise ArgumentError(
            f"{name} must be a whole number of at least {least}, got {quoted(value)}"
        )
    return int(value)


def check_tokens(tokens: ArrayLike) -> NDArray[np.float64]:
    """Return raw token counts as a flat float array; all must be finite and positive."""
    try:
        array = np.atleast_1d(np.asarray(tokens, dtype=float)).ravel()
    except (TypeError, ValueError):
        raise ArgumentError(f"tokens must be numbers (raw counts), got {quoted(tokens)}") from None
    bad = ~(np.isfinite(array) & (array > 0))
    if array.size == 0 or bad.any():
        first = array[bad][0] if bad.any() else "nothing"
        raise ArgumentError(f"tokens must be finite and > 0 (raw counts), got {quoted(first)}")
    return array


def check_ahead(tokens: NDArray[np.float64], first: float) -> None:
    """Refuse token counts of a forecast that cannot be raw counts: far before the first point."""
    least = float(tokens.min())
    if least < _FAR_BEFORE * first:
        raise ArgumentError(
            f"tokens must be raw counts: {least:g} is far before the first checkpoint (at "
            f"{first:g} tokens). Was it in billions?"
        )


def check_target(activation_ratio: float | None, sparsity: float | None) -> float:
    """Return the target activation ratio from exactly one of the two ways to give it."""
    if (activation_ratio is None) == (sparsity is None):
        raise ArgumentError("tokens_to takes exactly one of activation_ratio= and sparsity=")
    name, value = (
        ("sparsity", sparsity)
        if activation_ratio is None
        else ("activation_ratio", activation_ratio)
    )
    if not (isinstance(value, int | float | np.floating) and 0.0 < float(value) < 1.0):
        raise ArgumentError(
            f"{name} must be a fraction strictly between 0 and 1, got {quoted(value)}"
        )
    return float(value) if name == "activation_ratio" else 1.0 - float(value)


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`."""
    if value not in choices:
        raise ArgumentError(
            f"{name} must be one of {', '.join(map(repr, choices))}, got {quoted(value)}"
        )
    return str(value)
