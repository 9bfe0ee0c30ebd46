"""The interval of a limit: its estimate inside, open where the points leave the law."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sparsefit.estimation.notes import kind_of
from sparsefit.results.bands import Edge
from sparsefit.results.estimates import Limit, identification

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit

Ends = tuple[float, float]

AVERAGED = "integrated likelihood"
"""Kind of the interval that averages over shapes, noise models and warm-up choices."""


def holding(fit: Fit, ends: Ends) -> Ends:
    """Interval with the least-squares limit inside; the bounds where there is no interval.

    The optimum belongs to one warm-up choice and white noise. An interval over all of them that
    left it out would contradict the coefficient printed beside it.
    """
    lower, upper = ends
    if not (np.isfinite(lower) and np.isfinite(upper)):
        return fit.law.limit_bounds
    estimate = float(fit.params.iloc[-1])
    return min(float(lower), estimate), max(float(upper), estimate)


def opened(fit: Fit, ends: Ends) -> Ends:
    """Interval opened to its bounds where the points leave the law.

    A law that does not describe the run says nothing about where it will end. If the points speed
    up and the law can only slow down, it only tells how far they will get at least.
    """
    bounds = fit.law.limit_bounds
    if not np.all(np.isfinite(bounds)):
        return ends
    if fit.misfit:
        return bounds
    if any(kind_of(note) == "speeds up" for note in fit.notes):
        return (bounds[0], ends[1]) if fit.law.sign > 0 else (ends[0], bounds[1])
    return ends


def edge_of(fit: Fit) -> Edge:
    """What bands of a fit have to contain where its limit may lie on the bound that it moves to."""
    end = 0 if fit.law.sign > 0 else -1
    level = fit._level_reaching(end)
    # Where the points leave the law, intervals of every level are opened to the bound.
    if opened(fit, (np.nan, np.nan))[end] == fit.law.limit_bounds[end]:
        level = 0.0
    return Edge.of_draws(fit.averaged.draws.limit, fit.law, level)


def limit_from(fit: Fit, intervals: pd.DataFrame, level: float, kind: str) -> Limit:
    """`Limit` of a fit from the last row of `Fit.conf_int`.

    The estimate of an interval that averages is the median of the draws, where the medians of
    forecasts end. Least squares assumes white noise and one warm-up choice: on simulated runs
    its limit is off by up to four times as much where they fail, and by little less elsewhere.
    """
    lower, upper = map(float, intervals.iloc[-1])
    bounds = fit.law.limit_bounds
    estimate = float(fit.params.iloc[-1])
    if kind == AVERAGED:
        middle = float(np.median(fit.averaged.draws.limit))
        estimate = min(max(middle, lower), upper)
    return Limit(
        estimate=estimate,
        lower=lower,
        upper=upper,
        identified=identification(lower, upper, bounds),
        level=level,
        kind=kind,
        response=fit.response,
        bounds=bounds,
    )
