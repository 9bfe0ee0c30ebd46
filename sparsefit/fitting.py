"""`sf.fit`: from a measurement table to fits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sparsefit import laws
from sparsefit.counts import count_text
from sparsefit.errors import ArgumentError, FitError, quoted
from sparsefit.estimation.alternatives import better_law
from sparsefit.estimation.engine import DRAWS, Averaged, average
from sparsefit.estimation.least_squares import LeastSquares, fit_least_squares
from sparsefit.estimation.misfit import departures, goes_against, leaves_at_the_start
from sparsefit.estimation.notes import Note
from sparsefit.estimation.outliers import outliers_of
from sparsefit.estimation.points import Points
from sparsefit.estimation.priors import ShapePrior
from sparsefit.estimation.robust import robust_inflation
from sparsefit.estimation.warmup import warmup_choices
from sparsefit.laws import TOKENS_PER_UNIT, Law
from sparsefit.provenance import provenance
from sparsefit.results.fit import Fit
from sparsefit.results.fits import Fits
from sparsefit.results.rounding import allowing_for_rounding
from sparsefit.seeds import Rng, seed_of
from sparsefit.table import unusable_rows, usable_rows, validate

Array = NDArray[np.float64]

# Below this many points the choice between a number of points and a number of tokens is clear.
_TOKENS_FROM = 1000


@dataclass(frozen=True)
class RunData:
    """Rows of one run, ready to fit."""

    run: str
    frame: pd.DataFrame
    points: Points
    activation: str | None
    n_params: float | None


def run_data(frame: pd.DataFrame, response: str) -> RunData:
    """Turn the validated rows of one run into points."""
    run = str(frame["run"].iloc[0])
    used = frame[usable_rows(frame, response)].sort_values("tokens", kind="stable")
    relative = None
    if response == "activation_ratio" and "se" in used:
        se = used["se"].to_numpy(dtype=float)
        # They are given for all points or for none, and all positive or all zero (`validate`).
        if se.size and np.all(np.isfinite(se)) and np.all(se > 0):
            relative = se / np.median(se)
    points = Points(
        used["tokens"].to_numpy(dtype=float) / TOKENS_PER_UNIT,
        used[response].to_numpy(dtype=float),
        relative,
    )

    def constant(column: str) -> Any:
        values = used[column].dropna() if column in used else pd.Series(dtype=object)
        return values.iloc[0] if len(values) else None

    activation, n_params = constant("activation"), constant("n_params")
    return RunData(
        run,
        frame,
        points,
        None if activation is None else str(activation).lower(),
        None if n_params is None else float(n_params),
    )


def check_points(data: RunData, law: Law) -> None:
    """Raise `FitError` for a run with too few points for a law, or without any trend."""
    n = len(data.points)
    if n < law.least_points:
        raise FitError(
            f"run {data.run!r} has {n} usable point{'' if n == 1 else 's'}, {law.name} has "
            f"{law.n_parameters} coefficients and needs at least {law.least_points}: measure more "
            "checkpoints"
        )
    if data.points.range <= 1e-12 * max(abs(float(data.points.y.max())), 1e-300):
        raise FitError(
            f"run {data.run!r}: all {n} values equal {data.points.y[0]:.6g}, so there is no trend "
            "to fit: check the measurement"
        )


def warmup_rule(
    data: RunData, law: Law, warmup: str | float | None
) -> tuple[NDArray[np.intp], str]:
    """Warm-up choices to average over and the rule in words."""
    n = len(data.points)
    most = n - law.least_points
    if warmup is None or (isinstance(warmup, str) and warmup == "none"):
        return np.array([0]), "none"
    if isinstance(warmup, str) and warmup == "auto":
        return warmup_choices(n, law.n_parameters), "auto"
    if isinstance(warmup, bool) or not isinstance(warmup, int | float | np.number):
        raise ArgumentError(
            "warmup must be 'auto', 'none' (or None), a number of points or of tokens, got "
            f"{quoted(warmup)}"
        )
    if not np.isfinite(warmup) or warmup < 0:
        raise ArgumentError(f"warmup must be finite and >= 0, got {quoted(warmup)}")
    if warmup < _TOKENS_FROM:
        if float(warmup) != int(warmup):
            raise ArgumentError(
                f"warmup={quoted(warmup)} is neither a whole number of points nor a token count "
                f"(token counts are {_TOKENS_FROM} and more)"
            )
        drop, rule = int(warmup), f"first {int(warmup)} points"
    else:
        drop = int(np.sum(data.points.d * TOKENS_PER_UNIT < warmup))
        rule = f"points before {count_text(warmup)} tokens"
    if drop > most:
        raise FitError(
            f"run {data.run!r}: a warm-up of {drop} of {n} points leaves {max(n - drop, 0)}, "
            f"{law.name} needs at least {law.least_points}: leave out fewer"
        )
    return np.array([drop]), rule


def candidate_laws(data: RunData, law: str | Law, response: str) -> tuple[list[Law], str]:
    """Laws to consider and, where only one is left, why."""
    if isinstance(law, Law) or law != "auto":
        chosen = laws.get(law)
        if chosen.response != response:
            raise ArgumentError(
                f"law {chosen.name!r} describes the {chosen.response}, response={response!r} was "
                "asked for"
            )
        return [chosen], "as asked for"
    found = list(laws.candidates(data.activation, response))
    if response == "loss":
        return found, "the law for the loss"
    return found, f"by activation: {data.activation}" if len(found) == 1 else ""


def fit_notes(
    data: RunData, law: Law, best: LeastSquares, averaged: Averaged, drop: int, rule: str
) -> tuple[Note, ...]:
    """What a reader of the fit should know, in sentences."""
    notes = []
    if best.edge_form:
        tail = "" if law.edge_has_limit else ", which has no limit"
        words = f"the least-squares fit degenerates to a limiting form, {best.edge_form}{tail}"
        notes.append(Note(words, "limiting form"))
    if best.bounds_hit:
        words = "least squares ends on a bound: " + "; ".join(best.bounds_hit)
        notes.append(Note(words, "bound"))
    against = goes_against(law, data.points)
    outliers = outliers_of(averaged.noises, averaged.noise_weight)
    if against is None:
        notes.extend(_departures(law, data.points, drop, best, outliers))
    else:
        notes.append(_naming(against, better_law(law, data.points, averaged.drops, rule == "auto")))
    if rule == "auto" and drop:
        notes.append(_warmup_note(drop, averaged))
    if averaged.transient_weight > 0.5 and (drop or leaves_at_the_start(law, data.points, best)):
        rest = "only through the points set aside" if drop else "do not"
        words = (
            "an early transient decays into the law: intervals allow for it, the least-squares "
            f"coefficients {rest}"
        )
        notes.append(Note(words, "fading start"))
    if outliers:
        notes.append(_outlier_note(data.points, outliers))
    for count, words in unusable_rows(data.frame, law.response):
        fate = "is not fitted" if count == 1 else "are not fitted"
        notes.append(Note(f"{words} and {fate}", "failed rows"))
    if _zero_errors(data, law.response):
        words = "standard errors of zero are treated as not given: no point is known exactly"
        notes.append(Note(words, "standard errors"))
    if averaged.ess < 200:
        words = (
            f"the draws rest on an effective sample of only {averaged.ess:.0f}: treat intervals "
            "as rough"
        )
        notes.append(Note(words, "few draws"))
    return tuple(notes)


def _warmup_note(drop: int, averaged: Averaged) -> Note:
    """Points that least squares leaves out, and whether the average does so too.

    Least squares goes with the best choice under independent residuals. Correlated ones may explain
    the first points as well, and then nothing shows that the law does not describe them.
    """
    what = "first point" if drop == 1 else f"first {drop} points"
    weight = float(averaged.drop_weight[averaged.drops >= drop].sum())
    if weight >= 0.5:
        words = f"the law does not describe the {what} (set aside as warm-up)"
    else:
        words = (
            f"least squares leaves out the {what} (warm-up); the intervals average over choices, "
            f"and leave out as many with a weight of only {weight:.2f}"
        )
    return Note(words, "warm-up")


def _departures(
    law: Law, points: Points, drop: int, best: LeastSquares, outliers: tuple[int, ...]
) -> tuple[Note, ...]:
    """How the points leave the law, single outliers aside."""
    if outliers:
        points, drop = points.without(outliers), drop - sum(i < drop for i in outliers)
        best = fit_least_squares(law, points.since(drop))
    return departures(law, points, drop, best)


def _outlier_note(points: Points, outliers: tuple[int, ...]) -> Note:
    """The points that the average takes for outliers."""
    where = " and ".join(count_text(points.d[i] * TOKENS_PER_UNIT) for i in outliers)
    what = (
        f"point at {where} tokens lies" if len(outliers) == 1 else f"points at {where} tokens lie"
    )
    return Note(
        f"the {what} off the course of the others: intervals and forecasts allow for that, the "
        "least-squares coefficients do not (robust=True)",
        "outlier",
    )


def _zero_errors(data: RunData, response: str) -> bool:
    """Whether the standard errors of the usable rows are given, and zero."""
    if response != "activation_ratio" or "se" not in data.frame:
        return False
    return bool((data.frame.loc[usable_rows(data.frame, response), "se"] == 0).any())


def _naming(note: Note, better: tuple[Law, float] | None) -> Note:
    """The note, with the law that describes the run better."""
    if better is None:
        return note
    law, ahead = better
    return Note(
        f"{note}; {law.name} describes it better, by {ahead:.0f} nats of evidence", note.kind
    )


def fit_run(
    data: RunData,
    law: str | Law,
    warmup: str | float | None,
    response: str,
    robust: bool,
    seed: int,
    prior: ShapePrior | None = None,
    size: int = DRAWS,
) -> Fit:
    """Fit one run; see `fit`."""
    candidates, reason = candidate_laws(data, law, response)
    tried = []
    for candidate in candidates:
        check_points(data, candidate)
        points = data.points
        if robust:
            points = replace(points, robust_inflation=robust_inflation(candidate, points))
        choices, rule = warmup_rule(data, candidate, warmup)
        averaged = average(candidate, points, choices, np.random.default_rng(seed), prior, size)
        tried.append((averaged.log_evidence, candidate, points, rule, averaged))
    tried.sort(key=lambda item: -item[0])
    _, chosen, points, rule, averaged = tried[0]
    if len(tried) > 1:
        odds = tried[0][0] - tried[1][0]
        reason = (
            f"by evidence: {odds:.1f} nats above {tried[1][1].name}; the table names no activation"
            if data.activation is None
            else f"by evidence: {odds:.1f} nats above {tried[1][1].name}; activation "
            f"{data.activation!r} decides nothing"
        )
    drop = averaged.white_drop
    best = fit_least_squares(chosen, points.since(drop))
    data = replace(data, points=points)
    notes = fit_notes(data, chosen, best, averaged, drop, rule)
    averaged, rounded = allowing_for_rounding(
        chosen, points, best, drop, averaged, np.random.default_rng([seed, 1])
    )
    return Fit(
        run=data.run,
        law=chosen,
        law_reason=reason,
        frame=data.frame,
        points=points,
        n_warmup=drop,
        warmup=rule,
        least_squares=best,
        averaged=averaged,
        method="fit",
        robust=robust,
        n_params=data.n_params,
        notes=(*notes, *rounded),
        seed=seed,
        provenance=provenance(seed=seed),
    )


def check_call(table: Any, response: str) -> list[RunData]:
    """Validate the arguments that all fitting functions share; returns the runs."""
    # A run that is too short is judged against its own law, further on.
    valid = validate(table, response=response, min_points=0)
    return [run_data(frame, response) for _, frame in valid.groupby("run", sort=False)]


def fit(
    table: pd.DataFrame,
    law: str | Law = "auto",
    warmup: str | float | None = "auto",
    response: str = "activation_ratio",
    robust: bool = False,
    rng: Rng = 0,
) -> Fit | Fits:
    """Fit the law of activation sparsity to the checkpoints of one or many runs.

    Coefficients are the global (weighted) least-squares optimum, polished by Levenberg-Marquardt.
    Intervals average over shapes of the law, noise models (correlated residuals, spread that
    changes with D) and warm-up choices, by their evidence.

    Parameters
    ----------
    table : pandas.DataFrame
        Measurement table (see `sf.read_table`), one or many runs.
    law : str or Law
        ``"auto"`` (by activation, else by evidence), a name or alias (``"eq4"``, ``"eq5"``,
        ``"relu"``, ``"silu"``) or a `Law`.
    warmup : "auto", None, int or float
        Early points to leave out. ``"auto"`` averages over every number of them, None and
        ``"none"`` leave out none. A number below 1000 is a number of points, any other number a
        token count.
    response : {"activation_ratio", "loss"}
        Column to fit.
    robust : bool
        Down-weight outliers (Student-t with 4 degrees of freedom).
    rng : int or numpy.random.Generator
        Seed of the draws, or a Generator that gives one. The same seed gives the same result.

    Returns
    -------
    Fit or Fits
        `Fit` for a table of one run, `Fits` (a mapping from run to `Fit`) for several;
        `sf.as_fits` turns either into `Fits`.

    Raises
    ------
    TableError
        Lists every fault of the table.
    FitError
        If a run has too few points or no trend at all.
    ArgumentError
        If an argument is outside what the call accepts.

    Examples
    --------
    >>> import sparsefit as sf
    >>> table = sf.datasets.load("reference_scales")
    >>> fits = sf.fit(table[table["run"].isin(["0.11m_relu_s0", "0.03m_silu_s0"])])
    >>> fits["0.11m_relu_s0"].limit().identified
    'yes'
    >>> fits.forecast([2e7])[["run", "median", "obs_lower", "obs_upper"]].round(2)
                 run  median  obs_lower  obs_upper
    0  0.03m_silu_s0    0.49       0.46       0.51
    1  0.11m_relu_s0    0.22       0.22       0.22
    """
    runs, seed = check_call(table, response), seed_of(rng)
    fits = {data.run: fit_run(data, law, warmup, response, robust, seed) for data in runs}
    return next(iter(fits.values())) if len(fits) == 1 else Fits(fits)
