"""The reference engine: No-U-Turn sampling with PyMC."""

from __future__ import annotations

from typing import Any

from sparsefit.errors import MissingDependencyError


def sample_nuts(*args: Any, **kwargs: Any) -> Any:
    """Not there yet."""
    raise MissingDependencyError.for_extra("pymc", "bayes", "engine='nuts'")
