"""Measurement records to tidy tables."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.collectors.checkpoint_measure import Measurement
from sparsefit.collectors.checkpoints import Checkpoint
from sparsefit.collectors.result import RunMeasurement
from sparsefit.collectors.solve import Evaluation, root_exponent
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.uncertainty import split_errors, target_influence

if TYPE_CHECKING:
    from sparsefit.collectors.settings import Settings


class NoErrorWarning(UserWarning):
    """The standard errors of a run cannot be given."""


def build_tables(
    run: str,
    checkpoints: Sequence[Checkpoint],
    text: EvaluationText,
    settings: Settings,
    records: Mapping[str, Mapping[str, Any]],
    solutions: Mapping[str, Mapping[str, Any]],
) -> RunMeasurement:
    """Assemble the measurement table and the per-layer table.

    Parameters
    ----------
    run : str
        Value of the column ``run``.
    checkpoints, text, settings
        What was measured.
    records : mapping
        By checkpoint name: ``model`` (description), ``measurement`` or ``failed`` (reason).
    solutions : mapping
        Solved groups.
    """
    import pandas as pd

    measured = {
        name: record["measurement"]
        for name, record in records.items()
        if record["failed"] is None and record["measurement"] is not None
    }
    errors = usable_errors(run_errors(measured, solutions))
    common = {
        "metric": settings.metric,
        "p_percent": settings.p_percent if settings.metric == "cett_ppl" else None,
        "cett_scope": settings.cett_scope if settings.metric == "cett_ppl" else None,
        "eval_data": text.label,
    }
    rows, layers = [], []
    for checkpoint in checkpoints:
        record = records[checkpoint.name]
        row: dict[str, Any] = {
            "run": run,
            "tokens": checkpoint.tokens,
            "activation_ratio": None,
            "step": checkpoint.step,
            "loss": checkpoint.loss,
            **common,
        }
        measurement = measured.get(checkpoint.name)
        if measurement is None:
            row |= {"status": "failed", "message": record["failed"]}
        else:
            row |= {**record["model"], **_values(measurement, text)}
            row |= {**errors.get(checkpoint.name, {}), "status": "ok"}
            row["message"] = _flag(checkpoint, settings, solutions)
            layers += _layer_rows(run, checkpoint, measurement)
        rows.append(row)
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    table = table.loc[:, [c for c in table if c in _ALWAYS or table[c].notna().any()]]
    for column in ("n_params", "hidden_size", "n_layers", "d_ff", "step", "n_eval_tokens"):
        if column in table and table[column].notna().all():
            table[column] = table[column].astype("int64")
    for column in table.columns:
        if column in _NUMBERS:
            table[column] = table[column].astype(float)
    return RunMeasurement(
        table,
        pd.DataFrame(
            layers, columns=["run", "tokens", "layer", "threshold", "cett", "activation_ratio"]
        ),
        {name: dict(solution) for name, solution in solutions.items()},
    )


_ROUNDING = 1e-12
"""Standard errors of activation ratios up to this are 0."""
_COLUMNS = (
    *("run", "tokens", "activation_ratio", "activation", "n_params", "hidden_size", "n_layers"),
    *("d_ff", "step", "se", "se_shared", "loss", "metric", "p_percent", "cett", "cett_scope"),
    *("loss_dense", "loss_sparse", "ppl_ratio", "n_eval_tokens", "eval_data", "status", "message"),
)
_ALWAYS = ("run", "tokens", "activation_ratio", "status", "message")
_NUMBERS = (
    "activation_ratio",
    "se",
    "se_shared",
    "loss",
    "p_percent",
    "cett",
    "loss_dense",
    "loss_sparse",
    "ppl_ratio",
)


def run_errors(
    measured: Mapping[str, Measurement], solutions: Mapping[str, Mapping[str, Any]]
) -> dict[str, tuple[float, float]]:
    """Standard errors (own, shared) of each measured checkpoint."""
    groups = {
        name: [member for member in solution["checkpoints"] if member in measured]
        for name, solution in solutions.items()
    }
    slopes = {name: _loss_slope(solution) for name, solution in solutions.items()}
    log_cett = {}
    for name, members in groups.items():
        if members:
            log_cett[name] = target_influence(
                [measured[member].influence(slopes[name]) for member in members],
                [measured[member].log_ratio for member in members],
                slopes[name],
            )
    totals = []
    for name, measurement in measured.items():
        group = "run" if "run" in groups else name
        item = measurement.influence(slopes.get(group, 0.0))
        moved = log_cett.get(group)
        totals.append(item.ratio + (0.0 if moved is None else item.ratio_slope * moved))
    return dict(zip(measured, split_errors(totals), strict=True)) if measured else {}


def usable_errors(errors: Mapping[str, tuple[float, float]]) -> dict[str, dict[str, float]]:
    """Return the columns of standard errors by checkpoint; none where some of them are 0.

    An activation ratio that is the same in every window (``topk``; all neurons active) has no error
    from the text, and what rounding leaves of it would weigh its row without bound.
    """
    own = {name: 0.0 if se <= _ROUNDING else se for name, (se, _) in errors.items()}
    zeros = [name for name, se in own.items() if se == 0]
    if zeros and len(zeros) < len(own):
        warnings.warn(
            f"standard errors are left out: the activation ratio of {', '.join(zeros)} is the same "
            "in all windows of the text",
            NoErrorWarning,
            stacklevel=4,
        )
        return {}
    return {name: {"se": own[name], "se_shared": shared} for name, (_, shared) in errors.items()}


def write_run(result: RunMeasurement, output: Path, provenance: dict[str, Any]) -> None:
    """Write the measurement table, and the per-layer table beside it.

    Parameters
    ----------
    result : RunMeasurement
        Tables to write.
    output : Path
        ``NAME.csv`` or ``NAME.parquet``; the layers go to ``NAME.layers.csv`` / ``.parquet``.
    provenance : dict
        Stored with the measurement table.
    """
    from sparsefit.collectors.state import layers_path, write_frame
    from sparsefit.table import write_table

    write_frame(result.layers, layers_path(output))
    # Last: the main table exists only where everything else does.
    write_table(result.table, output, provenance=provenance)


def _loss_slope(solution: Mapping[str, Any]) -> float:
    """Slope d (log ratio) / d log CETT at a solved root."""
    history = [Evaluation(item["cett"], item["log_ratio"]) for item in solution["evaluations"]]
    return float(root_exponent(history, solution["cett"]) * solution["target_log_ratio"])


def _values(measurement: Measurement, text: EvaluationText) -> dict[str, Any]:
    return {
        "activation_ratio": measurement.activation_ratio,
        "cett": None if math.isnan(measurement.cett) else measurement.cett,
        "loss_dense": measurement.loss_dense.mean,
        "loss_sparse": measurement.loss_sparse.mean,
        "ppl_ratio": math.exp(measurement.log_ratio),
        "n_eval_tokens": text.n_tokens,
    }


def _flag(
    checkpoint: Checkpoint, settings: Settings, solutions: Mapping[str, Mapping[str, Any]]
) -> str | None:
    group = "run" if settings.cett_scope == "run" else checkpoint.name
    solution = solutions.get(group)
    if solution is None or solution["status"] == "converged":
        return None
    return f"{solution['status']}: {solution['message']}"


def _layer_rows(run: str, checkpoint: Checkpoint, measurement: Measurement) -> list[dict[str, Any]]:
    return [
        {
            "run": run,
            "tokens": checkpoint.tokens,
            "layer": layer,
            "threshold": float(threshold),
            "cett": float(cett),
            "activation_ratio": float(ratio),
        }
        for layer, (threshold, cett, ratio) in enumerate(
            zip(
                measurement.thresholds,
                measurement.layer_cett,
                np.asarray(measurement.layer_ratio),
                strict=True,
            )
        )
    ]
