"""Forecasts of several methods as one, each in proportion to its weight."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit.backtesting.forecast import MethodForecast, Predictive
from sparsefit.backtesting.registry import Method
from sparsefit.backtesting.stacking import mix
from sparsefit.errors import FitError, SparsefitError, quoted
from sparsefit.estimation.notes import Note, kind_of

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

DRAWS = 2000


@dataclass(frozen=True)
class Parts:
    """Forecasts of one run by several methods.

    Attributes
    ----------
    forecasts : dict of str to MethodForecast
        By method, those that worked.
    weights : ndarray, shape (M,)
        Of these methods; sums to one.
    failures : tuple of str
        Method and message of those that did not work.
    """

    forecasts: dict[str, MethodForecast]
    weights: Array
    failures: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes of all methods, see `gathered`."""
        return gathered({name: one.notes for name, one in self.forecasts.items()})


def forecast_each(
    methods: Iterable[Method],
    weights: Mapping[str, float],
    table: pd.DataFrame,
    run: str,
    tokens: Array,
    seed: int,
    catch: type[Exception] = SparsefitError,
) -> Parts:
    """Forecast a run by each method; what a method raises of the kind to `catch` is its failure.

    Raises
    ------
    FitError
        If every method failed.
    """
    forecasts, failures = {}, []
    for method in methods:
        seen = table
        if not method.pooled:
            seen = table[table["run"] == run]
            seen.attrs = dict(table.attrs)
        try:
            found = method.function()(seen, tokens.copy(), np.random.default_rng(seed))
        except catch as error:
            failures.append(f"{method.name}: {error}")
        else:
            forecasts[method.name] = found
    if not forecasts:
        raise FitError(f"run {quoted(run)} has no forecast: " + "; ".join(failures))
    share = np.array([weights[name] for name in forecasts])
    return Parts(forecasts, share / share.sum(), tuple(failures))


def mixture(parts: Parts, seed: int) -> MethodForecast:
    """The weighted mixture of forecasts; it has a curve where all of them have one."""
    forecasts = list(parts.forecasts.values())
    rng = np.random.default_rng([seed, 5])
    draws = mix([possible_rows(f.observation) for f in forecasts], parts.weights, DRAWS, rng)
    curve = None
    if all(f.curve is not None for f in forecasts):
        curves = [possible_rows(f.curve) for f in forecasts if f.curve is not None]
        curve = mix(curves, parts.weights, DRAWS, rng)
    fallbacks = [*(f.fallback for f in forecasts if f.fallback), *parts.failures]
    found = MethodForecast.from_draws(
        forecasts[0].tokens, draws, curve_draws=curve, fallback="; ".join(fallbacks) or None
    )
    edges = tuple(edge for forecast in forecasts for edge in forecast.edges)
    return replace(found, notes=parts.notes, edges=edges)


def possible_rows(part: Predictive) -> Array:
    """Draws that are physically possible: an activation ratio lies in (0, 1].

    Textbook intervals of few points reach far beyond; a draw that does is given up, and where
    nearly all do they are moved to the end of the range instead.
    """
    rows = part.draws if part.draws is not None else part.sample(400)
    possible = ((rows > 0) & (rows <= 1)).all(axis=1)
    if possible.sum() >= max(20, 0.05 * len(rows)):
        return rows[possible]
    return np.clip(rows, np.finfo(float).tiny, 1.0)


def gathered(notes: Mapping[str, Iterable[str]]) -> tuple[str, ...]:
    """Notes of several methods: each sentence once, after the names of those that say it.

    >>> gathered({"fit": ["it speeds up"], "fit_bayes": ["it speeds up", "few draws"]})
    ('fit, fit_bayes: it speeds up', 'fit_bayes: few draws')
    """
    said: dict[str, list[str]] = {}
    kinds: dict[str, str] = {}
    for name, own in notes.items():
        for note in dict.fromkeys(own):
            said.setdefault(str(note), []).append(name)
            kinds.setdefault(str(note), kind_of(note))
    return tuple(Note(f"{', '.join(names)}: {note}", kinds[note]) for note, names in said.items())
