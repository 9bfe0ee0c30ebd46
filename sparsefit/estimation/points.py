"""The points of one run, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Points:
    """Points of one run, ascending in D.

    Attributes
    ----------
    d : ndarray, shape (n,)
        Billions of tokens, ascending.
    y : ndarray, shape (n,)
        Activation ratio (fraction) or loss (nats per token).
    relative_se : ndarray, shape (n,), optional
        Measured standard errors divided by their median.
    robust_inflation : ndarray, shape (n,), optional
        Factor by which the noise of a point is inflated because it looks like an outlier.
    """

    d: Array
    y: Array
    relative_se: Array | None = field(default=None)
    robust_inflation: Array | None = field(default=None)

    def __len__(self) -> int:
        return int(self.d.size)

    @property
    def span(self) -> tuple[float, float]:
        """First and last D."""
        return float(self.d[0]), float(self.d[-1])

    @property
    def step(self) -> float:
        """Typical distance of neighbouring checkpoints in billions of tokens."""
        return float(np.median(np.diff(self.d)))

    @property
    def weights(self) -> Array:
        """Least-squares weights 1 / (relative_se * inflation)**2."""
        se = 1.0 if self.relative_se is None else self.relative_se
        return (se * self.inflation) ** -2.0

    @property
    def inflation(self) -> Array:
        """Noise inflation of each point (ones unless the fit is robust)."""
        if self.robust_inflation is None:
            return np.ones_like(self.y)
        return self.robust_inflation

    @property
    def range(self) -> float:
        """Largest minus smallest response."""
        return float(np.ptp(self.y))

    def since(self, k: int) -> Points:
        """Return the points without the first `k`."""
        se = None if self.relative_se is None else self.relative_se[k:]
        inflation = None if self.robust_inflation is None else self.robust_inflation[k:]
        return Points(self.d[k:], self.y[k:], se, inflation)
