"""Torch collectors: measure activation sparsity of checkpoints.

>>> from sparsefit.collectors import measure_run, Settings  # doctest: +SKIP
>>> measure_run("runs/tiny", "validation.txt").table  # doctest: +SKIP

Names are imported where they are first used: importing this package does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# name -> module that defines it.
_EXPORTS = {
    "Activity": "activity",
    "Checkpoint": "checkpoints",
    "EvaluationText": "text",
    "LoadOptions": "loading",
    "RunMeasurement": "result",
    "Settings": "settings",
    "Thresholds": "thresholds",
    "compare_activity": "activity",
    "find_checkpoints": "checkpoints",
    "find_sites": "sites",
    "load_text": "text",
    "load_thresholds": "thresholds",
    "measure_activity": "activity",
    "measure_run": "run",
    "pack_windows": "text",
    "pareto_sweep": "sweep",
    "response_curve": "sweep",
    "save_thresholds": "thresholds",
    "sparse": "masking",
    "thresholds_from_layers": "thresholds",
}

__all__ = sorted(_EXPORTS)

if TYPE_CHECKING:
    from sparsefit.collectors.activity import Activity as Activity
    from sparsefit.collectors.activity import compare_activity as compare_activity
    from sparsefit.collectors.activity import measure_activity as measure_activity
    from sparsefit.collectors.checkpoints import Checkpoint as Checkpoint
    from sparsefit.collectors.checkpoints import find_checkpoints as find_checkpoints
    from sparsefit.collectors.loading import LoadOptions as LoadOptions
    from sparsefit.collectors.masking import sparse as sparse
    from sparsefit.collectors.result import RunMeasurement as RunMeasurement
    from sparsefit.collectors.run import measure_run as measure_run
    from sparsefit.collectors.settings import Settings as Settings
    from sparsefit.collectors.sites import find_sites as find_sites
    from sparsefit.collectors.sweep import pareto_sweep as pareto_sweep
    from sparsefit.collectors.sweep import response_curve as response_curve
    from sparsefit.collectors.text import EvaluationText as EvaluationText
    from sparsefit.collectors.text import load_text as load_text
    from sparsefit.collectors.text import pack_windows as pack_windows
    from sparsefit.collectors.thresholds import Thresholds as Thresholds
    from sparsefit.collectors.thresholds import load_thresholds as load_thresholds
    from sparsefit.collectors.thresholds import save_thresholds as save_thresholds
    from sparsefit.collectors.thresholds import thresholds_from_layers as thresholds_from_layers


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'sparsefit.collectors' has no attribute {name!r}")
    from sparsefit.collectors.extra import needed_for

    with needed_for(f"sparsefit.collectors.{name}"):
        return getattr(importlib.import_module(f"sparsefit.collectors.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
