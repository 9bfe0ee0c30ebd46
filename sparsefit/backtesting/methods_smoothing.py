"""Damped exponential smoothing from statsmodels."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from sparsefit.backtesting.forecast import MethodForecast
from sparsefit.backtesting.methods_simple import DRAWS, line_instead
from sparsefit.backtesting.seen import steps_ahead, target_series

if TYPE_CHECKING:
    import pandas as pd

# statsmodels' estimated initial states need more points than the model has parameters (6).
MIN_POINTS = 7


def damped_smoothing(
    seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator
) -> MethodForecast:
    """Additive-error exponential smoothing with a damped additive trend, ETS(A, Ad, N).

    The model knows checkpoints, not tokens: it is fitted to the seen points in order and its paths,
    simulated from the end with the fitted innovations, are read off at the (fractional) number of
    checkpoints ahead. The values are rescaled to unit spread, for the optimiser.
    """
    from statsmodels.tools.sm_exceptions import ConvergenceWarning
    from statsmodels.tsa.exponential_smoothing.ets import ETSModel

    series = target_series(seen)
    centre, spread = series.values.mean(), series.values.std()
    if len(series.values) < MIN_POINTS or spread == 0:
        reason = (
            "the seen values are constant"
            if len(series.values) >= MIN_POINTS
            else f"{len(series.values)} points are fewer than {MIN_POINTS}"
        )
        return line_instead("damped_smoothing", reason, seen, tokens, rng)
    ahead = np.maximum(steps_ahead(series.tokens, tokens), 0.0)
    horizon = max(int(np.ceil(ahead.max())), 1)
    note = None
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        model = ETSModel(
            (series.values - centre) / spread, error="add", trend="add", damped_trend=True
        )
        fitted = model.fit(disp=False, maxiter=2000)
        # Own errors rather than a seed: the name of that argument differs between releases.
        errors = rng.normal(size=(horizon, DRAWS)) * np.sqrt(fitted.scale)
        paths = fitted.simulate(horizon, anchor="end", repetitions=DRAWS, random_errors=errors)
        middle = np.asarray(fitted.forecast(horizon))
    if any(issubclass(w.category, ConvergenceWarning) for w in caught):
        note = "the optimiser of statsmodels did not report convergence"
    paths = np.asarray(paths).reshape(horizon, DRAWS)
    if not np.isfinite(paths).all():
        reason = "simulated paths are not finite"
        return line_instead("damped_smoothing", reason, seen, tokens, rng)
    # Innovations are symmetric: the point forecast is the median, freed of simulation error.
    paths = paths + (middle - np.median(paths, axis=1))[:, None]
    now = np.full((1, DRAWS), (series.values[-1] - centre) / spread)
    steps = np.arange(horizon + 1)
    draws, curve = (
        centre + spread * np.stack([np.interp(ahead, steps, path) for path in grid.T])
        # A path before its own last error is the model's noise-free value there.
        for grid in (np.concatenate([now, paths]), np.concatenate([now, paths - errors]))
    )
    return MethodForecast.from_draws(tokens, draws, curve_draws=curve, note=note)
