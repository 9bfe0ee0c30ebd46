"""A small, seeded, resumable trainer: where sparsefit's own measured curves come from.

``python -m sparsefit.collectors.trainer --help`` lists what it does; `demo_chain` is the whole
chain at its smallest size. Nothing heavy is imported before a function is called.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "RunSpec": "sparsefit.collectors.trainer.spec",
    "build_corpus": "sparsefit.collectors.trainer.corpus",
    "demo_chain": "sparsefit.collectors.trainer.demo",
    "train": "sparsefit.collectors.trainer.loop",
}

__all__ = ["RunSpec", "build_corpus", "demo_chain", "train"]

if TYPE_CHECKING:
    from sparsefit.collectors.trainer.corpus import build_corpus
    from sparsefit.collectors.trainer.demo import demo_chain
    from sparsefit.collectors.trainer.loop import train
    from sparsefit.collectors.trainer.spec import RunSpec


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        from sparsefit.collectors.extra import needed_for

        with needed_for(f"sparsefit.collectors.trainer.{name}"):
            value = getattr(importlib.import_module(_EXPORTS[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'sparsefit.collectors.trainer' has no attribute {name!r}")
