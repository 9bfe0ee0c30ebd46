"""The stacked forecast of a table's runs, with the verbs of a fit that need no law."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from sparsefit.backtesting import correction, outlook
from sparsefit.backtesting.correction import Errors
from sparsefit.backtesting.crossings import Curve
from sparsefit.backtesting.forecast import MethodForecast
from sparsefit.backtesting.mixture import Parts, forecast_each, mixture
from sparsefit.backtesting.past_errors import NEGLIGIBLE, kind_of
from sparsefit.backtesting.registry import Method
from sparsefit.backtesting.seen import rises, target_of, target_series, with_target
from sparsefit.by_run import each_run
from sparsefit.checks import check_ahead, check_level, check_positive, check_tokens
from sparsefit.counts import count_text
from sparsefit.errors import ArgumentError, FitError, SparsefitError, quoted
from sparsefit.estimation.notes import Note
from sparsefit.estimation.notes import kind_of as kind_of_note
from sparsefit.results.budgets import target_and_words
from sparsefit.results.estimates import Budget
from sparsefit.results.fits import as_row
from sparsefit.table import unusable_rows, usable_rows

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from sparsefit.backtesting.result import Backtest
    from sparsefit.results.bands import Edge

T = TypeVar("T")


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
    _kept: dict[tuple[Any, ...], Any] = field(default_factory=dict, init=False, compare=False)

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs, in the order of the table."""
        return tuple(str(run) for run in self.table["run"].unique())

    @property
    def left_out(self) -> dict[str, str]:
        """Runs that no method can forecast, and why; tables of several runs are without them."""
        return left_out_of(self, self.runs)

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
        table, target = self._seen(run)
        own = table.loc[table["run"] == target, "tokens"]
        check_ahead(wanted, float(own.min()))
        found = self._stacked(self._parts(table, target, wanted), table, target)
        self._kept[("works", target)] = True
        return replace(found, notes=(*self._own_notes(target, wanted, own), *found.notes))

    def _own_notes(self, run: str, wanted: np.ndarray, own: pd.Series) -> list[Note]:
        """What the stack itself notes: rows without a value, forecasts of what was seen."""
        notes = [
            Note(f"{words} and took no part", "failed rows")
            for _, words in unusable_rows(self.table[self.table["run"] == run])
        ]
        if wanted.min() < own.max():
            words = (
                f"{count_text(wanted.min())} tokens lie within the data, where methods that only "
                "look ahead repeat the last value: use the points there"
            )
            notes.append(Note(words))
        return notes

    def _seen(self, run: str | None) -> tuple[pd.DataFrame, str]:
        """The rows with a value, marked with the run to forecast, and its name."""
        target = str(target_of(self.table)["run"]) if run is None else run
        usable = self.table[usable_rows(self.table)]
        if target in self.runs and target not in set(usable["run"]):
            raise FitError(f"run {quoted(target)}: no row has a value, so there is no forecast.")
        return with_target(usable, target), target

    def _parts(
        self,
        table: pd.DataFrame,
        run: str,
        tokens: np.ndarray,
        catch: type[Exception] = SparsefitError,
    ) -> Parts:
        used = [m for m in self.methods if self.weights[m.name] > NEGLIGIBLE]
        weights = {m.name: float(self.weights[m.name]) for m in used}
        return forecast_each(used, weights, table, run, tokens, self.seed, catch)

    def _stacked(self, parts: Parts, table: pd.DataFrame, run: str) -> MethodForecast:
        return self._corrected(mixture(parts, self.seed), table, run)

    def _corrected(self, found: MethodForecast, table: pd.DataFrame, run: str) -> MethodForecast:
        """The stacked forecast moved and widened by the errors of runs of the same kind.

        Those tell how far forecasts go astray. Without any, bands contain what those of the
        methods contain beside their quantiles (`MethodForecast.edges`).
        """
        own = table[table["run"] == run]
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
        moved = MethodForecast.from_draws(
            found.tokens, past.applied(draws, middle, spread, seen_range), curve_draws=curve
        )
        return replace(moved, fallback=found.fallback, notes=found.notes)

    def forecast(self, tokens: ArrayLike, level: float = 0.9) -> pd.DataFrame:
        """Stacked forecast of every run, in the columns of `Fit.forecast`.

        Returns
        -------
        DataFrame
            Column ``run`` (with several runs) and those of `Fit.forecast`. Where a method that
            takes part tells measurements only, mean and median are those of a measurement and the
            band of the curve is not a number.

        Raises
        ------
        FitError
            If no run can be forecast. Where only some cannot, `left_out` names them.
        """
        level = check_level(level)
        return self._by_run(lambda run: self.predictive(tokens, run).table(level))

    def _by_run(self, verb: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
        """A table of all runs but `left_out`, with a column `run` where there are several."""
        import pandas as pd

        parts, left_out = each_run(self.runs, verb)
        if not parts:
            raise FitError("; ".join(left_out.values()))
        if len(self.runs) > 1:
            for run, part in parts.items():
                part.insert(0, "run", run)
        return pd.concat(list(parts.values()), ignore_index=True)

    def tokens_to(
        self,
        activation_ratio: float | None = None,
        sparsity: float | None = None,
        loss: float | None = None,
        level: float = 0.9,
        *,
        run: str | None = None,
        until: float | None = None,
    ) -> Budget | pd.DataFrame:
        """Training tokens at which the stacked curve meets a target.

        The interval is the band of the curve that `forecast` gives, read sideways: at its ends the
        ends of the band meet the target. A backtest scores it as "budget 90%". Within the data the
        curve is that of the methods that describe the points.

        Parameters
        ----------
        activation_ratio, sparsity : float, optional
            The target, exactly one of them, as a fraction.
        loss : float, optional
            Not available: stacked methods forecast activation ratios.
        level : float
            Confidence level.
        run : str, optional
            One of several runs; all by default.
        until : float, optional
            Raw tokens up to which the target is looked for, by default ten times those seen. Not
            every method knows a law, so that there is no forecast for ever: a target that is
            *unreachable* or whose interval has no upper end is so up to here.

        Returns
        -------
        Budget or DataFrame
            As `Fit.tokens_to` for one run and `Fits.tokens_to` for several.

        Raises
        ------
        ArgumentError
            For a wrong argument, and where a method that takes part forecasts measurements alone or
            points without spread.
        FitError
            If no run can be forecast. Where only some cannot, `left_out` names them.
        """
        level = check_level(level)
        target, asked = target_and_words("activation_ratio", activation_ratio, sparsity, loss)
        if run is not None or len(self.runs) == 1:
            name = self.runs[0] if run is None else run
            return self._outlook(name, until).budget(target, asked, level)
        return self._by_run(
            lambda name: as_row(self._outlook(name, until).budget(target, asked, level))
        )

    def _outlook(self, run: str, until: float | None) -> outlook.Outlook:
        """What budgets need of a run; forecasts are kept for the next target."""
        table, _ = self._seen(run)
        series = target_series(table)
        seen = float(series.tokens[-1])
        last = outlook.REACH * seen if until is None else check_positive("until", until)
        if last <= seen:
            raise ArgumentError(
                f"until must lie beyond the {seen:g} tokens that run {run!r} has seen, got {last:g}"
            )

        def forecast_on() -> tuple[Curve, list[tuple[Edge, Curve]], bool]:
            tokens = outlook.grid_ahead(seen, last)
            parts = self._parts(table, run, tokens)
            outlook.check_curves(parts)
            found = self._stacked(parts, table, run)
            assert found.curve is not None and found.curve.draws is not None
            edges = [(one.edge, Curve.of_draws(tokens, one.curve)) for one in found.edges]
            return Curve.of_draws(tokens, found.curve.draws), edges, outlook.says_misfit(parts)

        ahead, edges, misfit = self._kept_or(("ahead", run, last), forecast_on)
        rising = outlook.moves_up(ahead, series.values, rises(table))

        def look_back() -> Curve:
            # A user's method may refuse tokens that it has seen, in its own words.
            grid = outlook.grid_within(series.tokens)
            try:
                parts = self._parts(table, run, grid, catch=Exception)
            except FitError:
                parts = None
            return outlook.curve_within(parts, series.tokens, series.values, rising)

        def within() -> Curve:
            return self._kept_or(("within", run, rising), look_back)

        return outlook.Outlook(series.tokens, ahead, edges, within, rising, misfit)

    def _kept_or(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]  # type: ignore[no-any-return]

    @property
    def notes(self) -> pd.DataFrame:
        """What the methods note about each run, one row a note: ``run, kind, note``.

        Which methods had to be replaced or left out comes first (kind ``other``). Each sentence
        stands once, after the names of the methods that say it, see `Fit.notes`. A run that no
        method can forecast has the reason as its note.
        """
        import pandas as pd

        notes, left_out = each_run(self.runs, self._notes)
        notes.update({run: (why,) for run, why in left_out.items()})
        rows = [(run, kind_of_note(note), str(note)) for run in self.runs for note in notes[run]]
        return pd.DataFrame(rows, columns=["run", "kind", "note"])

    def _notes(self, run: str) -> tuple[str, ...]:
        table, _ = self._seen(run)
        ahead = 2.0 * float(table.loc[table["run"] == run, "tokens"].max())

        def asked() -> tuple[str, ...]:
            found = self.predictive([ahead], run)
            return (*([found.fallback] if found.fallback else []), *found.notes)

        return self._kept_or(("notes", run), asked)

    def points_table(self) -> pd.DataFrame:
        """Every row given, with its role.

        Returns
        -------
        DataFrame
            Columns ``run``, ``tokens``, ``activation_ratio`` and ``role`` (used, failed).
        """
        found = self.table[["run", "tokens", "activation_ratio"]].reset_index(drop=True)
        return found.assign(role=np.where(usable_rows(self.table), "used", "failed"))

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

    def to_json(self, path: str | Path | None = None) -> str:
        """Write the forecast as JSON; `sf.load_fit` reads it back without another backtest.

        What the backtest found is stored with the table. Methods are stored by name and run again
        on the table when the loaded forecast is asked. Methods of your own have to be given to
        `sf.load_fit`.

        Parameters
        ----------
        path : path-like, optional
            File to write (atomically).

        Returns
        -------
        str
            The JSON document.
        """
        from sparsefit.backtesting.serialize import dump_best

        return dump_best(self, path)

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


def left_out_of(best: BestForecast, runs: Iterable[str]) -> dict[str, str]:
    """Those of the runs that no method can forecast, and why."""
    # Only runs that were not forecast yet have to be tried.
    return each_run([run for run in runs if ("works", run) not in best._kept], best._notes)[1]
