"""The section about one run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.records import records
from sparsefit.reporting import words
from sparsefit.reporting.blocks import Part, Section, Table
from sparsefit.reporting.draw import draw
from sparsefit.reporting.forecasts import forecast_table, table_tokens

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.plots.style import Style
    from sparsefit.results.fit import Fit


@dataclass(frozen=True)
class Settings:
    """What a report was asked for.

    Attributes
    ----------
    level : float
        Level of all intervals.
    factors : tuple of float
        Token counts of the forecast table, as multiples of the tokens seen.
    until : float or None
        Last token count of the forecast; four times the tokens seen by default.
    targets : tuple of float
        Values of the response to give token budgets for.
    sparsities : tuple of float
        Sparsity ratios to give token budgets for.
    style : mapping or str, optional
        rcParams of the figures.
    """

    level: float = 0.9
    factors: tuple[float, ...] = (1.0, 1.5, 2.0, 4.0)
    until: float | None = None
    targets: tuple[float, ...] = ()
    sparsities: tuple[float, ...] = ()
    style: Style = None


@dataclass(frozen=True)
class RunNumbers:
    """All tables of a run, computed once for the page and its downloads."""

    forecast: pd.DataFrame
    derivative: pd.DataFrame
    budgets: pd.DataFrame
    warmup: pd.DataFrame
    points: pd.DataFrame


def horizon(fit: Fit, settings: Settings) -> float:
    """Last token count of a run's forecast; never before its last checkpoint."""
    seen = float(fit.tokens[-1])
    return max(seen, 4.0 * seen if settings.until is None else settings.until)


def run_numbers(fit: Fit, settings: Settings) -> RunNumbers:
    """Compute the tables of a run."""
    import pandas as pd

    tokens = table_tokens(float(fit.tokens[-1]), horizon(fit, settings), settings.factors)
    budgets = []
    for share in (0.10, 0.05, 0.01):
        budget = fit.tokens_within(share, settings.level)
        budgets.append((f"limit ±{100 * share:g}%", budget))
    for target in settings.targets:
        ask = {"loss" if fit.response == "loss" else "activation_ratio": target}
        budgets.append((f"{target:g}", fit.tokens_to(**ask, level=settings.level)))
    for sparsity in settings.sparsities:
        budget = fit.tokens_to(sparsity=sparsity, level=settings.level)
        budgets.append((f"sparsity {sparsity:g}", budget))
    return RunNumbers(
        forecast=fit.forecast(tokens, settings.level),
        derivative=fit.derivative(tokens, "log_tokens", settings.level),
        budgets=pd.DataFrame(
            [{"what": what, **budget.to_dict()} for what, budget in budgets]
        ).astype(dict.fromkeys(("estimate", "lower", "upper"), float)),
        warmup=fit.warmup_sensitivity(settings.level),
        points=fit.points_table(),
    )


def run_section(fit: Fit, numbers: RunNumbers, key: str, settings: Settings) -> Section:
    """Build the section of a run."""
    limit = fit.limit(settings.level)
    law = f"{fit.law.equation} ({fit.law.name}; {fit.law_reason})"
    left = f"{fit.n_warmup} of them set aside as warm-up" if fit.n_warmup else "none left out"
    failed = len(fit.frame) - len(fit.points)
    points = f"{len(fit.points)} checkpoints, {left} (rule: {fit.warmup})"
    if failed:
        points += f"; {failed} more have no value"
    lead = [
        limit.sentence,
        words.forecast_sentence(fit, numbers.forecast, settings.level),
        f"Law: {law}. Points: {points}.",
    ]
    return Section(
        key=key,
        title=fit.run,
        lead=tuple(lead),
        warnings=tuple(_capital(note) for note in _warnings(fit)),
        figures=(_forecast_figure(fit, key, settings),),
        parts=(
            _coefficients(fit, key, settings),
            _forecast(fit, numbers, key, settings),
            _budget(numbers, key, settings),
            _derivative(fit, numbers, key, settings),
            _warmup(fit, numbers, key, settings),
            _diagnostics(fit, key, settings),
        ),
    )


def _capital(sentence: str) -> str:
    return f"{sentence[:1].upper()}{sentence[1:]}" + ("" if sentence.endswith(".") else ".")


def _warnings(fit: Fit) -> Sequence[str]:
    posterior = getattr(fit, "posterior", None)
    problems = posterior.sampling.problems if posterior is not None else ()
    return [*(f"do not trust this posterior: {problem}" for problem in problems), *fit.notes]


def _forecast_figure(fit: Fit, key: str, settings: Settings) -> Any:
    from sparsefit.plots import fit as plot

    until = horizon(fit, settings)
    return draw(
        plot,
        fit,
        f"{key}-forecast",
        f"Forecast of {fit.run}",
        words.figure_description(fit, fit.limit(settings.level), until),
        look=settings.style,
        options={"until": until, "level": settings.level, "style": settings.style},
    )


def _coefficients(fit: Fit, key: str, settings: Settings) -> Part:
    limit = fit.limit(settings.level)
    percent = f"{100 * settings.level:g}%"
    rows = [
        (
            row.term,
            words.number(row.estimate, 5),
            words.number(row.median, 5),
            words.limit_interval(limit)
            if row.term == fit.law.parameter_names[-1]
            else words.interval(row.lower, row.upper),
            str(row.unit),
        )
        for row in records(fit.tidy(settings.level))
    ]
    sentences = [
        f"Estimate {limit.estimate:.{limit.decimals}f} (median of the draws), {percent} "
        f"{limit.kind} interval: {words.limit_interval(limit)}; "
        f"{words.IDENTIFIED[limit.identified]}."
    ]
    if fit.response == "activation_ratio" and limit.identified == "yes":
        sparsity, places = limit.sparsity, limit.decimals
        sentences.append(
            f"As a sparsity ratio: {sparsity.estimate:.{places}f} "
            f"({sparsity.lower:.{places}f} to {sparsity.upper:.{places}f})."
        )
    table = Table(
        f"{key}-coefficients",
        f"Coefficients of {fit.run}, D in billions of tokens",
        ("coefficient", "least squares", "median", f"{percent} interval", "unit"),
        rows,
    )
    return Part("Limit and coefficients", tuple(sentences), tables=(table,))


def _forecast(fit: Fit, numbers: RunNumbers, key: str, settings: Settings) -> Part:
    table = forecast_table(
        f"{key}-forecast-table",
        f"Forecast of {fit.run} ({words.UNITS[fit.response]})",
        numbers.forecast,
        float(fit.tokens[-1]),
        settings.level,
    )
    return Part("Forecast", tables=(table,))


def _budget(numbers: RunNumbers, key: str, settings: Settings) -> Part:
    rows = [
        (
            f"{row.what} ({row.target:.4f})" if "limit" in row.what else row.what,
            *_budget_cells(row),
        )
        for row in records(numbers.budgets)
    ]
    percent = f"{100 * settings.level:g}%"
    table = Table(
        f"{key}-budget",
        "Training tokens needed, and the share of draws that ever get there",
        ("target", "tokens", f"{percent} interval", "status", "ever met"),
        rows,
    )
    asked = tuple(row.sentence for row in records(numbers.budgets) if "limit" not in row.what)
    return Part("Token budget", asked, tables=(table,))


def _budget_cells(row: Any) -> tuple[str, str, str, str]:
    """Tokens, their interval, the status and the share of draws that ever get there."""
    if row.misfit:
        return "-", "-", "not described by the law", "-"
    estimate, lower, upper = (
        "never" if np.isnan(value) else words.count(value)
        for value in (row.estimate, row.lower, row.upper)
    )
    interval = lower if lower == "never" else f"{lower} to {upper}"
    return estimate, interval, row.status, f"{100 * row.probability:.0f}%"


def _derivative(fit: Fit, numbers: RunNumbers, key: str, settings: Settings) -> Part:
    from sparsefit.plots import derivative as plot

    # From one unit of log tokens to one doubling; activation ratios in percentage points.
    scale = np.log(2.0) * (100.0 if fit.response == "activation_ratio" else 1.0)
    unit = "percentage points" if fit.response == "activation_ratio" else "nats"
    rows = [
        (
            words.count(row.tokens),
            words.number(scale * row.median, 3),
            words.interval(scale * row.lower, scale * row.upper, 3),
        )
        for row in records(numbers.derivative)
    ]
    table = Table(
        f"{key}-derivative",
        f"Change of {fit.response.replace('_', ' ')} per doubling of the tokens ({unit})",
        ("at tokens", "median", f"{100 * settings.level:g}% interval"),
        rows,
    )
    figure = draw(
        plot,
        fit,
        f"{key}-slope",
        f"Slope of {fit.run}",
        "Size of the curve's slope with its band, on logarithmic axes; broken beyond the last "
        "checkpoint.",
        height=3.8,
        look=settings.style,
        options={"level": settings.level, "style": settings.style},
    )
    return Part("Speed of the change", figures=(figure,), tables=(table,))


def _warmup(fit: Fit, numbers: RunNumbers, key: str, settings: Settings) -> Part:
    from sparsefit.plots import warmup_sensitivity as plot

    sentence = words.warmup_sentence(fit, numbers.warmup, settings.level)
    if len(numbers.warmup) < 2:
        return Part("Sensitivity to the warm-up", (sentence,))
    figure = draw(
        plot,
        fit,
        f"{key}-warmup",
        f"Warm-up sensitivity of {fit.run}",
        sentence,
        "Least-squares limit for every number of first points left out, with profile intervals; "
        "bars: weight of each choice; shaded: the interval that averages over them.",
        height=3.2,
        look=settings.style,
        options={"level": settings.level, "style": settings.style},
    )
    return Part("Sensitivity to the warm-up", (sentence,), (figure,))


def _diagnostics(fit: Fit, key: str, settings: Settings) -> Part:
    from sparsefit.plots import residuals as plot

    found = fit.diagnostics()
    figure = draw(
        plot,
        fit,
        f"{key}-residuals",
        f"Residuals of {fit.run}",
        "Measured minus fitted value at each checkpoint; the shaded band is twice their "
        "root-mean-square.",
        height=2.8,
        look=settings.style,
        options={"style": settings.style},
    )
    # Notes stand at the head of the section already.
    sentences = tuple(sentence for sentence in found.sentences if sentence not in fit.notes)
    return Part("Diagnostics", sentences, (figure,))
