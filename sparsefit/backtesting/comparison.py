"""Compare fits of the same run by what each would have forecast, and by what it explains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.backtesting.loo import Loo, conditional_log_likelihood, psis_loo
from sparsefit.backtesting.methods_fit import settings_of
from sparsefit.backtesting.rolling import backtest
from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting.result import Backtest
    from sparsefit.results.fit import Fit

CUTS = (0.5, 0.7, 0.85)
# Share of the draws that see correlated residuals from which leave-one-out is called dependent.
_DEPENDENT = 0.5


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

        header, rows = _shown(self.table)
        lines = [self.sentence, "", *align(header, rows)]
        if self.remarks:
            lines += ["", *self.remarks]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values (missing numbers are None)."""
        from sparsefit.backtesting.text import plain_records

        return {
            "sentence": self.sentence,
            "remarks": list(self.remarks),
            "fits": plain_records(self.table),
            "overall": plain_records(self.overall),
        }

    def __repr__(self) -> str:
        return f"Comparison({', '.join(self.table['fit'].drop_duplicates())})"

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        from sparsefit.backtesting.text import html_table

        header, rows = _shown(self.table)
        return html_table(header, rows, " ".join([self.sentence, *self.remarks]))


def compare(
    fits: Iterable[Any] | Mapping[str, Any],
    *,
    cuts: Sequence[float] | None = CUTS,
    min_seen: int = 6,
    rng: int | np.random.Generator = 0,
    jobs: int = 1,
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
    """
    import pandas as pd

    named = _by_run(fits)
    seed = int(rng.integers(2**31)) if isinstance(rng, np.random.Generator) else int(rng)
    remarks: list[str] = []
    future = None if cuts is None else _leave_future_out(named, cuts, min_seen, seed, jobs)
    stacking = _stacking(future, remarks)
    rows: list[dict[str, Any]] = []
    for run, group in named.items():
        rows += _run_rows(run, group, remarks)
    table = pd.DataFrame(rows)
    if future is not None:
        scores = future.table("series").rename(columns={"method": "fit", "series": "run"})
        scores = scores[["run", "fit", "mae", "crps", "covered90"]]
        scores = scores.rename(columns={c: f"future_{c}" for c in ("mae", "crps", "covered90")})
        table = table.merge(scores, on=["run", "fit"], how="left")
        table["stacking"] = table["fit"].map(stacking)
        remarks += [
            f"leave-future-out: {row['method']} failed on {row['run']} at {row['cut']:g}: "
            f"{row['message']}"
            for _, row in future.cells[future.cells["status"] != "ok"].iterrows()
        ]
        remarks += [
            f"leave-future-out: {item.run} at {item.cut:g} skipped: {item.reason}"
            for item in future.skipped
        ]
    else:
        for name in ("future_mae", "future_crps", "future_covered90", "stacking"):
            table[name] = np.nan
    return Comparison(table, _sentence(table, future), tuple(remarks), future)


def _by_run(fits: Iterable[Any] | Mapping[str, Any]) -> dict[str, dict[str, Fit]]:
    """Fits by run and then by name."""
    from sparsefit.results.fit import Fit

    # A `Fits` is a mapping too, but of runs, not of names.
    named = isinstance(fits, Mapping) and not hasattr(fits, "fits")
    items = list(fits.items()) if named and isinstance(fits, Mapping) else [(None, f) for f in fits]
    if not named and hasattr(fits, "fits"):
        raise ArgumentError("fits: pass a list of fits, e.g. compare([first, second]).")
    found: dict[str, dict[str, Fit]] = {}
    for name, item in items:
        singles = list(item.values()) if isinstance(item, Mapping) else [item]
        for single in singles:
            if not isinstance(single, Fit):
                raise ArgumentError(
                    f"fits: results of sf.fit or sf.fit_bayes are expected, got "
                    f"{type(single).__name__}."
                )
            group = found.setdefault(single.run, {})
            group[_unique(name or _describe(single), group)] = single
    lone = [run for run, group in found.items() if len(group) < 2]
    if not found or lone:
        which = f"run {', '.join(map(repr, lone))} is fitted once" if lone else "no fit was given"
        raise ArgumentError(f"fits: {which}; a comparison needs two or more fits of each run.")
    for run, group in found.items():
        _check_same_points(run, group)
    return found


def _describe(fit: Fit) -> str:
    parts = [fit.law.name]
    if fit.method != "fit":
        parts.append(fit.method)
    if fit.warmup != "auto":
        parts.append(f"warm-up {fit.warmup}")
    if fit.robust:
        parts.append("robust")
    return ", ".join(parts)


def _unique(name: str, taken: Mapping[str, Any]) -> str:
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name} ({number})"
    return candidate


def _check_same_points(run: str, group: Mapping[str, Fit]) -> None:
    names = list(group)
    first = group[names[0]]
    for name in names[1:]:
        other = group[name]
        same = (
            first.response == other.response
            and len(first.points) == len(other.points)
            and np.array_equal(first.points.d, other.points.d)
            and np.array_equal(first.points.y, other.points.y)
        )
        if not same:
            raise ArgumentError(
                f"fits: run {run!r} has other points in {name!r} than in {names[0]!r}; only fits "
                "of the same points can be compared."
            )


def _run_rows(run: str, group: Mapping[str, Fit], remarks: list[str]) -> list[dict[str, Any]]:
    from sparsefit.backtesting.criteria import least_squares_criteria, weights_of

    shared = max(fit.n_warmup for fit in group.values())
    if any(fit.n_warmup != shared for fit in group.values()):
        remarks.append(
            f"{run}: warm-ups differ; AICc and BIC are of least squares on the points after the "
            f"longest ({shared} left out)."
        )
    criteria = {name: least_squares_criteria(fit, shared) for name, fit in group.items()}
    if any(fit.robust for fit in group.values()):
        remarks.append(f"{run}: a robust fit reweights points; AICc and BIC ignore the weights.")
    evidence = _evidence(run, group, remarks)
    leave_one_out = {name: _loo(run, name, fit, remarks) for name, fit in group.items()}
    aicc_weights = weights_of([-0.5 * criteria[name].aicc for name in group])
    evidence_weights = weights_of([evidence[name] for name in group])
    rows = []
    for index, (name, fit) in enumerate(group.items()):
        loo = leave_one_out[name]
        rows.append(
            {
                "run": run,
                "fit": name,
                "law": fit.law.name,
                "warmup": fit.warmup,
                "n_warmup": fit.n_warmup,
                "aicc": criteria[name].aicc,
                "aicc_weight": aicc_weights[index],
                "bic": criteria[name].bic,
                "log_evidence": evidence[name],
                "evidence_weight": evidence_weights[index],
                "loo": loo.total,
                "loo_se": float(np.sqrt(len(loo.elpd)) * np.std(loo.elpd, ddof=1)),
                "loo_max_k": float(loo.k.max()),
            }
        )
    return rows


def _evidence(run: str, group: Mapping[str, Fit], remarks: list[str]) -> dict[str, float]:
    kinds = {(fit.method, fit.robust) for fit in group.values()}
    if len(kinds) > 1:
        remarks.append(
            f"{run}: the evidence of different methods (priors, reweighted points) does not "
            "compare."
        )
        return dict.fromkeys(group, float("nan"))
    return {name: float(fit.averaged.log_evidence) for name, fit in group.items()}


def _loo(run: str, name: str, fit: Fit, remarks: list[str]) -> Loo:
    loo = psis_loo(conditional_log_likelihood(fit))
    if not loo.reliable:
        bad = int((loo.k >= 0.7).sum())
        remarks.append(
            f"{run}, {name}: PSIS-LOO is not reliable, {bad} of {len(loo.k)} points have k >= 0.7."
        )
    correlated = np.array([noise.kind != "white" for noise in fit.averaged.noises])
    if correlated[fit.averaged.draws.noise].mean() > _DEPENDENT:
        remarks.append(
            f"{run}, {name}: residuals are correlated from checkpoint to checkpoint; leaving one "
            "out still shows its neighbours, so PSIS-LOO says little about forecasts."
        )
    return loo


def _leave_future_out(
    named: Mapping[str, Mapping[str, Fit]],
    cuts: Sequence[float],
    min_seen: int,
    seed: int,
    jobs: int,
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
    return backtest(table, methods, cuts, min_seen=min_seen, rng=seed, jobs=jobs)


def _stacking(future: Backtest | None, remarks: list[str]) -> dict[str, float]:
    if future is None:
        return {}
    try:
        return {str(name): float(weight) for name, weight in future.stacking().items()}
    except ArgumentError as error:
        remarks.append(f"stacking weights are missing: {error}")
        return {}


def _sum(values: pd.Series) -> float:
    return float(values.sum(skipna=False))


def _sentence(table: pd.DataFrame, future: Backtest | None) -> str:
    parts = []
    if future is not None:
        overall = future.table()
        whole = overall[overall["failed"] == 0].sort_values("crps")
        if len(whole):
            names, scores = list(whole["method"]), list(whole["crps"])
            text = f"Fitted to the first part and scored on the rest, {names[0]} forecasts best"
            text += f" (CRPS {scores[0]:.3f} points"
            text += f", next {names[1]} {scores[1]:.3f})" if len(names) > 1 else ")"
            if len(names) > 1:
                gaps = future.differences(names[0], "crps").set_index("method")["verdict"]
                runs = future.cells["run"].nunique()
                shown = gaps[names[1]] == "worse"
                text += ", and is shown to" if shown else f"; {runs} run{'s' * (runs != 1)} cannot"
                text += " be better." if shown else " show a difference of this size."
            parts.append(text)
    total = table.groupby("fit", sort=False)["log_evidence"].agg(_sum).dropna()
    if len(total) > 1 and table.groupby("fit")["run"].nunique().nunique() == 1:
        ranked = total.sort_values(ascending=False)
        gap = float(ranked.iloc[0] - ranked.iloc[1])
        strength = "clearly" if gap > 3 else "slightly" if gap > 1 else "hardly"
        parts.append(
            f"The evidence {strength} favours {ranked.index[0]!s}, by {gap:.1f} nats over "
            f"{ranked.index[1]!s}."
        )
    return " ".join(parts) or "No criterion compares these fits."


def _shown(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    from sparsefit.backtesting.text import number

    digits = {
        "aicc": 1, "aicc_weight": 2, "bic": 1, "log_evidence": 1, "evidence_weight": 2, "loo": 1,
        "loo_se": 1, "loo_max_k": 2, "future_mae": 3, "future_crps": 3, "future_covered90": 2,
        "stacking": 2,
    }  # fmt: skip
    header = ["run", "fit", "n_warmup", *digits]
    rows = [
        [
            str(row["run"]),
            str(row["fit"]),
            str(row["n_warmup"]),
            *(number(row[name], places) for name, places in digits.items()),
        ]
        for _, row in table.iterrows()
    ]
    return header, rows
