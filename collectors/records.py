"""Calibrations and measurements as JSON, restored exactly: what an interrupted run resumes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sparsefit.collectors.calibrate import Calibration
from sparsefit.collectors.checkpoint_measure import Measurement
from sparsefit.collectors.curve import LayerCurve
from sparsefit.collectors.forward import Losses

# Attributes that are arrays of numbers.
_LOSSES = ("sums", "counts")
_CURVE = ("log_eps", "cett", "active", "anchor_log_eps", "anchor_factor")
_CALIBRATION = ("window_cett", "window_tokens")
_MEASUREMENT = (
    "thresholds",
    "layer_cett",
    "layer_ratio",
    "active",
    "relative_cett",
    "curve_slope",
    "active_slope",
    "window_tokens",
)


def calibration_record(calibration: Calibration) -> dict[str, Any]:
    """JSON-ready form of a calibration; `calibration_from` restores it exactly."""
    return {
        "curves": [{**_lists(curve, _CURVE), "dead": curve.dead} for curve in calibration.curves],
        "losses": _lists(calibration.losses, _LOSSES),
        "targets": list(calibration.targets),
        **_lists(calibration, _CALIBRATION),
    }


def calibration_from(record: Mapping[str, Any]) -> Calibration:
    """Restore a calibration from `calibration_record`."""
    return Calibration(
        curves=tuple(
            LayerCurve(**_arrays(curve, _CURVE), dead=curve["dead"]) for curve in record["curves"]
        ),
        losses=Losses(**_arrays(record["losses"], _LOSSES)),
        targets=tuple(record["targets"]),
        **_arrays(record, _CALIBRATION),
    )


def measurement_record(measurement: Measurement) -> dict[str, Any]:
    """JSON-ready form of a measurement; `measurement_from` restores it exactly."""
    return {
        "cett": measurement.cett,
        "loss_dense": _lists(measurement.loss_dense, _LOSSES),
        "loss_sparse": _lists(measurement.loss_sparse, _LOSSES),
        **_lists(measurement, _MEASUREMENT),
    }


def measurement_from(record: Mapping[str, Any]) -> Measurement:
    """Restore a measurement from `measurement_record`."""
    return Measurement(
        cett=record["cett"],
        loss_dense=Losses(**_arrays(record["loss_dense"], _LOSSES)),
        loss_sparse=Losses(**_arrays(record["loss_sparse"], _LOSSES)),
        **_arrays(record, _MEASUREMENT),
    )


def _lists(held: Any, names: tuple[str, ...]) -> dict[str, list[Any]]:
    return {name: getattr(held, name).tolist() for name in names}


def _arrays(record: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {name: np.asarray(record[name], dtype=float) for name in names}
