"""The part of a measurement table that a forecasting method may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefit import laws
from sparsefit.errors import ArgumentError, quoted

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

# Key of DataFrame.attrs under which a pooled method finds the run that it is to forecast.
TARGET = "sparsefit_target"


@dataclass(frozen=True)
class Series:
    """The points of one run as arrays, in the order of training.

    Attributes
    ----------
    tokens : ndarray of shape (k,)
        Token counts, raw, increasing.
    values : ndarray of shape (k,)
        Activation ratios.
    """

    tokens: Array
    values: Array

    @property
    def relative(self) -> Array:
        """Tokens over those of the last point: in (0, 1]."""
        return self.tokens / self.tokens[-1]


def target_of(seen: pd.DataFrame) -> Mapping[str, Any]:
    """The run to be forecast: its `run` and whatever else is known of it (`n_params`, ...).

    A table of several runs says which by `attrs`; a table of one run needs not.
    """
    target = seen.attrs.get(TARGET)
    if target is not None:
        return target
    runs = seen["run"].unique()
    if len(runs) != 1:
        raise ArgumentError(
            f"seen: the table holds {len(runs)} runs and does not say which to forecast. "
            "Pass one run, or set the target with sparsefit.backtesting.with_target(table, run)."
        )
    first = seen.iloc[0]
    known = [name for name in _CONSTANTS if name in seen.columns]
    return {"run": runs[0], **{name: first[name] for name in known}}


# Columns that hold one value a run and are known before its first checkpoint.
_CONSTANTS = ("activation", "n_params", "hidden_size", "n_layers", "d_ff")


def with_target(table: pd.DataFrame, run: str, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """Copy of `table` that names the run to be forecast.

    Parameters
    ----------
    table : DataFrame
        Measurement table: what may be seen.
    run : str
        The run to be forecast; it may have no row in `table`.
    known : DataFrame, optional
        Where to look up the run's constants (activation, n_params, ...) if not in `table`.
    """
    source = table if known is None else known
    rows = source[source["run"] == run]
    if rows.empty:
        raise ArgumentError(f"run: no row of the table has run {quoted(run)}.")
    names = [name for name in _CONSTANTS if name in rows.columns]
    marked = table.copy()
    marked.attrs[TARGET] = {"run": run, **{name: rows.iloc[0][name] for name in names}}
    return marked


def kin_of(seen: pd.DataFrame) -> pd.DataFrame:
    """Rows of the runs that share the target's activation, where it is known; `attrs` stay."""
    activation = target_of(seen).get("activation")
    known = isinstance(activation, str)
    kin = seen[seen["activation"] == activation].copy() if known else seen.copy()
    kin.attrs = dict(seen.attrs)
    return kin


def target_series(seen: pd.DataFrame) -> Series:
    """Points of the run to be forecast, ordered by tokens."""
    rows = seen[seen["run"] == target_of(seen)["run"]].sort_values("tokens")
    return Series(
        rows["tokens"].to_numpy(dtype=float), rows["activation_ratio"].to_numpy(dtype=float)
    )


def rises(seen: pd.DataFrame) -> bool:
    """Whether the run follows the increasing law (Eq. 5) rather than the decreasing one (Eq. 4).

    By the `activation` column where it names the law of `sf.fit`, else by the seen points: the mean
    of their later half against that of their earlier half.
    """
    candidates = laws.candidates(str(target_of(seen).get("activation", "")).lower())
    if len(candidates) == 1:
        return candidates[0].sign < 0
    values = target_series(seen).values
    half = len(values) // 2
    return bool(values[half:].mean() > values[:half].mean())


def steps_ahead(seen_tokens: Array, tokens: Array) -> Array:
    """How many checkpoints ahead of the last seen one each of `tokens` lies (may be fractional).

    The step is the median one among the last half of the seen checkpoints, on the scale (tokens or
    their logarithm) on which those are more evenly spaced; methods for regular time series need it.
    """
    recent = seen_tokens[-max(3, -(-len(seen_tokens) // 2)) :]
    candidates = []
    for scale in (np.asarray, np.log):
        gaps = np.diff(scale(recent))
        step = float(np.median(gaps))
        ahead = (scale(tokens) - scale(recent[-1])) / step
        candidates.append((float(gaps.std()) / float(gaps.mean()), ahead))
    return min(candidates, key=lambda pair: pair[0])[1]
