"""`sf.report`: a table or its fits as one HTML page."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sparsefit.errors import ArgumentError, quoted
from sparsefit.outputs import writable_page, write_whole
from sparsefit.reporting.run_section import Settings, run_numbers, run_section

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting import Backtest, BestForecast, Comparison
    from sparsefit.laws import Law
    from sparsefit.plots.style import Style
    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits
    from sparsefit.seeds import Rng
    from sparsefit.width_depth import BreakpointFit

T = TypeVar("T")

GLOSSARY = (
    (
        "Limit",
        "What the curve tends to if training went on forever. It lies outside the data, and its "
        "interval is as wide as the data leave it.",
    ),
    (
        "Identified",
        "yes: the data bound the limit on both sides; one-sided: on one side only, the other end "
        "of the interval is a physical bound; no: on no side, and no number should be quoted.",
    ),
    (
        "Band for the curve, band for a new measurement",
        "The first holds the law's mean, the second a checkpoint measured there, with "
        "its scatter. Compare measured points with the second.",
    ),
    (
        "Warm-up",
        "First checkpoints that the law does not describe. They are drawn open and not fitted; "
        "the intervals average over how many there are.",
    ),
    (
        "Status of a token budget",
        "reached: within the data; reachable: with a finite interval; undetermined: part of the "
        "draws never get there; unreachable: nearly all of them never do.",
    ),
)


def report(
    source: pd.DataFrame | Fit | Fits,
    path: str | Path,
    *,
    title: str = "Activation sparsity: fits and forecasts",
    law: str | Law = "auto",
    warmup: str | float | None = "auto",
    response: str = "activation_ratio",
    level: float = 0.9,
    until: float | None = None,
    targets: Sequence[float] = (),
    sparsities: Sequence[float] = (),
    comparison: Comparison | None = None,
    backtest: Backtest | None = None,
    best: BestForecast | None = None,
    width_depth: BreakpointFit | None = None,
    style: Style = None,
    left_out: Mapping[str, str] | None = None,
    rng: Rng = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write one self-contained HTML page about one or many runs.

    The page needs no network and no script, follows the reader's light or dark setting, prints,
    and holds its numbers as CSV and JSON.

    Parameters
    ----------
    source : DataFrame, Fit or Fits
        A measurement table, which is fitted, or what `sf.fit` or `sf.fit_bayes` returned.
    path : path-like
        HTML file to write (``.html``); it appears only when it is complete.
    title : str
        Title of the page.
    law, warmup, response, rng
        Passed to `sf.fit` where a table is given.
    level : float
        Level of all intervals.
    until : float, optional
        Last token count of the forecasts (default: four times the tokens that each run has seen).
    targets : sequence of float
        Activation ratios (losses for fits of the loss) to give token budgets for.
    sparsities : sequence of float
        Sparsity ratios to give token budgets for.
    comparison, backtest, best, width_depth : optional
        Results of `sf.compare`, `sf.backtest`, `sf.forecast_best` and `sf.fit_width_depth` to show
        as well. A stacked forecast is shown for those of its runs that are on the page; one that no
        method can forecast is named there.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, for the figures.
    left_out : mapping of str to str, optional
        Further runs that are not among the fits, and why: named at the head of the page, with
        those that the fits name (`Fits.left_out`).
    progress : callable, optional
        Called with how many parts of the page are done, and how many there are.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    ArgumentError
        If `source` is neither a table nor fits, or an argument is outside what is accepted.
    TableError
        If the table has faults.
    """
    from sparsefit import __version__
    from sparsefit.checks import check_level, check_positive
    from sparsefit.reporting.downloads import downloads
    from sparsefit.reporting.extras import (
        backtest_section,
        comparison_section,
        width_depth_section,
    )
    from sparsefit.reporting.methods import methods
    from sparsefit.reporting.overview import overview
    from sparsefit.reporting.page import render
    from sparsefit.reporting.stacked_section import (
        run_forecasts,
        stacked_document,
        stacked_section,
    )

    target = writable_page(path)
    if until is not None:
        until = check_positive("until", until)
    settings = Settings(
        level=check_level(level),
        until=until,
        targets=_numbers("targets", targets),
        sparsities=_numbers("sparsities", sparsities),
        style=style,
    )
    _check_made_by("sf.compare", "remarks", comparison=comparison)
    _check_made_by("sf.backtest", "calibration", backtest=backtest)
    _check_made_by("sf.forecast_best", "weights", best=best)
    _check_made_by("sf.fit_width_depth", "breakpoint_distribution", width_depth=width_depth)
    fits = fits_of(source, law=law, warmup=warmup, response=response, rng=rng)
    further = sum(one is not None for one in (comparison, backtest, best, width_depth))
    done = _counted(progress, 2 * len(fits) + further + 1)
    numbers = {run: done(run_numbers(fit, settings)) for run, fit in fits.items()}
    sections = [overview(fits, numbers, settings, {**fits.left_out, **(left_out or {})})]
    sections += [
        done(run_section(fit, numbers[run], f"run-{index}", settings))
        for index, (run, fit) in enumerate(fits.items(), 1)
    ]
    extra: dict[str, Any] = {}
    if best is not None:
        if {fit.response for fit in fits.values()} != {"activation_ratio"}:
            raise ArgumentError("best is about the activation ratio, the page about the loss")
        stacked, without = run_forecasts(best, fits, settings)
        sections.append(done(stacked_section(best, stacked, without, settings)))
        extra["best"] = stacked_document(best, stacked, without)
    if comparison is not None:
        sections.append(done(comparison_section(comparison, settings)))
        extra["comparison"] = comparison.to_dict()
    if backtest is not None:
        sections.append(done(backtest_section(backtest, settings)))
        extra["backtest"] = backtest.to_dict()
    if width_depth is not None:
        sections.append(done(width_depth_section(width_depth, settings)))
        extra["width_depth"] = width_depth.to_dict()
    made = next(iter(fits.values())).provenance
    html = render(
        version=__version__,
        title=title,
        subtitle=_subtitle(fits, made, settings),
        sections=sections,
        glossary=GLOSSARY,
        methods=methods(fits, settings),
        downloads=downloads(fits, numbers, settings, extra),
        footer=f"Written by sparsefit {__version__}. This file needs no network.",
    )
    write_whole(target, done(html).encode())
    return target


def fits_of(source: Any, **options: Any) -> Fits:
    """Return fits by run, fitting a table with `options` first.

    Raises
    ------
    ArgumentError
        If `source` is neither a table nor fits, or holds runs of different responses.
    """
    from sparsefit.results.fits import as_fits

    if hasattr(source, "columns"):
        from sparsefit.fitting import fit

        source = fit(source, **options)
    try:
        fits = as_fits(source)
    except ArgumentError:
        raise ArgumentError(
            "a report takes a measurement table or what sf.fit or sf.fit_bayes returns, got "
            f"{type(source).__name__}"
        ) from None
    responses = {fit.response for fit in fits.values()}
    if len(responses) != 1:
        found = ", ".join(sorted(responses)) or "no run"
        raise ArgumentError(f"a report is about one response, got {found}: write one page for each")
    return fits


def _counted(progress: Callable[[int, int], None] | None, total: int) -> Callable[[T], T]:
    """Make a function that hands on a finished part of the page and says how many there are."""
    count = itertools.count(1)

    def done(part: T) -> T:
        if progress is not None:
            progress(next(count), total)
        return part

    return done


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    """Return a sequence of positive numbers as a tuple."""
    from sparsefit.checks import check_positive

    if isinstance(values, str) or not isinstance(values, Iterable):
        raise ArgumentError(f"{name} must be a sequence of numbers, got {quoted(values)}")
    return tuple(check_positive(f"each of {name}", value) for value in values)


def _check_made_by(function: str, attribute: str, **given: Any) -> None:
    """Refuse a result of another kind before anything is fitted or drawn."""
    for name, result in given.items():
        if result is not None and not hasattr(result, attribute):
            raise ArgumentError(
                f"{name} must be what {function} returns, got {type(result).__name__}"
            )


def _subtitle(fits: Fits, made: Mapping[str, Any], settings: Settings) -> str:
    noun = "run" if len(fits) == 1 else "runs"
    return (
        f"{len(fits)} {noun}, intervals at {100 * settings.level:g}%, "
        f"fitted {made['utc'].replace('T', ' ').removesuffix('+00:00')} UTC"
    )
