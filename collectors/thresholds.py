"""Per-layer thresholds as a file, for running a model sparsely elsewhere (`masking.sparse`)."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.collectors.display import html_table, number_of
from sparsefit.collectors.state import write_atomically
from sparsefit.errors import ArgumentError, CollectorError, quoted

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Thresholds:
    """Thresholds of one checkpoint; wherever an array of thresholds is wanted, this will do.

    Attributes
    ----------
    values : tuple of float
        Threshold on ``||n_i||`` of each layer, not negative.
    run : str
        Run.
    tokens : int
        Training tokens of the checkpoint.
    cett : float or None
        CETT value that they implement.
    """

    values: tuple[float, ...]
    run: str
    tokens: int
    cett: float | None = None

    def __repr__(self) -> str:
        made = "" if self.cett is None else f", CETT {self.cett:.4g}"
        span = f"{min(self.values):.3g} to {max(self.values):.3g}" if self.values else "none"
        return (
            f"Thresholds({self.run} at {self.tokens:,} tokens{made}: "
            f"{number_of(len(self), 'layer')}, {span})"
        )

    def _repr_html_(self) -> str:
        import pandas as pd

        layers = pd.DataFrame({"layer": range(len(self)), "threshold": self.values})
        return html_table(layers, repr(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.values, dtype=dtype or float)

    def __len__(self) -> int:
        return len(self.values)


def thresholds_from_layers(
    layers: pd.DataFrame, *, run: str | None = None, tokens: int | None = None
) -> Thresholds:
    """Pick one checkpoint's thresholds from a per-layer table.

    Parameters
    ----------
    layers : pandas.DataFrame
        `RunMeasurement.layers`, or the ``.layers`` file beside a measurement table.
    run : str, optional
        Needed where the table holds several runs.
    tokens : int, optional
        Checkpoint; default the last.

    Raises
    ------
    ArgumentError
        No such checkpoint, or a metric without thresholds.
    """
    absent = {"run", "tokens", "layer", "threshold", "cett"} - set(getattr(layers, "columns", ()))
    if absent:
        raise ArgumentError(
            f"a per-layer table also has the columns {', '.join(sorted(absent))}: give "
            "RunMeasurement.layers, or the .layers file beside a measurement table"
        )
    runs = list(layers["run"].unique())
    if run is None and len(runs) != 1:
        raise ArgumentError(f"the table holds {len(runs)} runs: name one of {runs}")
    run = runs[0] if run is None else run
    chosen = layers[layers["run"] == run]
    if chosen.empty:
        raise ArgumentError(f"run {quoted(run)} is not in the table; it holds {runs}")
    known = sorted(int(count) for count in chosen["tokens"].unique())
    tokens = known[-1] if tokens is None else tokens
    if tokens not in known:
        raise ArgumentError(f"no checkpoint at {tokens} tokens; the table has {known}")
    rows = chosen[chosen["tokens"] == tokens].sort_values("layer")
    values = rows["threshold"].to_numpy(dtype=float)
    if np.isnan(values).any():
        raise ArgumentError("this table was measured by a metric without thresholds on ||n_i||")
    return Thresholds(tuple(values.tolist()), run, tokens, float(rows["cett"].max()))


def save_thresholds(thresholds: Thresholds, path: str | Path) -> None:
    """Write thresholds as JSON.

    Raises
    ------
    ArgumentError
        Not thresholds, or no path.
    CollectorError
        The file cannot be written.
    """
    if not isinstance(thresholds, Thresholds):
        raise ArgumentError(
            "thresholds must be what thresholds_from_layers returns, got "
            f"{type(thresholds).__name__}"
        )
    if not isinstance(path, str | Path):
        raise ArgumentError(f"{quoted(path)} is not a path: give a str or a pathlib.Path")
    write_atomically(Path(path), json.dumps(asdict(thresholds), indent=1).encode() + b"\n")


def load_thresholds(path: str | Path) -> Thresholds:
    """Read what `save_thresholds` wrote.

    Raises
    ------
    CollectorError
        Missing or damaged file.
    """
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        values = tuple(float(value) for value in record["values"])
        cett = record.get("cett")
        return Thresholds(values, str(record["run"]), int(record["tokens"]), cett)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CollectorError(
            f"{path}: not a thresholds file ({type(error).__name__}: {error})"
        ) from error
