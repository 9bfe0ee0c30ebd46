"""Bands and budgets from draws: what `Fit` and its relatives share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sparsefit.laws import TOKENS_PER_UNIT, Law
from sparsefit.results.estimates import Budget

Array = NDArray[np.float64]
Ends = tuple[Array, Array]

# Share of the draws that stands for those on a bound of the limit.
_EDGE_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class Edge:
    """Draws next to the bound that the law moves to, where the data do not exclude it.

    If that bound is not excluded, the truth may lie on it, and then on one side of nearly all
    draws. A band that leaves out a tail at each end would miss such a truth, however many points
    there are. Bands are therefore widened to contain these draws too: their middle, which holds
    truths near the bound though not on it, or their own band where the law has a single shape. Such
    a law can only slow down, and the draws that slow down least stand for runs that do not. Chosen
    on simulated runs and families of runs.

    Attributes
    ----------
    rows : ndarray of int, shape (m,)
        Which draws: the twentieth whose limits lie nearest the bound.
    sign : int
        The law's sign: bands are widened downwards for a falling law, upwards for a rising one.
    from_level : float
        Confidence level from which on the bound is not excluded.
    least_tail : float
        Smallest tail of these draws that a band leaves out: 0.5 for their middle, 0 for their band.
    """

    rows: NDArray[np.intp]
    sign: int
    from_level: float
    least_tail: float

    @classmethod
    def of_draws(cls, limit: Array, law: Law, from_level: float) -> Edge:
        """Pick the rows among draws with these limits, shape (draws,)."""
        size = max(1, round(_EDGE_SHARE * limit.size))
        rows = np.argsort(law.sign * limit, kind="stable")[:size]
        return cls(rows, law.sign, from_level, 0.0 if law.n_shape == 1 else 0.5)

    def widen(self, ends: Ends, values: Array, level: float) -> Ends:
        """Ends of a band that also contain these draws, `values` of shape (m, n)."""
        if level < self.from_level:
            return ends
        tail = self.tail(level)
        if self.sign > 0:
            return np.minimum(ends[0], np.quantile(values, tail, axis=0)), ends[1]
        return ends[0], np.maximum(ends[1], np.quantile(values, 1.0 - tail, axis=0))

    def tail(self, level: float) -> float:
        """Tail of these draws that a band leaves out."""
        return max((1.0 - level) / 2.0, self.least_tail)

    def level_holding(self, share: Array) -> Array:
        """Smallest level at which bands contain points with this share of the draws beyond them.

        Beyond is downwards for a falling law, upwards for a rising one.
        """
        needed = np.maximum(1.0 - 2.0 * share, self.from_level)
        return np.where(share >= self.least_tail, needed, np.inf)


@dataclass(frozen=True, eq=False)
class EdgeDraws:
    """The draws of an edge at the tokens of a forecast.

    Attributes
    ----------
    edge : Edge
        How bands contain them.
    curve, seen : ndarray, shape (m, n)
        Draws of the curve and of new measurements.
    """

    edge: Edge
    curve: Array
    seen: Array

    @classmethod
    def of(cls, edge: Edge, curve: Array, seen: Array) -> EdgeDraws:
        """Pick the rows of an edge among all draws, shape (draws, n) each."""
        return cls(edge, curve[edge.rows], seen[edge.rows])


def central(values: Array, level: float) -> Ends:
    """Central band of draws, shape (draws, n): its ends, shape (n,) each."""
    low, high = np.quantile(values, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return low, high


def within_range(response: str, values: Array) -> Array:
    """Values kept to the physical range of the response: no measurement leaves it.

    Gaussian noise would take it there, and so would rounding where a curve ends on a bound.
    """
    upper = 1.0 if response == "activation_ratio" else np.inf
    return np.clip(values, np.finfo(float).tiny, upper)


def forecast_table(
    tokens: Array,
    curve: Array,
    seen: Array,
    level: float,
    edges: Sequence[EdgeDraws] = (),
    measured: Array | None = None,
) -> pd.DataFrame:
    """Table of `Fit.forecast` from draws.

    Parameters
    ----------
    tokens : ndarray, shape (n,)
        Raw token counts.
    curve, seen : ndarray, shape (draws, n)
        Draws of the law's mean and of new measurements.
    level : float
        Level of both bands, in (0, 1).
    edges : sequence of EdgeDraws
        What bands have to contain where a limit's bound is not excluded.
    measured : ndarray, shape (draws, n), optional
        Draws of the mean of new measurements, where it is not the law's mean: all checkpoints share
        an error, which a new measurement repeats.
    """
    bands, observed = central(curve, level), central(seen, level)
    for one in edges:
        bands = one.edge.widen(bands, one.curve, level)
        observed = one.edge.widen(observed, one.seen, level)
    # The band for a measurement contains the band for its mean.
    means = bands
    if measured is not None:
        means = central(measured, level)
        for one in edges:
            means = one.edge.widen(means, measured[one.edge.rows], level)
    (low, high), (obs_low, obs_high), (mean_low, mean_high) = bands, observed, means
    return pd.DataFrame(
        {
            "tokens": tokens,
            "mean": curve.mean(axis=0),
            "median": np.quantile(curve, 0.5, axis=0),
            "curve_lower": low,
            "curve_upper": high,
            "obs_lower": np.minimum(obs_low, mean_low),
            "obs_upper": np.maximum(obs_high, mean_high),
        }
    )


def budget(
    crossing: Array,
    target: float,
    asked: str,
    level: float,
    seen: tuple[float, float],
    beside: Sequence[tuple[Edge, Array]] = (),
    until: float = np.inf,
) -> Budget:
    """Summarise when draws meet a target.

    Parameters
    ----------
    crossing : ndarray, shape (draws,)
        Billions of tokens at which each draw meets the target, ``inf`` for never.
    target : float
        The target.
    asked : str
        The target in words.
    level : float
        Confidence level in (0, 1).
    seen : tuple of float
        Billions of tokens of the first and the last point seen.
    beside : sequence of (Edge, ndarray of shape (m,))
        Draws next to a limit's bound, and when they meet the target: where the bound is not
        excluded, they meet it first.
    until : float
        Billions of tokens up to which draws were followed.
    """
    tail = (1.0 - level) / 2.0
    first, last = seen
    # "higher"/"lower": an interpolation between a finite and an infinite end is undefined.
    lower = float(np.quantile(crossing, tail, method="lower"))
    for edge, crossed in beside:
        if level >= edge.from_level:
            lower = min(lower, float(np.quantile(crossed, edge.tail(level), method="lower")))
    upper = float(np.quantile(crossing, 1 - tail, method="higher"))
    middle = float(np.quantile(crossing, 0.5, method="lower"))
    if upper <= last or (middle <= last and np.mean(crossing <= last) >= level):
        status = "reached"
    elif np.isfinite(upper):
        status = "reachable"
    elif np.isinf(lower):
        status = "unreachable"
    else:
        status = "undetermined"
    return Budget(
        estimate=middle * TOKENS_PER_UNIT,
        lower=lower * TOKENS_PER_UNIT,
        upper=upper * TOKENS_PER_UNIT,
        status=status,
        target=target,
        level=level,
        probability=float(np.mean(np.isfinite(crossing))),
        tokens_seen=last * TOKENS_PER_UNIT,
        tokens_first=first * TOKENS_PER_UNIT,
        asked=asked,
        until=until * TOKENS_PER_UNIT,
    )


def without_answer(found: Budget) -> Budget:
    """The budget of a run that its law does not describe: any number of tokens, or never.

    Its points may have met the target although the law's curve has not, or the reverse.
    """
    lower = min(found.lower, found.tokens_first)
    return replace(found, lower=lower, upper=float("inf"), status="undetermined", misfit=True)
