"""Figures of fits as files, at the widths of journals."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefit.checks import check_positive
from sparsefit.errors import ArgumentError, quoted

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.plots.style import Style
    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

FORMATS = ("pdf", "svg", "png")

KINDS = ("runs", "limits", "forecast", "slope", "warmup", "budget", "residuals")

WIDTHS_MM: dict[str, float] = {"single": 89.0, "onehalf": 120.0, "double": 183.0}
"""Column widths of journals in millimetres (single, one and a half, double)."""

_MM = 25.4
# Figures are drawn at their final size, so that a point of the font is a point on paper.
_FONTS = {
    "font.size": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.0,
    "legend.fontsize": 6.0,
    "xtick.labelsize": 6.0,
    "ytick.labelsize": 6.0,
    "lines.linewidth": 1.1,
    "lines.markersize": 2.8,
}


def save_figures(
    source: pd.DataFrame | Fit | Fits,
    folder: str | Path,
    formats: Sequence[str] = ("pdf",),
    width: str | float = "single",
    *,
    level: float = 0.9,
    until: float | None = None,
    which: Sequence[str] = KINDS,
    dpi: float = 300.0,
    style: Style = None,
) -> list[Path]:
    """Write the figures of one or many runs as files.

    Parameters
    ----------
    source : DataFrame, Fit or Fits
        A measurement table, which is fitted, or fits.
    folder : path-like
        Where to write; made if it is not there.
    formats : sequence of {"pdf", "svg", "png"}
        Formats of every figure. Text in PDF and SVG stays text.
    width : {"single", "onehalf", "double"} or float
        Width: 89, 120 or 183 mm, or any number of millimetres.
    level : float
        Level of the intervals.
    until : float, optional
        Last token count of the forecasts.
    which : sequence of str
        Figures to write, of ``runs``, ``limits``, ``forecast``, ``slope``, ``warmup``, ``budget``
        and ``residuals`` (default: all).
    dpi : float
        Resolution of PNG.
    style : mapping or str, optional
        rcParams over the default look, or the name of a matplotlib style, which keeps the font
        sizes of the default look.

    Returns
    -------
    list of Path
        The files: ``runs`` and ``limits`` for several runs; ``<run>-forecast``, ``-slope``,
        ``-warmup``, ``-residuals`` and ``-budget`` for each.

    Raises
    ------
    ArgumentError
        For an unknown format, figure or width, or an argument that cannot be used.
    """
    import matplotlib

    from sparsefit.reporting.api import fits_of

    formats = _some_of("formats", formats, FORMATS)
    which = _some_of("which", which, KINDS)
    dpi = check_positive("dpi", dpi)
    inches = _width(width) / _MM
    if until is not None:
        until = check_positive("until", until)
    fits = fits_of(source)
    target = _made(folder)
    written = []
    editable = {"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "sparsefit"}
    with matplotlib.rc_context(editable):
        for name, figure in _figures(fits, which, inches, level, until, style):
            for kind in formats:
                path = target / f"{name}.{kind}"
                # Without a date the same fit gives the same file.
                date = {"pdf": "CreationDate", "svg": "Date"}.get(kind)
                figure.savefig(path, dpi=dpi, metadata={date: None} if date else None)
                written.append(path)
    return written


def _some_of(name: str, chosen: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return one word or several, all of them known."""
    words = (chosen,) if isinstance(chosen, str) else chosen
    if not isinstance(words, Iterable):
        words = ()
    words = tuple(words)
    if not words or any(word not in known for word in words):
        raise ArgumentError(f"{name}: some of {', '.join(known)}, got {quoted(chosen)}")
    return words


def _made(folder: Any) -> Path:
    """Return the folder to write to, made where it is not there."""
    if not isinstance(folder, str | os.PathLike):
        raise ArgumentError(f"folder: the name of a folder is expected, got {quoted(folder)}")
    target = Path(folder)
    if target.exists() and not target.is_dir():
        raise ArgumentError(f"folder {folder}: this is a file; name a folder")
    target.mkdir(parents=True, exist_ok=True)
    return target


def _width(width: str | float) -> float:
    if isinstance(width, str):
        if width not in WIDTHS_MM:
            raise ArgumentError(
                f"width: {', '.join(WIDTHS_MM)} or millimetres, got {quoted(width)}"
            )
        return WIDTHS_MM[width]
    if not (isinstance(width, int | float) and 40.0 <= width <= 500.0):
        raise ArgumentError(f"width: 40 to 500 millimetres, got {quoted(width)}")
    return float(width)


def _figures(
    fits: Fits,
    which: Sequence[str],
    width: float,
    level: float,
    until: float | None,
    style: Style,
) -> Iterator[tuple[str, Any]]:
    from sparsefit import plots
    from sparsefit.reporting.draw import new_figure

    # A named style was made for other sizes of figures; rcParams that are given are meant.
    named = isinstance(style, str)
    look = {**_mapping(style), **_FONTS} if named else {**_FONTS, **_mapping(style)}
    common: dict[str, Any] = {"level": level, "style": look, "look": look}
    tall = 0.68 * width
    if len(fits) > 1 and "runs" in which:
        height = max(tall, 0.16 * len(fits) + 0.8)
        yield "runs", new_figure(plots.runs, fits, (width, height), until=until, **common)
    if len(fits) > 1 and "limits" in which:
        yield "limits", new_figure(plots.limits, fits, (width, 0.22 * len(fits) + 0.9), **common)
    of_one: dict[str, Any] = {
        "forecast": plots.fit,
        "slope": plots.derivative,
        "warmup": plots.warmup_sensitivity,
        "budget": plots.budget,
        "residuals": plots.residuals,
    }
    for fit, name in zip(fits.values(), file_names(fits), strict=True):
        last = None if until is None else max(until, float(fit.tokens[-1]))
        own = {"forecast": {"until": last, **common}, "residuals": {"style": look, "look": look}}
        for kind in (kind for kind in of_one if kind in which):
            options = own.get(kind, common)
            yield f"{name}-{kind}", new_figure(of_one[kind], fit, (width, tall), **options)


def _mapping(style: Style) -> dict[str, Any]:
    """RcParams of a style, so that it can be put over the font sizes."""
    if style is None:
        return {}
    if isinstance(style, str):
        from matplotlib import style as library

        if style not in library.library:
            raise ArgumentError(f"style: matplotlib knows no style {quoted(style)}")
        return dict(library.library[style])
    if not isinstance(style, Mapping):
        raise ArgumentError(
            f"style: rcParams or the name of a style are expected, got {quoted(style)}"
        )
    return dict(style)


def file_names(runs: Iterable[str]) -> list[str]:
    """Turn names of runs into file names that differ even where case does not count.

    >>> file_names(["a/b", "a b", "c"])
    ['a_b', 'a_b-2', 'c']
    """
    names: list[str] = []
    taken: set[str] = set()
    for run in runs:
        plain = name = file_name(run)
        count = 1
        while name.lower() in taken:
            count += 1
            name = f"{plain}-{count}"
        taken.add(name.lower())
        names.append(name)
    return names


def file_name(run: str) -> str:
    """Turn a run's name into a file name: letters, digits, dot, dash and underscore stay.

    A long name is cut, since file systems take no more than 255 bytes.
    """
    name = re.sub(r"[^\w.-]+", "_", run).strip("._")
    return name.encode("utf-8")[:120].decode("utf-8", errors="ignore") or "run"
