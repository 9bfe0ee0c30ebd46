"""Calibrations and measurements as JSON, restored exactly: what an interrupted run resumes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sparsefit.collectors.calibrate import Calibration
from sparsefit.collectors.checkpoint_measure import Measurement
from sparsefit.collectors.curve import LayerCurve
from sparsefit.collectors.forward import Losses


def calibration_record(calibration: Calibration) -> dict[str, Any]:
    """JSON-ready form of a calibration; `calibration_from` restores it exactly."""
    return {
        "curves": [
            {
                "log_eps": curve.log_eps.tolist(),
                "cett": curve.cett.tolist(),
                "active": curve.active.tolist(),
                "anchor_log_eps": curve.anchor_log_eps.tolist(),
                "anchor_factor": curve.anchor_factor.tolist(),
                "dead": curve.dead,
            }
            for curve in calibration.curves
        ],
        "losses": _losses_record(calibration.losses),
        "targets": list(calibration.targets),
        "window_cett": calibration.window_cett.tolist(),
        "window_tokens": calibration.window_tokens.tolist(),
    }


def calibration_from(record: Mapping[str, Any]) -> Calibration:
    """Restore a calibration from `calibration_record`."""
    return Calibration(
        curves=tuple(
            LayerCurve(
                log_eps=np.asarray(curve["log_eps"], dtype=float),
                cett=np.asarray(curve["cett"], dtype=float),
                active=np.asarray(curve["active"], dtype=float),
                anchor_log_eps=np.asarray(curve["anchor_log_eps"], dtype=float),
                anchor_factor=np.asarray(curve["anchor_factor"], dtype=float),
                dead=curve["dead"],
            )
            for curve in record["curves"]
        ),
        losses=_losses_from(record["losses"]),
        targets=tuple(record["targets"]),
        window_cett=np.asarray(record["window_cett"], dtype=float),
        window_tokens=np.asarray(record["window_tokens"], dtype=float),
    )


_ARRAYS: Sequence[str] = (
    "thresholds",
    "layer_cett",
    "layer_ratio",
    "active",
    "relative_cett",
    "curve_slope",
    "active_slope",
    "window_tokens",
)


def measurement_record(measurement: Measurement) -> dict[str, Any]:
    """JSON-ready form of a measurement; `measurement_from` restores it exactly."""
    return {
        "cett": measurement.cett,
        "loss_dense": _losses_record(measurement.loss_dense),
        "loss_sparse": _losses_record(measurement.loss_sparse),
        **{key: getattr(measurement, key).tolist() for key in _ARRAYS},
    }


def measurement_from(record: Mapping[str, Any]) -> Measurement:
    """Restore a measurement from `measurement_record`."""
    return Measurement(
        cett=record["cett"],
        loss_dense=_losses_from(record["loss_dense"]),
        loss_sparse=_losses_from(record["loss_sparse"]),
        **{key: np.asarray(record[key], dtype=float) for key in _ARRAYS},
    )


def _losses_record(losses: Losses) -> dict[str, Any]:
    return {"sums": losses.sums.tolist(), "counts": losses.counts.tolist()}


def _losses_from(record: Mapping[str, Any]) -> Losses:
    return Losses(
        np.asarray(record["sums"], dtype=float), np.asarray(record["counts"], dtype=float)
    )
