"""One rule for the argument `rng=`: a seed, or a Generator that a seed is drawn from."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from sparsefit.errors import ArgumentError, quoted

Rng: TypeAlias = int | np.random.Generator
"""What `rng=` takes."""


def seed_of(rng: Rng) -> int:
    """Seed that `rng` stands for.

    Results keep their seed, so that a file tells how to make them again. A Generator gives a seed
    of 31 bits and moves on by one draw: in the same state it gives the same result, and the next
    call gives another one.

    Raises
    ------
    ArgumentError
        For anything but a whole number >= 0 or a Generator.
    """
    if isinstance(rng, np.random.Generator):
        return int(rng.integers(2**31))
    if isinstance(rng, int | np.integer) and not isinstance(rng, bool) and rng >= 0:
        return int(rng)
    raise ArgumentError(
        f"rng must be a seed (a whole number >= 0) or a numpy Generator, got {quoted(rng)}"
    )
