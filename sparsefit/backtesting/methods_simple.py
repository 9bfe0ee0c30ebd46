"""Two forecasts that need no optimiser: the last value, and a line in log tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sparsefit.backtesting.forecast import MethodForecast
from sparsefit.backtesting.linearised import linear_draws
from sparsefit.backtesting.seen import steps_ahead, target_series
from sparsefit.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 1000


def last_value(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """The last seen value, with the interval of a random walk.

    The walk's step is the root mean square of the seen one-step differences (Hyndman &
    Athanasopoulos, Forecasting: Principles and Practice, section 5.5: naive method).
    """
    series = target_series(seen)
    if len(series.values) < 2:
        raise FitError("last_value needs at least 2 seen points.")
    step = float(np.sqrt(np.mean(np.diff(series.values) ** 2)))
    ahead = np.maximum(steps_ahead(series.tokens, tokens), 0.0)
    order = np.argsort(ahead)
    gaps = np.diff(ahead[order], prepend=0.0)
    walk = np.cumsum(rng.normal(size=(DRAWS, len(tokens))) * step * np.sqrt(gaps), axis=1)
    draws = np.empty_like(walk)
    draws[:, order] = series.values[-1] + walk
    # The sample median of the walk would wander around the forecast: centre it exactly.
    draws += series.values[-1] - np.median(draws, axis=0)
    # A random walk knows no noise beside its steps: the walk is the curve.
    return MethodForecast.from_draws(tokens, draws, curve_draws=draws)


def log_linear(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """Ordinary least squares of the ratio on log tokens through the last half (rounded up).

    At least three points are used: a line through two has no residuals and so no interval. The
    interval is the textbook prediction interval of linear regression (Student t).
    """
    series = target_series(seen)
    count = max(3, -(-len(series.values) // 2))
    if len(series.values) < count:
        raise FitError("log_linear needs at least 3 seen points.")
    log_tokens = np.log(series.tokens[-count:])
    centre = log_tokens.mean()
    design = np.column_stack([np.ones(count), log_tokens - centre])
    target = series.values[-count:]
    coefficients = np.linalg.lstsq(design, target, rcond=None)[0]
    new = np.column_stack([np.ones(len(tokens)), np.log(tokens) - centre])
    residuals = target - design @ coefficients
    curve, draws = linear_draws(new @ coefficients, design, new, residuals, DRAWS, rng)
    return MethodForecast.from_draws(tokens, draws, curve_draws=curve)


def line_instead(
    method: str,
    reason: object,
    seen: pd.DataFrame,
    tokens: np.ndarray,
    rng: np.random.Generator,
) -> MethodForecast:
    """The line in log tokens, in place of a method that cannot answer, and why."""
    fallback = f"{method}: {reason}; log_linear used"
    return replace(log_linear(seen, tokens, rng), fallback=fallback)
