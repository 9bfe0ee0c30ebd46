"""The forecast that a backtest on the user's own runs supports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from sparsefit.backtesting import correction
from sparsefit.backtesting.choice import (
    default_candidates,
    inner_backtest,
    prior_weights,
    reason,
)
from sparsefit.backtesting.correction import Errors
from sparsefit.backtesting.forecast import MethodForecast, Predictive
from sparsefit.backtesting.past_errors import NEGLIGIBLE, kind_of, stacked_errors
from sparsefit.backtesting.registry import Method, MethodFunction, resolve
from sparsefit.backtesting.seen import kin_of, target_of, with_target
from sparsefit.backtesting.stacking import mix
from sparsefit.checks import check_ahead, check_level, check_tokens
from sparsefit.errors import ArgumentError, NothingToForecastError, SparsefitError
from sparsefit.results.bands import forecast_table
from sparsefit.seeds import Rng, seed_of
from sparsefit.table import usable_rows, validate

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting.result import Backtest

INNER_CUTS = (0.3, 0.5, 0.7, 0.85)
MIN_SEEN = 6
MIXTURE_DRAWS = 2000


@dataclass(frozen=True, repr=False)
class BestForecast:
    """Forecasting methods, weighted by how well they forecast the later parts of these runs.

    Attributes
    ----------
    weights : Series
        Weight of each candidate, index method, sums to one.
    backtest : Backtest or None
        The backtest behind the weights; None if the runs were too short for one.
    why : str
        Which method leads, and on what evidence.
    table : DataFrame
        The measurement table.
    methods : tuple of Method
        The candidates.
    seed : int
        Seed of the forecasts.
    errors : tuple of Errors
        How far the stacked forecasts of that backtest were from the measurements, by run. They
        correct the forecasts of other runs of the same kind, see `correction`.
    """

    weights: pd.Series
    backtest: Backtest | None
    why: str
    table: pd.DataFrame
    methods: tuple[Method, ...]
    seed: int
    errors: tuple[Errors, ...] = field(default=())

    @property
    def method(self) -> str:
        """The candidate with the largest weight."""
        return str(self.weights.idxmax())

    def predictive(self, tokens: ArrayLike, run: str | None = None) -> MethodForecast:
        """Stacked forecast of one run at raw token counts.

        Parameters
        ----------
        tokens : array of shape (n,)
            Raw token counts.
        run : str, optional
            Needed where the table holds several runs.
        """
        wanted = check_tokens(tokens)
        table = self.table if run is None else with_target(self.table, run)
        target = str(target_of(table)["run"])
        check_ahead(wanted, float(table.loc[table["run"] == target, "tokens"].min()))
        used = [m for m in self.methods if self.weights[m.name] > NEGLIGIBLE]
        forecasts, failures = [], []
        for method in used:
            try:
                forecasts.append(_forecast(method, table, target, wanted, self.seed))
            except SparsefitError as error:
                failures.append(f"{method.name}: {error}")
        if not forecasts:
            raise ArgumentError("forecast_best: every method failed: " + "; ".join(failures))
        weights = np.array([self.weights[name] for name, _ in forecasts])
        found = _mixture([f for _, f in forecasts], weights / weights.sum(), failures, self.seed)
        return self._corrected(found, table, target)

    def _corrected(self, found: MethodForecast, table: pd.DataFrame, run: str) -> MethodForecast:
        """The stacked forecast moved and widened by the errors of runs of the same kind."""
        own = table[table["run"] == run]
        own = own[usable_rows(own)]
        kind = kind_of(own)
        errors = [one for one in self.errors if one.kind == kind and one.run != run]
        draws = found.observation.draws
        if not errors or draws is None:
            return found
        past = correction.correction_at(found.tokens / float(own["tokens"].max()), errors)
        seen_range = float(np.ptp(own["activation_ratio"].to_numpy()))
        middle, spread = correction.centre_and_spread(draws)
        curve = None
        if found.curve is not None and found.curve.draws is not None:
            curve = past.applied(found.curve.draws, middle, spread, seen_range)
        return MethodForecast.from_draws(
            found.tokens,
            past.applied(draws, middle, spread, seen_range),
            curve_draws=curve,
            fallback=found.fallback,
            note=found.note,
        )

    def forecast(self, tokens: ArrayLike, level: float = 0.9) -> pd.DataFrame:
        """Stacked forecast of every run, in the columns of `Fit.forecast`.

        Returns
        -------
        DataFrame
            Column ``run`` (with several runs) and those of `Fit.forecast`. Where a method that
            takes part tells measurements only, mean and median are those of a measurement and the
            band of the curve is not a number.
        """
        import pandas as pd

        level = check_level(level)
        runs = list(self.table["run"].unique())
        parts = []
        for run in runs:
            forecast = self.predictive(tokens, run if len(runs) > 1 else None)
            seen = forecast.observation.sample()
            curve = seen if forecast.curve is None else forecast.curve.sample()
            part = forecast_table(forecast.tokens, curve, seen, level)
            if forecast.curve is None:
                part[["curve_lower", "curve_upper"]] = np.nan
            if len(runs) > 1:
                part.insert(0, "run", run)
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def tidy(self) -> pd.DataFrame:
        """One row a candidate: weight and, where a backtest was possible, its scores."""
        if self.backtest is None:
            return self.weights.reset_index()
        scores = self.backtest.table()[["method", "mae", "crps", "covered90", "failed"]]
        return self.weights.reset_index().merge(scores, on="method", how="left")

    def summary(self) -> str:
        """The choice, its reason, and the candidates' scores."""
        from sparsefit.backtesting.text import align

        return "\n".join([self.why, "", *align(*self._cells())])

    def __repr__(self) -> str:
        return f"BestForecast({self.method}, weight {self.weights.max():.2f})"

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        from sparsefit.backtesting.text import html_table

        return html_table(*self._cells(), self.why)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """Header and cells of the candidates as text, the heaviest first."""
        from sparsefit.backtesting.text import number

        table = self.tidy().sort_values("weight", ascending=False)
        header = [str(name) for name in table.columns]
        rows = [
            [str(row["method"]), *(number(row[name]) for name in header[1:])]
            for _, row in table.iterrows()
        ]
        return header, rows


def forecast_best(
    table: pd.DataFrame,
    methods: Iterable[str | Method | MethodFunction] | Mapping[str, MethodFunction] | None = None,
    *,
    cuts: Sequence[float] = INNER_CUTS,
    min_seen: int = MIN_SEEN,
    strength: float = 1.0,
    rng: Rng = 0,
    jobs: int = 1,
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
        Candidates, as in `backtest`, the one that the prior favours first. The default is
        `choice.CANDIDATES`, with the pooled fit only if several runs have known sizes.
    cuts : sequence of float
        Where the runs are cut for the choice.
    min_seen : int
        Fewest points that a candidate is fitted to.
    strength : float
        Weight of the prior, in cells (see `stacking.stacking_weights`).
    rng : int or Generator
        Seed.
    jobs : int
        Processes for the backtest.

    Returns
    -------
    BestForecast
    """
    table = validate(table, min_points=0)
    chosen = resolve(methods) if methods is not None else default_candidates(table)
    seed = seed_of(rng)
    return _stacked(table, chosen, cuts, min_seen, strength, seed, jobs)


def _stacked(
    table: pd.DataFrame,
    chosen: tuple[Method, ...],
    cuts: Sequence[float] = INNER_CUTS,
    min_seen: int = MIN_SEEN,
    strength: float = 1.0,
    seed: int = 0,
    jobs: int = 1,
    target: str | None = None,
) -> BestForecast:
    """`forecast_best` with arguments checked; `target` is the run that has only begun, if any."""
    import pandas as pd

    table = table.assign(run=table["run"].astype(str))
    try:
        inner = inner_backtest(table, chosen, cuts, min_seen, seed, jobs, target)
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
        raise ArgumentError(f"run {run!r}: forecast_best needs points of the run itself.")
    kin = kin_of(seen)
    # The same seed in every cell: what was found of other runs is then found once.
    found = _stacked(kin, default_candidates(kin), target=str(run))
    leading = found.weights.sort_values(ascending=False)
    note = ", ".join(f"{name} {weight:.2f}" for name, weight in leading.items())
    kind = kind_of(kin[kin["run"] == run])
    said = correction.sentence([one for one in found.errors if one.kind == kind and one.run != run])
    return replace(
        found.predictive(tokens, str(run)),
        note="; ".join(text for text in (f"weights: {note}", said) if text),
    )


def _forecast(
    method: Method, table: pd.DataFrame, target: str, tokens: np.ndarray, seed: int
) -> tuple[str, MethodForecast]:
    seen = table
    if not method.pooled:
        seen = table[table["run"] == target]
        seen.attrs = dict(table.attrs)
    return method.name, method.function()(seen, tokens.copy(), np.random.default_rng(seed))


def _mixture(
    forecasts: Sequence[MethodForecast], weights: np.ndarray, failures: list[str], seed: int
) -> MethodForecast:
    rng = np.random.default_rng([seed, 5])
    draws = mix([_rows(f.observation) for f in forecasts], weights, MIXTURE_DRAWS, rng)
    curve = None
    if all(f.curve is not None for f in forecasts):
        parts = [_rows(f.curve) for f in forecasts if f.curve is not None]
        curve = mix(parts, weights, MIXTURE_DRAWS, rng)
    fallbacks = [f.fallback for f in forecasts if f.fallback] + failures
    return MethodForecast.from_draws(
        forecasts[0].tokens, draws, curve_draws=curve, fallback="; ".join(fallbacks) or None
    )


def _rows(part: Predictive) -> np.ndarray:
    """Draws that are physically possible: an activation ratio lies in (0, 1].

    Textbook intervals of few points reach far beyond; a draw that does is given up, and where
    nearly all do they are moved to the end of the range instead.
    """
    rows = part.draws if part.draws is not None else part.sample(400)
    possible = ((rows > 0) & (rows <= 1)).all(axis=1)
    if possible.sum() >= max(20, 0.05 * len(rows)):
        return rows[possible]
    return np.clip(rows, np.finfo(float).tiny, 1.0)
