"""Fits to compare: by run and name, at least two of each run, of the same points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit


def by_run(fits: Iterable[Any] | Mapping[str, Any]) -> dict[str, dict[str, Fit]]:
    """Fits by run and then by name."""
    import pandas as pd

    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

    if isinstance(fits, pd.DataFrame):
        raise ArgumentError(
            "fits: a table cannot be compared; fit it in two or more ways first, e.g. "
            "compare({'Eq. 4': sf.fit(table, law='eq4'), 'Eq. 5': sf.fit(table, law='eq5')})."
        )
    if isinstance(fits, Fit) or not isinstance(fits, Iterable):
        raise ArgumentError(
            f"fits: a list or mapping of fits is expected, e.g. compare([first, second]), got "
            f"{type(fits).__name__}."
        )
    if isinstance(fits, Fits):
        # A mapping too, but of runs, not of names.
        raise ArgumentError("fits: pass a list of fits, e.g. compare([first, second]).")
    items = fits.items() if isinstance(fits, Mapping) else ((None, one) for one in fits)
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
        verb = "is" if len(lone) == 1 else "are each"
        which = f"{', '.join(map(repr, lone))} {verb} fitted once" if lone else "no fit was given"
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
                "of the same points can be compared. For an earlier fit of a run that went on, "
                "compare what both forecast at the same tokens."
            )
