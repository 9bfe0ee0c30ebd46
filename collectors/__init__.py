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
    "Checkpoint": "checkpoints",
    "EvaluationText": "text",
    "LoadOptions": "loading",
    "RunMeasurement": "run",
    "Settings": "settings",
    "find_checkpoints": "checkpoints",
    "find_sites": "sites",
    "load_text": "text",
    "measure_run": "run",
    "pack_windows": "text",
    "sparse": "masking",
}

__all__ = sorted(_EXPORTS)

if TYPE_CHECKING:
    from sparsefit.collectors.checkpoints import Checkpoint as Checkpoint
    from sparsefit.collectors.checkpoints import find_checkpoints as find_checkpoints
    from sparsefit.collectors.loading import LoadOptions as LoadOptions
    from sparsefit.collectors.masking import sparse as sparse
    from sparsefit.collectors.run import RunMeasurement as RunMeasurement
    from sparsefit.collectors.run import measure_run as measure_run
    from sparsefit.collectors.settings import Settings as Settings
    from sparsefit.collectors.sites import find_sites as find_sites
    from sparsefit.collectors.text import EvaluationText as EvaluationText
    from sparsefit.collectors.text import load_text as load_text
    from sparsefit.collectors.text import pack_windows as pack_windows


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'sparsefit.collectors' has no attribute {name!r}")
    return getattr(importlib.import_module(f"sparsefit.collectors.{_EXPORTS[name]}"), name)


def __dir__() -> list[str]:
    return list(__all__)
