"""What a forecasting method hands back: predictive distributions at given token counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsefit.backtesting.scores import probability_integral
from sparsefit.checks import check_level
from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.results.bands import Edge, EdgeDraws, Ends

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Predictive:
    """Predictive distributions at n token counts, one a column, as draws or as quantiles.

    Attributes
    ----------
    draws : ndarray of shape (n_draws, n), or None
        Joint draws.
    levels : ndarray of shape (q,), or None
        Probability levels of `quantiles`, strictly increasing, in (0, 1).
    quantiles : ndarray of shape (q, n), or None
        Quantiles, non-decreasing down each column.
    """

    draws: Array | None = None
    levels: Array | None = None
    quantiles: Array | None = None

    def __post_init__(self) -> None:
        if (self.draws is None) == (self.quantiles is None):
            raise ArgumentError("Predictive: give either draws or levels with quantiles.")
        values = self.draws if self.draws is not None else self.quantiles
        assert values is not None
        if values.ndim != 2 or values.shape[0] < 2:
            raise ArgumentError(
                f"Predictive: expected a 2-d array with at least 2 rows, got shape {values.shape}."
            )
        if not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            raise ArgumentError(f"Predictive: {count} of {values.size} values are not finite.")
        if self.quantiles is not None:
            self._check_quantiles()

    def _check_quantiles(self) -> None:
        levels, quantiles = self.levels, self.quantiles
        assert quantiles is not None
        if levels is None or levels.shape != (quantiles.shape[0],):
            raise ArgumentError("Predictive: one level is needed for each row of quantiles.")
        if (np.diff(levels) <= 0).any() or levels[0] <= 0 or levels[-1] >= 1:
            raise ArgumentError(f"Predictive: levels must increase inside (0, 1), got {levels}.")
        if (np.diff(quantiles, axis=0) < 0).any():
            raise ArgumentError("Predictive: quantiles must not decrease from level to level.")

    @property
    def size(self) -> int:
        """Number of token counts."""
        values = self.draws if self.draws is not None else self.quantiles
        assert values is not None
        return int(values.shape[1])

    def quantile(self, probability: ArrayLike) -> Array:
        """Quantiles of each column.

        Parameters
        ----------
        probability : float or array of shape (m,)
            Probabilities in (0, 1). Between the levels of a quantile forecast the quantile function
            is interpolated linearly; beyond its outermost levels it is held at their values.

        Returns
        -------
        ndarray of shape (n,) or (m, n)
        """
        wanted = np.asarray(probability, dtype=float)
        if self.draws is not None:
            return np.asarray(np.quantile(self.draws, wanted, axis=0), dtype=float)
        assert self.levels is not None and self.quantiles is not None
        columns = [np.interp(wanted, self.levels, column) for column in self.quantiles.T]
        return np.stack(columns, axis=-1)

    def interval(self, level: float) -> Ends:
        """Quantiles that leave the same probability on both sides, shape (n,) each."""
        lower, upper = self.quantile([(1 - level) / 2, (1 + level) / 2])
        return lower, upper

    def sample(self, count: int = 200) -> Array:
        """Ordered, evenly weighted sample of each column, shape (m, n): draws, or quantiles."""
        if self.draws is not None:
            return np.sort(self.draws, axis=0)
        return self.quantile((np.arange(count) + 0.5) / count)


@dataclass(frozen=True)
class MethodForecast:
    """A method's forecast of new measurements.

    Attributes
    ----------
    tokens : ndarray of shape (n,)
        Token counts, raw.
    observation : Predictive
        Distribution of a new measurement of the activation ratio at each of `tokens`.
    curve : Predictive or None
        Distribution of the noise-free curve, where the method has one (budgets need it).
    fallback : str or None
        Why, and by what, the method had to be replaced on these points; None where it worked.
    notes : tuple of str
        Anything else that a reader should know: the notes of a fit, with their kinds.
    edges : tuple of EdgeDraws
        Draws that bands have to contain beside their quantiles, as those of `Fit.forecast` do.
    """

    tokens: Array
    observation: Predictive
    curve: Predictive | None = None
    fallback: str | None = None
    notes: tuple[str, ...] = ()
    edges: tuple[EdgeDraws, ...] = ()

    def __post_init__(self) -> None:
        for name, part in (("observation", self.observation), ("curve", self.curve)):
            if part is not None and part.size != len(self.tokens):
                raise ArgumentError(
                    f"MethodForecast: {name} has {part.size} columns for {len(self.tokens)} tokens."
                )

    @classmethod
    def from_draws(
        cls,
        tokens: ArrayLike,
        draws: ArrayLike,
        *,
        curve_draws: ArrayLike | None = None,
        fallback: str | None = None,
        note: str | None = None,
    ) -> MethodForecast:
        """Forecast from predictive draws of shape (n_draws, n_tokens)."""
        curve = None if curve_draws is None else Predictive(np.asarray(curve_draws, dtype=float))
        return cls(
            np.asarray(tokens, dtype=float),
            Predictive(np.asarray(draws, dtype=float)),
            curve,
            fallback,
            (note,) if note else (),
        )

    @classmethod
    def from_quantiles(
        cls,
        tokens: ArrayLike,
        levels: ArrayLike,
        quantiles: ArrayLike,
        *,
        curve_quantiles: ArrayLike | None = None,
        fallback: str | None = None,
        note: str | None = None,
    ) -> MethodForecast:
        """Forecast from quantiles of shape (n_levels, n_tokens) at the given probability levels."""
        at = np.asarray(levels, dtype=float)
        curve = None
        if curve_quantiles is not None:
            curve = Predictive(levels=at, quantiles=np.asarray(curve_quantiles, dtype=float))
        return cls(
            np.asarray(tokens, dtype=float),
            Predictive(levels=at, quantiles=np.asarray(quantiles, dtype=float)),
            curve,
            fallback,
            (note,) if note else (),
        )

    @property
    def note(self) -> str | None:
        """All notes as one text, None without any."""
        return "; ".join(self.notes) or None

    @property
    def median(self) -> Array:
        """The point forecast, shape (n,)."""
        return self.observation.quantile(0.5)

    def interval(self, level: float = 0.9) -> Ends:
        """Central interval for a new measurement: lower and upper ends, each of shape (n,).

        As in `Fit.forecast` it contains the interval of the curve, where there is one.
        """
        lower, upper = self.observation.interval(level)
        for one in self.edges:
            lower, upper = one.edge.widen((lower, upper), one.seen, level)
        if self.curve is None:
            return lower, upper
        curve_lower, curve_upper = self.curve_interval(level)
        return np.minimum(lower, curve_lower), np.maximum(upper, curve_upper)

    def curve_interval(self, level: float = 0.9) -> Ends:
        """Central interval of the noise-free curve: lower and upper ends, each of shape (n,).

        Raises
        ------
        ArgumentError
            The method tells measurements only.
        """
        if self.curve is None:
            raise ArgumentError("MethodForecast: there is no curve, only measurements.")
        ends = self.curve.interval(level)
        for one in self.edges:
            ends = one.edge.widen(ends, one.curve, level)
        return ends

    def level_holding(self, observed: Array) -> Array:
        """Smallest level at which `interval` holds each observation, shape (n,)."""
        beside = [(one.edge, one.seen) for one in self.edges]
        level = _level_holding(self.observation, beside, observed)
        if self.curve is None:
            return level
        beside = [(one.edge, one.curve) for one in self.edges]
        return np.minimum(level, _level_holding(self.curve, beside, observed))

    def table(self, level: float = 0.9) -> pd.DataFrame:
        """The forecast in the columns of `Fit.forecast`.

        Without a curve, mean and median are those of a measurement, and the band of the curve is
        not a number.
        """
        from sparsefit.results.bands import forecast_table

        seen = self.observation.sample()
        curve = seen if self.curve is None else self.curve.sample()
        found = forecast_table(self.tokens, curve, seen, check_level(level), self.edges)
        if self.curve is None:
            found[["curve_lower", "curve_upper"]] = np.nan
        return found


def _level_holding(
    part: Predictive, beside: Sequence[tuple[Edge, Array]], observed: Array
) -> Array:
    """Smallest level of a central band, widened by edges, that holds each observation."""
    pit = probability_integral(part.sample(), observed)
    level = 2.0 * np.abs(pit - 0.5)
    for edge, draws in beside:
        # Its bands are widened on one side, from a level on.
        below = probability_integral(draws, observed)
        held = edge.level_holding(below if edge.sign > 0 else 1.0 - below)
        outside = edge.sign * (0.5 - pit) > 0
        level = np.where(outside, np.minimum(level, held), level)
    return level
