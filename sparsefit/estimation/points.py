"""The points of one run, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
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
    relative_se: Array | None = None
    robust_inflation: Array | None = None

    def __len__(self) -> int:
        return int(self.d.size)

    @property
    def span(self) -> tuple[float, float]:
        """First and last D."""
        return float(self.d[0]), float(self.d[-1])

    @cached_property
    def counts(self) -> Array:
        """Checkpoints since the first, shape (n,): their numbers, also where some are missing.

        The distance of neighbours is their gap over the median of up to five gaps about it. That is
        1 wherever gaps only grow, as on log-spaced checkpoints, and on even ones the distance in
        tokens: 2 where a checkpoint is missing.
        """
        gaps = np.diff(self.d)
        usual = gaps.copy()
        # Windows are symmetric, so they shrink towards the ends.
        for reach in (1, 2):
            if gaps.size > 2 * reach:
                windows = sliding_window_view(gaps, 2 * reach + 1)
                usual[reach:-reach] = np.median(windows, axis=1)
        return np.concatenate([[0.0], np.cumsum(gaps / usual)])

    def count(self, d: Array) -> Array:
        """Checkpoints since the first at any D, shape of `d`: linear between checkpoints.

        Beyond the last they go on as the last three gaps do, before the first as the first three.
        """
        gaps = np.diff(self.d)
        out = np.interp(d, self.d, self.counts)
        out = out + np.maximum(d - self.d[-1], 0.0) / np.median(gaps[-3:])
        return np.asarray(out - np.maximum(self.d[0] - d, 0.0) / np.median(gaps[:3]))

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
        return self._only(np.arange(k, len(self)))

    def without(self, left_out: Sequence[int]) -> Points:
        """Return the points without some."""
        return self._only(np.delete(np.arange(len(self)), list(left_out)))

    def _only(self, kept: NDArray[np.intp]) -> Points:
        se = None if self.relative_se is None else self.relative_se[kept]
        inflation = None if self.robust_inflation is None else self.robust_inflation[kept]
        return Points(self.d[kept], self.y[kept], se, inflation)
