"""What the measurement of a run returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsefit.collectors.display import run_html, run_line, run_summary

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class RunMeasurement:
    """A measured run.

    Attributes
    ----------
    table : pandas.DataFrame
        Measurement table, one row per checkpoint (failed ones included).
    layers : pandas.DataFrame
        Per-layer table: run, tokens, layer, threshold, cett, activation_ratio.
    solutions : dict
        CETT found by solved group ("run", or the checkpoint's name), with status and evaluations.
    """

    table: pd.DataFrame
    layers: pd.DataFrame
    solutions: dict[str, dict[str, Any]]

    @property
    def failed(self) -> int:
        """Number of failed checkpoints."""
        return int((self.table["status"] == "failed").sum())

    def summary(self) -> str:
        """Return the rows, how each CETT was found, and the reasons of failed rows, as text."""
        return run_summary(self)

    def __repr__(self) -> str:
        return run_line(self)

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return run_html(self)
