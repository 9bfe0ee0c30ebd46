"""`sf.fit` and `sf.fit_bayes` as forecasting methods."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.backtesting.forecast import MethodForecast
from sparsefit.backtesting.seen import target_of

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.results.fit import Fit


def fit(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """`sf.fit` with its defaults, on the run alone."""
    return configured()(seen, tokens, rng)


def fit_bayes(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """`sf.fit_bayes` with its defaults, on the run alone."""
    from sparsefit.bayes.api import fit_bayes as run

    found = run(_own(seen), rng=_seed(rng))
    return from_fit(found, tokens, rng)


def configured(**settings: Any) -> Callable[..., MethodForecast]:
    """A method that calls `sf.fit` with the settings given (law, warmup, robust)."""

    def method(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
        from sparsefit.estimation.api import fit as run

        return from_fit(run(_own(seen), rng=_seed(rng), **settings), tokens, rng)

    return method


def from_fit(found: Fit, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """Draws of the curve and of new measurements, with what the fit has to say about itself."""
    return MethodForecast.from_draws(
        tokens,
        found.simulate(tokens, "observation", rng=_seed(rng)),
        curve_draws=found.simulate(tokens, "curve"),
        note="; ".join(found.notes) or None,
    )


def _own(seen: pd.DataFrame) -> pd.DataFrame:
    return seen[seen["run"] == target_of(seen)["run"]]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))
