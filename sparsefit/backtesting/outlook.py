"""Token budgets of a stacked forecast: where its curve is, within the data and ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsefit.backtesting.crossings import Curve, crossings, scatter
from sparsefit.backtesting.mixture import DRAWS, Parts, possible_rows
from sparsefit.backtesting.scores import isotonic
from sparsefit.backtesting.stacking import mix
from sparsefit.errors import ArgumentError
from sparsefit.estimation.notes import kind_of
from sparsefit.laws import TOKENS_PER_UNIT
from sparsefit.results.bands import Edge, budget, without_answer
from sparsefit.results.estimates import Budget

Array = NDArray[np.float64]

REACH = 10.0
"""How far budgets are looked for without `until`, in units of the tokens seen."""

_GRID = 60
# A method describes the points if its curve misses them by at most so much of their own spread, and
# by at most so many times as much as the best method.
_FOLLOWS, _AS_WELL = 0.5, 2.0


@dataclass(frozen=True)
class Outlook:
    """The stacked curve of one run.

    Attributes
    ----------
    tokens : ndarray, shape (k,)
        Raw tokens of the points, increasing.
    ahead : Curve
        From the last point on.
    edges : sequence of (Edge, Curve)
        Curves that its band has to contain as well, see `MethodForecast.edges`.
    within : callable
        Returns the `Curve` from the first point to the last.
    rising : bool
        Which way the run moves.
    misfit : bool
        Whether methods of more than half of the weight say that their law goes against the points.
    """

    tokens: Array
    ahead: Curve
    edges: Sequence[tuple[Edge, Curve]]
    within: Callable[[], Curve]
    rising: bool
    misfit: bool

    def budget(self, target: float, asked: str, level: float) -> Budget:
        """Tokens at which an activation ratio is met; `asked` is the target in words."""
        left_behind = self.rising and asked.startswith("sparsity")
        found = self._crossings(self.ahead, target, left_behind)
        seen = (self.tokens[0] / TOKENS_PER_UNIT, self.tokens[-1] / TOKENS_PER_UNIT)
        until = float(self.ahead.tokens[-1]) / TOKENS_PER_UNIT
        beside = [
            (edge, self._crossings(curve, target, left_behind) / TOKENS_PER_UNIT)
            for edge, curve in self.edges
        ]
        made = budget(found / TOKENS_PER_UNIT, target, asked, level, seen, beside, until)
        return without_answer(made) if self.misfit else made

    def _crossings(self, ahead: Curve, target: float, left_behind: bool) -> Array:
        found = crossings(ahead, self.within, target, self.rising)
        # Sparsity falls along a rising run: one that it left behind is not reached any more.
        return np.where(found < self.tokens[0], np.inf, found) if left_behind else found


def grid_ahead(seen: float, until: float) -> Array:
    """Tokens at which the forecast is looked at, from the last point on."""
    return np.geomspace(seen, until, _GRID)


def grid_within(tokens: Array) -> Array:
    """Tokens at which the curve is looked at within the data: the points and between them."""
    return np.union1d(_some(tokens), np.geomspace(tokens[0], tokens[-1], _GRID))


def _some(tokens: Array) -> Array:
    """At most about `_GRID` of the points, so that thousands of them cost no more."""
    return tokens[:: max(1, len(tokens) // _GRID)]


def check_curves(parts: Parts) -> None:
    """Refuse forecasts from which no interval for the tokens follows.

    Raises
    ------
    ArgumentError
        Names the methods that forecast measurements alone, or points without spread.
    """
    do = (
        "give curve_draws= to MethodForecast.from_draws (or curve_quantiles= to from_quantiles), "
        "or leave the method out of forecast_best(table, methods)"
    )
    without = [name for name, one in parts.forecasts.items() if one.curve is None]
    if without:
        raise ArgumentError(
            f"tokens_to: a budget is about the curve, and {', '.join(without)} forecasts new "
            f"measurements only: {do}."
        )
    certain = [
        name
        for name, one in parts.forecasts.items()
        if one.curve is not None and np.ptp(one.curve.sample(), axis=0).max() == 0.0
    ]
    if certain:
        raise ArgumentError(
            f"tokens_to: {', '.join(certain)} gives the curve as points without spread, from which "
            f"no interval follows: {do}."
        )


def says_misfit(parts: Parts) -> bool:
    """Whether most of the weight is with methods whose law goes against the points."""
    against = [
        any(kind_of(note) == "misfit" for note in one.notes) for one in parts.forecasts.values()
    ]
    return bool(parts.weights[against].sum() > 0.5)


def curve_within(parts: Parts | None, tokens: Array, values: Array, rising: bool) -> Curve:
    """The curve within the data, from the methods that describe the points there.

    Methods that only look ahead repeat the last value there or extend a line backwards. They are
    told by how far they miss the points. Where no method describes the points, the monotone curve
    closest to them stands in, moved by their scatter.

    Parameters
    ----------
    parts : Parts or None
        Forecasts at `grid_within`, None where there are none.
    tokens, values : ndarray, shape (k,)
        Points.
    rising : bool
        Which way the run moves.
    """
    grid, points = grid_within(tokens), _some(tokens)
    at, observed = np.searchsorted(grid, points), values[np.searchsorted(tokens, points)]
    spread = _typical(values - np.median(values))
    found = []
    if parts is not None:
        for one, weight in zip(parts.forecasts.values(), parts.weights, strict=True):
            if one.curve is None:
                continue
            drawn = possible_rows(one.curve)
            miss = _typical(observed - np.median(drawn, axis=0)[at])
            if miss <= _FOLLOWS * spread:
                found.append((miss, weight, drawn))
    rng = np.random.default_rng(0)
    if not found:
        middle = np.interp(np.log(grid), np.log(tokens), isotonic(values, rising))
        return Curve.of_draws(grid, middle + scatter(tokens, values) * rng.normal(size=(DRAWS, 1)))
    least = min(miss for miss, _, _ in found)
    used = [(weight, drawn) for miss, weight, drawn in found if miss <= _AS_WELL * least]
    weights = np.array([weight for weight, _ in used])
    return Curve.of_draws(
        grid, mix([drawn for _, drawn in used], weights / weights.sum(), DRAWS, rng)
    )


def _typical(errors: Array) -> float:
    """Size of errors, indifferent to a few large ones such as those of a warm-up."""
    return float(1.4826 * np.median(np.abs(errors)))


def moves_up(ahead: Curve, values: Array, declared: bool) -> bool:
    """Whether a run rises: by its forecast, or as `declared` where the forecast is flat."""
    recent = values[len(values) // 2 :]
    moved = ahead.median[-1] - recent.mean()
    flat = abs(moved) <= 2.0 * np.std(recent) / np.sqrt(len(recent))
    return declared if flat else bool(moved > 0)
