"""The section about all runs at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sparsefit.reporting import words
from sparsefit.reporting.blocks import Figure, Section, Table
from sparsefit.reporting.draw import draw
from sparsefit.reporting.run_section import RunNumbers, Settings

if TYPE_CHECKING:
    from sparsefit.results.fits import Fits


def overview(
    fits: Fits,
    numbers: Mapping[str, RunNumbers],
    settings: Settings,
    left_out: Mapping[str, str],
) -> Section:
    """Build the first section: one row a run, all runs on one axis, the forest of limits."""
    limits = {run: fit.limit(settings.level) for run, fit in fits.items()}
    counts = {
        state: sum(limit.identified == state for limit in limits.values())
        for state in ("yes", "one-sided", "no")
    }
    said = [
        f"{number} {'is' if number == 1 else 'are'} {words.IDENTIFIED[state]}"
        for state, number in counts.items()
        if number
    ]
    noun = "run" if len(fits) == 1 else "runs"
    lead = [f"{len(fits)} {noun}. Of the limits, {', '.join(said)}."]
    noted = [run for run, fit in fits.items() if fit.notes]
    if noted:
        lead.append(
            f"{len(noted)} of {len(fits)} {noun} carry notes that a reader should know before "
            "using the numbers; they stand at the head of each run's section."
        )
    return Section(
        key="overview",
        title="At a glance",
        lead=tuple(lead),
        warnings=tuple(f"Not on this page: {why}" for why in left_out.values()),
        figures=_figures(fits, settings) if len(fits) > 1 else (),
        tables=(_table(fits, numbers, settings),),
    )


def _table(fits: Fits, numbers: Mapping[str, RunNumbers], settings: Settings) -> Table:
    percent = f"{100 * settings.level:g}%"
    rows = []
    for run, fit in fits.items():
        limit, last = fit.limit(settings.level), numbers[run].forecast.iloc[-1]
        rows.append(
            (
                run,
                words.limit_interval(limit),
                limit.identified,
                f"{last['median']:.4f} at {words.count(last['tokens'])}",
                f"{last['obs_lower']:.4f} to {last['obs_upper']:.4f}",
                f"{limit.estimate:.{limit.decimals}f}",
                words.count(fit.tokens[-1]),
                f"{len(fit.points)} ({fit.n_warmup})",
                fit.law.name,
                str(len(fit.notes)),
            )
        )
    unit = words.UNITS[next(iter(fits.values())).response]
    return Table(
        "overview-table",
        f"All runs; limits and forecasts in the unit of the response ({unit})",
        (
            "run",
            f"limit, {percent}",
            "identified",
            "forecast",
            f"new measurement, {percent}",
            "limit, estimate",
            "tokens seen",
            "points (warm-up)",
            "law",
            "notes",
        ),
        rows,
    )


def _figures(fits: Fits, settings: Settings) -> tuple[Figure, ...]:
    from sparsefit.plots import limits as forest
    from sparsefit.plots import runs as many

    names = ", ".join(fits)
    common = {"level": settings.level, "style": settings.style}
    return (
        draw(
            many,
            fits,
            "overview-runs",
            "All runs on one axis",
            f"Points, fitted curves and forecasts of {names} against training tokens.",
            "Points (open: warm-up), median curves and bands for the curve; broken beyond the last "
            "checkpoint of each run.",
            height=max(3.9, 0.25 * len(fits) + 2.4),
            look=settings.style,
            options={"until": settings.until, **common},
        ),
        draw(
            forest,
            fits,
            "overview-limits",
            "Limits of all runs",
            " ".join(f"{run}: {fit.limit(settings.level).sentence}" for run, fit in fits.items()),
            "Limit of each run with its interval. Full marker: bounded on both sides; open marker "
            "with an arrow: bounded on one side; hatched: not bounded.",
            height=0.34 * len(fits) + 1.3,
            look=settings.style,
            options=common,
        ),
    )
