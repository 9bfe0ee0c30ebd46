"""A model as measurements need it: evaluation mode, its own precision, hooks that run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn


def hooks_run() -> AbstractContextManager[Any]:
    """Context in which code that `torch.compile` made before there were hooks is not used.

    It would run without them, and a model would be measured, or left dense, behind their back.
    """
    stance = getattr(torch.compiler, "set_stance", None)  # since PyTorch 2.6
    # Without this module nothing has been compiled; to import it takes seconds.
    if stance is None or "torch._dynamo" not in sys.modules:
        return nullcontext()
    context: AbstractContextManager[Any] = stance("force_eager")
    return context


def _own_precision(model: nn.Module, device: torch.device) -> AbstractContextManager[Any]:
    stack = ExitStack()
    for kind in {device.type, *(parameter.device.type for parameter in model.parameters())}:
        # Other devices may have no mixed precision that could be asked.
        if kind in ("cpu", "cuda"):
            stack.enter_context(torch.autocast(kind, enabled=False))
    return stack


@contextmanager
def evaluating(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Put a model into evaluation mode, and each of its modules back into its own afterwards.

    Automatic mixed precision is off inside: products with the weights are taken in their type.
    """
    training = model.training
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with hooks_run(), _own_precision(model, device):
            yield
    finally:
        model.train(training)
        # Parts may be in evaluation mode, frozen, while the others train.
        for module, mode in modes:
            module.training = mode
