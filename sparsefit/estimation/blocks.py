"""Blocks that bound the memory of arrays of (shapes or draws) by points.

A log of the training loss has 100,000 points, and a grid thousands of shapes.
"""

from __future__ import annotations

VALUES = 2**24
"""Values of an array that are held at once (128 MB)."""


def blocks(n: int, rows: int) -> list[slice]:
    """Slices of rows of n values each that are held in memory at once."""
    step = max(1, VALUES // n)
    return [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
