"""Choose and weight forecasting methods by a backtest on the user's own runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from sparsefit.backtesting import correction
from sparsefit.backtesting.choice import (
    default_candidates,
    inner_backtest,
    prior_weights,
    reason,
)
from sparsefit.backtesting.forecast import MethodForecast
from sparsefit.backtesting.past_errors import kind_of, stacked_errors
from sparsefit.backtesting.registry import Method, MethodsGiven, resolve
from sparsefit.backtesting.seen import kin_of, target_of
from sparsefit.backtesting.stacked import BestForecast
from sparsefit.errors import ArgumentError, NothingToForecastError, quoted
from sparsefit.estimation.notes import Note
from sparsefit.seeds import Rng, seed_of
from sparsefit.table import usable_rows, validate

if TYPE_CHECKING:
    import pandas as pd

INNER_CUTS = (0.3, 0.5, 0.7, 0.85)
MIN_SEEN = 6


def forecast_best(
    table: pd.DataFrame,
    methods: MethodsGiven | None = None,
    *,
    cuts: Sequence[float] = INNER_CUTS,
    min_seen: int = MIN_SEEN,
    strength: float = 1.0,
    rng: Rng = 0,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> BestForecast:
    """Choose and weight forecasting methods by a backtest inside the runs given.

    Each run is cut at several shares, and each candidate forecasts what comes after the cut. The
    weights minimise the CRPS of the candidates' mixture there (stacking). A prior in favour of the
    first candidate, worth as much as one cell, holds the weights back.

    The errors of the mixture also correct the forecast. If later points of the other runs of an
    activation fell outside the bands or to one side, the forecast of a run of that activation is
    widened and moved, and `why` says so.

    Only the points of `table` are used. To score the choice itself, backtest the method ``best``,
    which repeats all this inside what each cell shows.

    Parameters
    ----------
    table : DataFrame
        Measurement table of one or more runs.
    methods : names, functions or a mapping, optional
        Candidates, as in `backtest`, the one that the prior favours first. The default is ``fit``,
        ``fit_bayes_pooled`` (only if several runs have known sizes), ``log_linear``,
        ``damped_smoothing`` and ``lm_multistart``.
    cuts : sequence of float
        Where the runs are cut for the choice, as shares of their checkpoints.
    min_seen : int
        Fewest points that a candidate is fitted to.
    strength : float
        Weight of the prior: the number of cells (one run at one cut) that it counts as.
    rng : int or numpy.random.Generator
        Seed of the draws, or a Generator that gives one. The same seed gives the same result.
    jobs : int
        Processes for the backtest.
    progress : callable, optional
        Called during the backtest with how many of its forecasts are done, and how many there are.

    Returns
    -------
    BestForecast
        Forecasts and budgets of every run, the weights, and why they are so.
    """
    table = validate(table, min_points=0)
    chosen = resolve(methods) if methods is not None else default_candidates(table)
    seed = seed_of(rng)
    return _stacked(table, chosen, cuts, min_seen, strength, seed, jobs, progress=progress)


def _stacked(
    table: pd.DataFrame,
    chosen: tuple[Method, ...],
    cuts: Sequence[float] = INNER_CUTS,
    min_seen: int = MIN_SEEN,
    strength: float = 1.0,
    seed: int = 0,
    jobs: int = 1,
    target: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> BestForecast:
    """`forecast_best` with arguments checked; `target` is the run that has only begun, if any."""
    import pandas as pd

    table = table.assign(run=table["run"].astype(str))
    try:
        inner = inner_backtest(table, chosen, cuts, min_seen, seed, jobs, target, progress)
        weights = inner.stacking(prior=prior_weights(chosen), strength=strength)
        errors = stacked_errors(inner, weights, table)
        why = reason(inner, weights)
        for kind in dict.fromkeys(one.kind for one in errors):
            alike = [one for one in errors if one.kind == kind]
            # A run is corrected by the others of its kind.
            said = correction.sentence(alike) if len(alike) > 1 else None
            why += f" {said}" if said else ""
    except NothingToForecastError:
        inner, errors = None, ()
        index = pd.Index([m.name for m in chosen], name="method")
        weights = pd.Series(0.0, index=index, name="weight")
        weights.iloc[0] = 1.0
        why = (
            f"The runs are too short for a backtest (fewer than {min_seen} points before the last "
            f"cut): the first candidate, {chosen[0].name}, is used alone, without support."
        )
    if inner is not None:
        why += _few_points(table, min_seen)
    return BestForecast(weights, inner, why, table, chosen, seed, errors)


def _few_points(table: pd.DataFrame, least: int) -> str:
    """Runs with so few points that methods which need more are left out of their forecasts."""
    usable = usable_rows(table)
    few = [run for run in table["run"].unique() if (usable & (table["run"] == run)).sum() < least]
    if not few:
        return ""
    return (
        f" Fewer than {least} points of {', '.join(few)}: of the methods, those that need more are "
        "left out there or replaced by a line in log tokens."
    )


def best(seen: pd.DataFrame, tokens: np.ndarray, rng: np.random.Generator) -> MethodForecast:
    """`forecast_best` as a method: choice and correction are made inside what is seen.

    They rest on the run itself and on the runs of its activation that are shown.
    """
    run = target_of(seen)["run"]
    if not (seen["run"] == run).any():
        raise ArgumentError(f"run {quoted(run)}: forecast_best needs points of the run itself.")
    kin = kin_of(seen)
    # The same seed in every cell: what was found of other runs is then found once.
    found = _stacked(kin, default_candidates(kin), target=str(run))
    leading = found.weights.sort_values(ascending=False)
    weights = ", ".join(f"{name} {weight:.2f}" for name, weight in leading.items())
    kind = kind_of(kin[kin["run"] == run])
    said = correction.sentence([one for one in found.errors if one.kind == kind and one.run != run])
    forecast = found.predictive(tokens, str(run))
    own = (Note(f"weights: {weights}"), *((Note(said),) if said else ()))
    return replace(forecast, notes=(*own, *forecast.notes))
