"""Compare fits of the same run by what each would have forecast, and by what it explains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.backtesting import comparison_text
from sparsefit.backtesting.comparison_criteria import loo_remarks, run_rows
from sparsefit.backtesting.comparison_fits import by_run
from sparsefit.backtesting.loo import conditional_log_likelihood, psis_loo
from sparsefit.backtesting.methods_fit import settings_of
from sparsefit.backtesting.rolling import backtest
from sparsefit.errors import ArgumentError, NothingToForecastError
from sparsefit.seeds import Rng, seed_of
from sparsefit.strict_json import plain

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting.result import Backtest
    from sparsefit.results.fit import Fit

CUTS = (0.5, 0.7, 0.85)


@dataclass(frozen=True, repr=False)
class Comparison:
    """Fits of the same run(s) side by side.

    Attributes
    ----------
    table : DataFrame
        One row a run and fit: run, fit, law, warmup, n_warmup, aicc, aicc_weight, bic,
        log_evidence, evidence_weight, loo, loo_se, loo_max_k, future_mae, future_crps,
        future_covered90, stacking. A criterion that does not apply is missing, and `remarks` say
        why. Higher is better for log_evidence and loo, lower for aicc, bic, future_mae and
        future_crps (percentage points).
    sentence : str
        What the comparison shows.
    remarks : tuple of str
        Which criteria do not apply, where, and why.
    future : Backtest or None
        The leave-future-out backtest behind the future_* columns.
    """

    table: pd.DataFrame
    sentence: str
    remarks: tuple[str, ...]
    future: Backtest | None

    @property
    def overall(self) -> pd.DataFrame:
        """One row a fit: log evidence and loo summed over runs, future scores averaged."""
        columns = {
            "runs": ("run", "nunique"),
            "log_evidence": ("log_evidence", _sum),
            "loo": ("loo", _sum),
            "future_mae": ("future_mae", "mean"),
            "future_crps": ("future_crps", "mean"),
            "future_covered90": ("future_covered90", "mean"),
            "stacking": ("stacking", "mean"),
        }
        return self.table.groupby("fit", sort=False).agg(**columns).reset_index()  # type: ignore[call-overload, no-any-return]

    def tidy(self) -> pd.DataFrame:
        """Long form: run, fit, criterion, value."""
        keys = ["run", "fit"]
        numbers = self.table.drop(columns=["law", "warmup"])
        return numbers.melt(id_vars=keys, var_name="criterion", value_name="value")

    def summary(self) -> str:
        """Table, sentence and remarks as text."""
        from sparsefit.backtesting.text import align

        header, rows = comparison_text.shown(self.table)
        lines = [self.sentence, "", *align(header, rows), "", comparison_text.UNITS]
        if self.remarks:
            lines += self.remarks
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values (missing numbers are None)."""
        document = {
            "sentence": self.sentence,
            "remarks": self.remarks,
            "fits": self.table,
            "overall": self.overall,
        }
        return dict(plain(document))

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.table['fit'].drop_duplicates())})"

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        from sparsefit.backtesting.text import html_table

        header, rows = comparison_text.shown(self.table)
        said = [self.sentence, comparison_text.UNITS, *self.remarks]
        return html_table(header, rows, " ".join(said))


def compare(
    fits: Iterable[Any] | Mapping[str, Any],
    *,
    cuts: Sequence[float] | None = CUTS,
    min_seen: int = 6,
    rng: Rng = 0,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare two or more fits of the same points.

    Parameters
    ----------
    fits : sequence or mapping
        `Fit`, `Fits` or their Bayesian counterparts; a mapping gives them names. Each run must be
        fitted at least twice, by different laws, warm-ups or methods.
    cuts : sequence of float or None
        Where the runs are cut for leave-future-out: every fit is repeated with its settings on the
        first part and scored on the rest. None leaves it out.
    min_seen : int
        Fewest points in such a first part.
    rng : int or Generator
        Seed of the repeated fits.
    jobs : int
        Processes for them.
    progress : callable, optional
        Called with how many of them are done, and how many there are.

    Returns
    -------
    Comparison

    Raises
    ------
    ArgumentError
        With fewer than two fits of a run, or fits of different points.

    Notes
    -----
    AICc and BIC come from least squares on the points that all fits of a run use (after the longest
    warm-up among them) and assume independent residuals. The evidence averages over warm-up and
    noise models; it is compared among fits of one method and prior only. PSIS-LOO scores each point
    given its neighbours in time, which is interpolation. Only leave-future-out scores what a
    forecast is for, and the sentence rests on it where it was computed.

    Examples
    --------
    >>> import sparsefit as sf
    >>> table = sf.datasets.load("reference_scales")
    >>> run = table[table["run"] == "0.11m_relu_s0"]
    >>> result = sf.compare([sf.fit(run, law="eq4"), sf.fit(run, law="eq5")], cuts=None)
    >>> result.table.loc[result.table["evidence_weight"].idxmax(), "fit"]
    'logspace_power'
    """
    import pandas as pd

    named = by_run(fits)
    seed = seed_of(rng)
    remarks: list[str] = []
    future = (
        None if cuts is None else _leave_future_out(named, cuts, min_seen, seed, jobs, progress)
    )
    loos = {
        (run, name): psis_loo(conditional_log_likelihood(fit))
        for run, group in named.items()
        for name, fit in group.items()
    }
    rows: list[dict[str, Any]] = []
    for run, group in named.items():
        rows += run_rows(run, group, loos, remarks)
    remarks += loo_remarks(named, loos)
    table = pd.DataFrame(rows)
    if future is not None:
        scores = future.table("series").rename(columns={"method": "fit", "series": "run"})
        scores = scores[["run", "fit", "mae", "crps", "covered90"]]
        scores = scores.rename(columns={c: f"future_{c}" for c in ("mae", "crps", "covered90")})
        table = table.merge(scores, on=["run", "fit"], how="left")
        stacking = _stacking(future, remarks)
        keys = zip(table["run"], table["fit"], strict=True)
        table["stacking"] = [stacking.get(key, np.nan) for key in keys]
        remarks += [
            f"leave-future-out: {row['method']} failed on {row['run']} at {row['cut']:g}: "
            f"{row['message']}"
            for _, row in future.cells[future.cells["status"] != "ok"].iterrows()
        ]
        remarks += [
            f"leave-future-out, skipped: {item.place}: {item.reason}" for item in future.skipped
        ]
    else:
        for name in ("future_mae", "future_crps", "future_covered90", "stacking"):
            table[name] = np.nan
    return Comparison(table, comparison_text.sentence(table, future), tuple(remarks), future)


def _leave_future_out(
    named: Mapping[str, Mapping[str, Fit]],
    cuts: Sequence[float],
    min_seen: int,
    seed: int,
    jobs: int,
    progress: Callable[[int, int], None] | None,
) -> Backtest:
    import pandas as pd

    from sparsefit.backtesting.methods_fit import Repeated
    from sparsefit.backtesting.registry import Method

    table = pd.concat([next(iter(g.values())).frame for g in named.values()], ignore_index=True)
    names = dict.fromkeys(name for group in named.values() for name in group)
    methods = [
        Method(
            name,
            Repeated({run: settings_of(g[name]) for run, g in named.items() if name in g}),
        )
        for name in names
    ]
    try:
        found = backtest(
            table, methods, cuts, min_seen=min_seen, rng=seed, jobs=jobs, progress=progress
        )
    except NothingToForecastError as error:
        raise NothingToForecastError(
            f"{error} cuts=None (--no-future) compares by evidence and criteria alone."
        ) from None
    # A fit of one run is no failure on the runs that were not fitted in that way.
    pairs = zip(found.cells["run"], found.cells["method"], strict=True)
    return replace(found, cells=found.cells[[method in named[run] for run, method in pairs]])


def _stacking(future: Backtest, remarks: list[str]) -> dict[tuple[str, str], float]:
    """Stacking weights within each run, by (run, fit)."""
    found = {}
    for run in future.cells["run"].drop_duplicates():
        try:
            weights = future.stacking(run)
        except ArgumentError as error:
            remarks.append(f"{run}: no stacking weights ({error})")
            continue
        found.update({(str(run), str(name)): float(w) for name, w in weights.items()})
    return found


def _sum(values: pd.Series) -> float:
    return float(values.sum(skipna=False))
