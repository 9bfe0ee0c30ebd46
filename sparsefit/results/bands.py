"""Bands and budgets from draws: what `Fit` and its relatives share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sparsefit.laws import TOKENS_PER_UNIT
from sparsefit.results.estimates import Budget

Array = NDArray[np.float64]

# Share of the draws that stands for those on a bound of the limit.
_EDGE_SHARE = 0.05


def edge_draws(limit: Array, sign: int) -> NDArray[np.intp]:
    """Draws whose limit lies nearest the bound that the law moves to: the last twentieth.

    If that bound is not excluded, the truth may lie on it, and then on one side of nearly all
    draws. A band that leaves out a tail at each end would miss such a truth, however many points
    there are. Bands are therefore widened to contain the band of these draws too.
    """
    size = max(1, round(_EDGE_SHARE * limit.size))
    return np.argsort(sign * limit, kind="stable")[:size]


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
    edge: NDArray[np.intp] | None = None,
    sign: int = 1,
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
    edge : ndarray of int, optional
        `edge_draws` where the limit's bound is not excluded.
    sign : int
        The law's sign: bands are widened downwards for a falling law, upwards for a rising one.
    """
    tail = (1.0 - level) / 2.0
    low, middle, high = np.quantile(curve, [tail, 0.5, 1 - tail], axis=0)
    obs_low, obs_high = np.quantile(seen, [tail, 1 - tail], axis=0)
    if edge is not None and sign > 0:
        low = np.minimum(low, np.quantile(curve[edge], tail, axis=0))
        obs_low = np.minimum(obs_low, np.quantile(seen[edge], tail, axis=0))
    elif edge is not None:
        high = np.maximum(high, np.quantile(curve[edge], 1 - tail, axis=0))
        obs_high = np.maximum(obs_high, np.quantile(seen[edge], 1 - tail, axis=0))
    return pd.DataFrame(
        {
            "tokens": tokens,
            "mean": curve.mean(axis=0),
            "median": middle,
            "curve_lower": low,
            "curve_upper": high,
            # The band for a measurement contains the band for the mean.
            "obs_lower": np.minimum(obs_low, low),
            "obs_upper": np.maximum(obs_high, high),
        }
    )


def budget(
    crossing: Array,
    target: float,
    asked: str,
    level: float,
    seen: tuple[float, float],
    edge: NDArray[np.intp] | None = None,
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
    edge : ndarray of int, optional
        `edge_draws` where the limit's bound is not excluded: they meet a target first.
    until : float
        Billions of tokens up to which draws were followed.
    """
    tail = (1.0 - level) / 2.0
    first, last = seen
    # "higher"/"lower": an interpolation between a finite and an infinite end is undefined.
    lower = float(np.quantile(crossing, tail, method="lower"))
    if edge is not None:
        lower = min(lower, float(np.quantile(crossing[edge], tail, method="lower")))
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
