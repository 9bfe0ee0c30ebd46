"""Eq. 4 and Eq. 5 by multi-start Levenberg-Marquardt: the careful user's peer.

All points are used as they are: no warm-up is dropped, errors are taken as independent and equally
spread, which is what the textbook intervals assume.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit.backtesting.batched_lm import Model, levenberg_marquardt
from sparsefit.backtesting.forecast import MethodForecast
from sparsefit.backtesting.linearised import linear_draws
from sparsefit.backtesting.methods_simple import DRAWS, line_instead
from sparsefit.backtesting.seen import rises, target_series
from sparsefit.errors import FitError

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

STARTS = 100
REPLICATES = 400
ALPHA = (0.01, 20.0)
# model, parameters, inputs and values seen, new inputs, generator -> draws of curve, measurements
Draw = Callable[[Model, Array, Array, Array, Array, np.random.Generator], tuple[Array, Array]]


def _expit(u: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * u))


def _logit(p: Array) -> Array:
    return np.log(p) - np.log1p(-p)


def _alpha(u: Array) -> tuple[Array, Array]:
    """Exponent within its bounds from a free number, with its derivative."""
    low, high = np.log(ALPHA[0]), np.log(ALPHA[1])
    share = _expit(u)
    alpha = np.exp(low + (high - low) * share)
    return alpha, alpha * (high - low) * share * (1.0 - share)


def logspace_power(theta: Array, x: Array) -> tuple[Array, Array]:
    """Eq. 4 as A0 + exp(k) exp(-kappa (x^alpha - 1) / alpha), x = D / D_last.

    Columns of theta: logit A0, k, log kappa, free form of alpha. This form stays regular as alpha
    goes to its lower bound, where b and c of the paper's form run off together.
    """
    log_x = np.log(x)[None, :]
    limit = _expit(theta[:, :1])
    alpha, alpha_slope = _alpha(theta[:, 3:4])
    kappa = np.exp(theta[:, 2:3])
    power = np.exp(alpha * log_x)
    g = np.expm1(alpha * log_x) / alpha
    term = np.exp(theta[:, 1:2] - kappa * g)
    g_slope = (log_x * power - g) / alpha
    columns = [
        np.broadcast_to(limit * (1.0 - limit), term.shape),
        term,
        -term * kappa * g,
        -term * kappa * g_slope * alpha_slope,
    ]
    return limit + term, np.stack(columns, axis=-1)


def vanilla_power(theta: Array, x: Array) -> tuple[Array, Array]:
    """Eq. 5 as A0 - exp(k) x^-alpha, x = D / D_last; columns of theta: logit A0, k, alpha."""
    log_x = np.log(x)[None, :]
    limit = _expit(theta[:, :1])
    alpha, alpha_slope = _alpha(theta[:, 2:3])
    term = np.exp(theta[:, 1:2] - alpha * log_x)
    columns = [
        np.broadcast_to(limit * (1.0 - limit), term.shape),
        -term,
        term * log_x * alpha_slope,
    ]
    return limit - term, np.stack(columns, axis=-1)


def _starts(rising: bool, x: Array, y: Array, rng: np.random.Generator) -> Array:
    """Random shapes; limit and amplitude by linear regression given the shape."""
    low, high = np.log(ALPHA[0]), np.log(ALPHA[1])
    share = rng.uniform(0.02, 0.98, size=STARTS)
    alpha = np.exp(low + (high - low) * share)
    kappa = np.exp(rng.uniform(np.log(0.03), np.log(100.0), size=STARTS))
    log_x = np.log(x)
    rows = []
    for a, k, s in zip(alpha, kappa, share, strict=True):
        if rising:
            shape = -np.exp(-a * log_x)
        else:
            shape = np.exp(np.minimum(-k * np.expm1(a * log_x) / a, 200.0))
        design = np.column_stack([np.ones_like(x), shape])
        limit, amplitude = np.linalg.lstsq(design, y, rcond=None)[0]
        first = [
            _logit(np.clip(limit, 1e-4, 0.999)),
            np.log(max(amplitude, 1e-3 * np.ptp(y) + 1e-12)),
        ]
        free = _logit(np.array(s))
        rows.append([*first, free] if rising else [*first, np.log(k), free])
    return np.array(rows, dtype=float)


def best_fit(rising: bool, x: Array, y: Array, rng: np.random.Generator) -> tuple[Array, float]:
    """Best of `STARTS` runs: parameters of shape (p,) and the sum of squares.

    Raises
    ------
    FitError
        With no more points than parameters, or when no start gave a finite sum of squares.
    """
    model = vanilla_power if rising else logspace_power
    starts = _starts(rising, x, y, rng)
    if len(x) <= starts.shape[1]:
        raise FitError(f"{len(x)} points cannot determine {starts.shape[1]} parameters")
    found, costs = levenberg_marquardt(model, starts, x, y)
    best = int(np.argmin(costs))
    if not np.isfinite(costs[best]):
        raise FitError("no start gave a finite sum of squares")
    return found[best], float(costs[best])


def _evaluate(model: Model, theta: Array, x: Array) -> tuple[Array, Array]:
    values, jacobian = model(theta[None, :], x)
    return values[0], jacobian[0]


def _forecast(
    name: str, draw: Draw, seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator
) -> MethodForecast:
    """Forecast by `draw` from the best fit, or by a line where there is none."""
    series = target_series(seen)
    rising = rises(seen)
    x, new = series.relative, np.asarray(tokens, dtype=float) / series.tokens[-1]
    try:
        theta, _ = best_fit(rising, x, series.values, rng)
    except FitError as error:
        return line_instead(name, error, seen, tokens, rng)
    model = vanilla_power if rising else logspace_power
    curve, draws = draw(model, theta, x, series.values, new, rng)
    return MethodForecast.from_draws(tokens, draws, curve_draws=curve)


def multistart(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """Least squares under 0.01 <= alpha <= 20 and 0 < A0 < 1; delta-method t interval."""
    return _forecast("lm_multistart", _delta_method, seen, tokens, rng)


def bootstrap(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """The same fit with a residual bootstrap: refits to resampled residuals, plus one residual.

    Residuals are centred and inflated by sqrt(k / (k - p)), the usual correction (Davison &
    Hinkley, Bootstrap Methods and their Application, section 6.2).
    """
    return _forecast("lm_bootstrap", _residual_bootstrap, seen, tokens, rng)


def _delta_method(
    model: Model, theta: Array, x: Array, y: Array, new: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    fitted, jacobian = _evaluate(model, theta, x)
    mean, new_jacobian = _evaluate(model, theta, new)
    return linear_draws(mean, jacobian, new_jacobian, y - fitted, DRAWS, rng)


def _residual_bootstrap(
    model: Model, theta: Array, x: Array, y: Array, new: Array, rng: np.random.Generator
) -> tuple[Array, Array]:
    fitted, _ = _evaluate(model, theta, x)
    residuals = y - fitted
    residuals = (residuals - residuals.mean()) * np.sqrt(len(x) / (len(x) - len(theta)))
    resampled = fitted + rng.choice(residuals, size=(REPLICATES, len(x)))
    starts = np.repeat(theta[None, :], REPLICATES, axis=0)
    refits, _ = levenberg_marquardt(model, starts, x, resampled, iterations=60)
    curve, _ = model(refits, new)
    return curve, curve + rng.choice(residuals, size=curve.shape)
