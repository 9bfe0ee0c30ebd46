"""A layer's mean CETT over all tokens, where each token is evaluated at two thresholds of many.

While a root is looked for, it is not known where the curve has to be exact. Every token at the same
two thresholds leaves what lies between them to the sample of tokens that is evaluated on the whole
grid; taking turns, all tokens together are seen everywhere on it. What a token would have given at
the other thresholds is filled in by regression on those that it was evaluated at, with the
covariances of the sample: the means are those of a multivariate normal with values missing at
random (generalised least squares), and where nothing is missing they are plain means.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

from sparsefit.collectors.text import EvaluationText

# Keeps covariances invertible where a threshold tells nothing new; relative to their mean variance.
_RIDGE = 1e-9
# For tokens that are all alike, which have no variance at all.
_LEAST_RIDGE = 1e-20


class Draw:
    """Each counted token's window, and a number that says when its turn is; for all layers.

    Parameters
    ----------
    text : EvaluationText
        The text.

    Attributes
    ----------
    windows : numpy.ndarray
        Window of each counted token, in the order of the text, shape (tokens,).
    numbers : numpy.ndarray
        Scattered whole numbers, shape (tokens,): the same for the same text, in any batches.
    """

    def __init__(self, text: EvaluationText) -> None:
        self.windows = np.repeat(np.arange(text.n_windows), text.counted.sum(axis=1))
        # Not in order: places in windows of some length would always have the same turn, and the
        # first tokens of a window are like no others. (The mixing steps of MurmurHash3.)
        mixed = np.arange(self.windows.size, dtype=np.uint32)
        for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
            mixed = (mixed ^ (mixed >> np.uint32(shift))) * np.uint32(factor)
        self.numbers = mixed ^ (mixed >> np.uint32(16))


class Turns:
    """Collects one layer's values: some tokens on the whole grid, the others at two anchors.

    Parameters
    ----------
    anchors : numpy.ndarray
        Places in the grid of thresholds at which tokens take turns, increasing.
    size : int
        Points of the grid.
    windows : int
        Windows of the text.
    """

    def __init__(self, anchors: np.ndarray, size: int, windows: int) -> None:
        self._anchors = anchors
        # At most half the range apart: two points say most about what lies between them, and those
        # in the middle, where the root is expected, come up more often than those at the ends.
        picked = [
            pick
            for pick in combinations(range(anchors.size), min(2, anchors.size))
            if pick[-1] - pick[0] <= max(1, anchors.size // 2)
        ]
        # Anchors of each group of tokens, as places in the grid, shape (groups, 1 or 2).
        self.groups = anchors[np.array(picked)]
        self._sampled = 0
        self._sample_sum = np.zeros(size)
        self._sample_squares = np.zeros((size, size))
        self._counts = np.zeros(len(picked))
        self._sums = np.zeros(self.groups.shape)
        # By window and grid point; every token has a weight of 1, shared by its anchors.
        self._by_window = np.zeros((windows, size))

    def group_of(self, numbers: np.ndarray) -> np.ndarray:
        """Return the group of each token by its number (`Draw`), shape (tokens,)."""
        return numbers % len(self.groups)

    def add_sample(self, values: np.ndarray, windows: np.ndarray) -> None:
        """Add tokens with a value at every point of the grid.

        Parameters
        ----------
        values : numpy.ndarray
            Relative errors, shape (tokens, grid).
        windows : numpy.ndarray
            Window of each token, shape (tokens,).
        """
        self._sampled += values.shape[0]
        self._sample_sum += values.sum(axis=0)
        self._sample_squares += values.T @ values
        for at in self._anchors:
            self._add_to_windows(windows, at, values[:, at] / self._anchors.size)

    def add_turns(self, values: np.ndarray, groups: np.ndarray, windows: np.ndarray) -> None:
        """Add tokens with a value at each anchor of their group.

        Parameters
        ----------
        values : numpy.ndarray
            Relative errors, shape (tokens, 1 or 2), columns as in `groups`.
        groups, windows : numpy.ndarray
            Group and window of each token, shape (tokens,).
        """
        self._counts += np.bincount(groups, minlength=len(self.groups))
        for turn, found in enumerate(values.T):
            self._sums[:, turn] += np.bincount(groups, found, minlength=len(self.groups))
            self._add_to_windows(windows, self.groups[groups, turn], found / values.shape[1])

    def _add_to_windows(
        self, windows: np.ndarray, at: np.ndarray | np.integer, values: np.ndarray
    ) -> None:
        np.add.at(self._by_window, (windows, at), values)

    def means(self, tokens: int) -> np.ndarray:
        """Mean over a text's tokens at each point of the grid, shape (grid,).

        NaN where too few tokens were seen on the whole grid to say anything of the others.

        Parameters
        ----------
        tokens : int
            Tokens of the text. Those that were not added, since no layer output came before them,
            count as 0.
        """
        sample = self._sample_sum / max(1, self._sampled)
        seen = self._counts > 0
        if not seen.any():
            return self._sample_sum / tokens
        if self._sampled <= sample.size:
            return np.full(sample.size, np.nan)
        spread = self._sample_squares / self._sampled - np.outer(sample, sample)
        ridge = _RIDGE * np.trace(spread) / sample.size + _LEAST_RIDGE
        spread += ridge * np.eye(sample.size)
        information = self._sampled * np.linalg.inv(spread)
        gained = information @ sample
        found = list(zip(self.groups[seen], self._counts[seen], self._sums[seen], strict=True))
        for at, count, sums in found:
            precision = np.linalg.inv(spread[np.ix_(at, at)])
            information[np.ix_(at, at)] += count * precision
            gained[at] += precision @ sums
        expected = np.linalg.solve(information, gained)
        # Of the tokens at hand, not of those that they might have been: what was seen counts as
        # seen, and only the rest as expected.
        total = self._sample_sum.copy()
        for at, count, sums in found:
            missed = np.linalg.solve(spread[np.ix_(at, at)], sums - count * expected[at])
            total += count * expected + spread[:, at] @ missed
        return total / tokens

    def by_window(self, means: np.ndarray, window_tokens: np.ndarray) -> np.ndarray:
        """CETT of each window relative to that of the text around the anchors, shape (windows,)."""
        used = np.zeros_like(means)
        used[self._anchors] = 1 / means[self._anchors]
        return (self._by_window @ used) / np.maximum(window_tokens, 1.0)
