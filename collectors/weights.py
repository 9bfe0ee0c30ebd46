"""The weights of a model, wherever they are kept: on one device, on several, or offloaded.

A model that one device cannot hold is spread by accelerate. A layer's weights may then lie on
another device than those of the layer before, or in memory or on a disk until the layer runs; until
then the model shows a tensor without values (on the device ``meta``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from sparsefit.errors import ModelError

# Float8 and integer weights come with scales of their own.
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def stored(module: nn.Module, name: str) -> torch.Tensor | None:
    """Return a module's own parameter with its values, on the device where the module computes.

    Parameters
    ----------
    module : torch.nn.Module
        The module.
    name : str
        The parameter's name in it.

    Returns
    -------
    torch.Tensor or None
        A copy on the device where it was offloaded, else the tensor itself; None without one.
    """
    value = getattr(module, name, None)
    # Modules quantised by PyTorch have a method of that name.
    if not isinstance(value, torch.Tensor):
        return None
    value = value.detach()
    hook = _offloading(module) if value.is_meta else None
    if hook is None:
        return value
    return hook.weights_map[name].to(hook.execution_device, value.dtype)  # type: ignore[no-any-return]


def parameters_of(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Iterate over a model's parameters and their qualified names, see `stored`."""
    for prefix, module in model.named_modules():
        for name, _ in module.named_parameters(recurse=False):
            value = stored(module, name)
            assert value is not None
            yield f"{prefix}.{name}" if prefix else name, value


def computing_device(model: nn.Module) -> torch.device:
    """Return the device on which a model begins to compute: that of its first parameter."""
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            hook = _offloading(module) if parameter.is_meta else None
            return parameter.device if hook is None else torch.device(hook.execution_device)
    return torch.device("cpu")


def refuse_without_values(model: nn.Module) -> None:
    """Raise ModelError for parameters that are on the device ``meta`` and offloaded nowhere."""
    kept: list[str] = []
    for prefix, module in model.named_modules():
        if _offloading(module) is not None:
            kept.append(prefix)
        for name, parameter in module.named_parameters(recurse=False):
            inside = any(not place or f"{prefix}.".startswith(f"{place}.") for place in kept)
            if parameter.is_meta and not inside:
                raise ModelError(
                    f"{prefix}.{name} of {type(model).__name__} is on the device meta: it has no "
                    "values. Load the model with its weights (from_pretrained; with "
                    'device_map="auto" where one device is too small)'
                )


def is_matrix(value: object) -> bool:
    """Whether something is a tensor of two dimensions."""
    return isinstance(value, torch.Tensor) and value.dim() == 2


def check_values(name: str, module: nn.Module) -> None:
    """Raise ModelError where a module's weight does not hold its own numbers.

    Parameters
    ----------
    name : str
        The module's qualified name.
    module : torch.nn.Module
        Module with a weight.
    """
    weight = stored(module, "weight")
    assert weight is not None
    if weight.is_meta:
        raise ModelError(
            f"the weight of {name} comes with the module around it, and cannot be read alone: "
            "dispatch the model without preload_module_classes"
        )
    if hasattr(weight, "full_tensor"):
        raise ModelError(
            f"{name} holds a part of its weight ({type(weight).__name__}): the model is sharded "
            'over processes. Measure a gathered checkpoint, with device_map="auto" where one '
            "device is too small"
        )
    plain = weight.dtype in _DTYPES
    try:
        if plain:
            torch.linalg.vector_norm(weight[:1].float())
    except (RuntimeError, NotImplementedError, TypeError, AttributeError):
        plain = False
    if not plain:
        raise ModelError(
            f"{name} holds {weight.dtype} weights of type {type(weight).__name__}: load the model "
            "unquantised"
        )


def _hooks(module: nn.Module) -> list[Any]:
    """Hooks of accelerate: the one of a module, or those of a sequence."""
    hook: Any = getattr(module, "_hf_hook", None)
    return [] if hook is None else list(getattr(hook, "hooks", (hook,)))


def _offloading(module: nn.Module) -> Any:
    """Return the hook that brings a module's weights when it runs; None without one."""
    for hook in _hooks(module):
        if getattr(hook, "offload", False) and getattr(hook, "weights_map", None) is not None:
            return hook
    return None
