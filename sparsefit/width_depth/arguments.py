"""Checks of arguments that the fits of the width-depth law share."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsefit.errors import ArgumentError, quoted
from sparsefit.width_depth.kernel import Array


def check_numbers(name: str, values: Any, *, finite: bool = True) -> Array:
    """Return values as a float array of their own shape.

    Raises
    ------
    ArgumentError
        For values that are no numbers or, with `finite`, for an infinite one or NaN.
    """
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name}: expected numbers, got {quoted(values)}") from None
    if finite and not np.all(np.isfinite(array)):
        at = int(np.flatnonzero(~np.isfinite(array))[0])
        raise ArgumentError(f"{name}: entry {at} is not finite ({array.ravel()[at]})")
    return array


def check_ratio(value: Any) -> float:
    """Return one finite ratio."""
    array = check_numbers("ratio", value)
    if array.ndim:
        raise ArgumentError(f"ratio: expected one number, got {quoted(value)}")
    return float(array)


def check_ratios(values: Any) -> Array:
    """Return finite ratios in one dimension; a single one becomes an array."""
    array = np.atleast_1d(check_numbers("ratio", values))
    if array.ndim != 1:
        raise ArgumentError("ratio: expected numbers in one dimension")
    return array
