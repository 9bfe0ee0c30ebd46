"""Laws fitted by scipy's curve_fit, as users of a general tool would.

D is in billions of tokens in the paper's laws; the two laws of the authors' public code are fitted
in tokens relative to the last seen ones, with a few starts, so that a poor start is not held
against them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sparsefit import laws
from sparsefit.backtesting.forecast import MethodForecast
from sparsefit.backtesting.linearised import linear_draws, numeric_jacobian
from sparsefit.backtesting.methods_simple import DRAWS, line_instead
from sparsefit.backtesting.seen import Series, rises, target_series
from sparsefit.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

Curve = Callable[..., np.ndarray]
# More evaluations than curve_fit's default, which long valleys exceed.
EVALUATIONS = 10_000


def _logarithm(x: np.ndarray, a0: float, c: float, a: float, b: float) -> np.ndarray:
    return a0 + c * np.log(a * x + b)


def _sigmoid(x: np.ndarray, a0: float, b: float, c: float, d: float) -> np.ndarray:
    return a0 - 1.0 / (1.0 + b * np.exp(c * x + d))


def _fit(
    curve: Curve, x: np.ndarray, y: np.ndarray, starts: Sequence[Sequence[float]]
) -> np.ndarray:
    """Best of curve_fit (unbounded, hence MINPACK's Levenberg-Marquardt) from each start."""
    from scipy.optimize import OptimizeWarning, curve_fit

    best: tuple[float, np.ndarray] | None = None
    failure = "the sum of squares is not finite"
    for start in starts:
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                # An unestimable covariance is dealt with by the pseudo-inverse below.
                warnings.simplefilter("ignore", OptimizeWarning)
                found, _ = curve_fit(curve, x, y, p0=start, maxfev=EVALUATIONS)
                cost = float(((curve(x, *found) - y) ** 2).sum())
        except (RuntimeError, ValueError) as error:
            failure = str(error).splitlines()[0]
            continue
        if np.isfinite(cost) and (best is None or cost < best[0]):
            best = (cost, found)
    if best is None:
        raise FitError(f"curve_fit failed from every start: {failure}")
    return best[1]


def _forecast(
    name: str,
    curve: Curve,
    starts: Sequence[Sequence[float]],
    unit: float,
    seen: pd.DataFrame,
    tokens: np.ndarray,
    rng: np.random.Generator,
) -> MethodForecast:
    series: Series = target_series(seen)
    x, new = series.tokens / unit, np.asarray(tokens, dtype=float) / unit
    try:
        if len(x) <= len(starts[0]):
            raise FitError(f"{len(x)} points cannot determine {len(starts[0])} parameters")
        parameters = _fit(curve, x, series.values, starts)
        with np.errstate(all="ignore"):
            jacobian = numeric_jacobian(curve, parameters, x)
            new_jacobian = numeric_jacobian(curve, parameters, new)
            mean = curve(new, *parameters)
            residuals = series.values - curve(x, *parameters)
        if not all(np.isfinite(a).all() for a in (jacobian, new_jacobian, mean)):
            raise FitError("the fitted curve is not finite at the new tokens")
    except FitError as error:
        return line_instead(name, error, seen, tokens, rng)
    curve_draws, draws = linear_draws(mean, jacobian, new_jacobian, residuals, DRAWS, rng)
    return MethodForecast.from_draws(tokens, draws, curve_draws=curve_draws)


def logarithmic_law(
    seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator
) -> MethodForecast:
    """A0 + c log(a D + b), from the authors' public code, by unbounded curve_fit."""
    series = target_series(seen)
    level, slope = series.values[-1], series.values[-1] - series.values[0]
    starts = [(level, slope / 3, a, b) for a, b in ((1.0, 1.0), (10.0, 1.0), (1.0, 0.1))]
    return _forecast("log_law", _logarithm, starts, series.tokens[-1], seen, tokens, rng)


def sigmoid_law(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """A0 - 1 / (1 + b exp(c D + d)), from the authors' public code, by unbounded curve_fit.

    b and d enter only through b exp(d): the forecast is determined although they are not.
    """
    series = target_series(seen)
    level, sign = series.values[-1], 1.0 if rises(seen) else -1.0
    drop = max(abs(series.values[0] - level), 1e-4)
    # Rising: the subtracted fraction falls to nothing; falling: it grows from nothing.
    first = np.log(max(1.0 / min(drop, 0.5) - 1.0, 1e-3))
    starts = [
        (level if sign > 0 else series.values[0], 1.0, sign * rate, offset)
        for rate in (1.0, 3.0)
        for offset in (first, first + 2.0)
    ]
    return _forecast("sigmoid_law", _sigmoid, starts, series.tokens[-1], seen, tokens, rng)


def single_start(
    seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator
) -> MethodForecast:
    """Eq. 4 or Eq. 5 by Levenberg-Marquardt, tokens over 1e9, as in the paper's appendix G.

    The appendix names no start: curve_fit's own (all ones) is used, and no bound.
    """
    law = laws.get("vanilla_power" if rises(seen) else "logspace_power")

    def curve(x: np.ndarray, *theta: float) -> np.ndarray:
        return law.value(x, theta)

    start = (1.0,) * law.n_parameters
    return _forecast("curve_fit", curve, [start], laws.TOKENS_PER_UNIT, seen, tokens, rng)
