"""Output projections under names that are not known: found by shape and place, then tried.

What looks like one could also be the way out of some attention or recurrence. These mix tokens; a
feed-forward network does to each token the same, wherever it stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from sparsefit.collectors.configs import layer_count
from sparsefit.collectors.refusals import candidates
from sparsefit.collectors.weights import is_matrix

# Share of the largest state that rounding may move.
_ROUNDING = 1e-2


def by_shape(model: nn.Module) -> dict[str, dict[int, str]]:
    """Find matrices that map a greater width to the model's, once in every layer.

    Parameters
    ----------
    model : torch.nn.Module
        The model.

    Returns
    -------
    dict
        Stem -> layer -> qualified name.
    """
    found = candidates(model, wide=True)
    return {
        stem: names
        for stem, names in found.items()
        if sorted(names) == list(range(layer_count(model, stem)))
    }


def network_of(model: nn.Module, name: str) -> nn.Module:
    """Return the module around a projection that holds other matrices as well."""
    place = name.rpartition(".")[0]
    while place and sum(_has_matrix(module) for module in model.get_submodule(place).modules()) < 2:
        place = place.rpartition(".")[0]
    return model.get_submodule(place)


class TokenByToken:
    """Watches a network during a pass, to run it once more on the same tokens in reverse.

    Parameters
    ----------
    network : torch.nn.Module
        The network (`network_of`).
    projection : torch.nn.Module
        Its output projection.
    """

    def __init__(self, network: nn.Module, projection: nn.Module) -> None:
        self.network = network
        self.projection = projection
        self._given: tuple[tuple[Any, ...], Mapping[str, Any]] | None = None
        self._states: list[torch.Tensor] = []

    def watch(self, stack: ExitStack) -> None:
        """Watch until the stack closes."""

        def called(module: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
            self._given = (args, options)

        handle = self.network.register_forward_pre_hook(called, with_kwargs=True)
        stack.callback(handle.remove)
        stack.callback(self.projection.register_forward_pre_hook(self._keep).remove)

    @property
    def silent(self) -> bool:
        """Whether every state was zero, as of parts that have not begun to learn."""
        return not any(bool(states.any()) for states in self._states)

    def holds(self, length: int) -> bool:
        """Whether the reversed tokens give the same states, reversed; False where untried."""
        if self._given is None or len(self._states) != 1:
            return False
        args, options = self._given

        def turned(value: Any) -> Any:
            if not isinstance(value, torch.Tensor) or value.dim() < 2:
                return value
            if value.shape[:2] == (1, length):
                return value.flip(1)
            return value.flip(0) if value.dim() == 2 and value.shape[0] == length else value

        with ExitStack() as stack:
            stack.callback(self.projection.register_forward_pre_hook(self._keep).remove)
            try:
                self.network(*map(turned, args), **{k: turned(v) for k, v in options.items()})
            except (RuntimeError, ValueError, TypeError, IndexError, AttributeError):
                return False
        if len(self._states) != 2:
            return False
        first, second = (states.reshape(length, -1).float() for states in self._states)
        change = (first - second.flip(0)).abs().max()
        return bool(change <= _ROUNDING * first.abs().max())

    def _keep(self, module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        self._states.append(args[0].detach().clone())


def _has_matrix(module: nn.Module) -> bool:
    return is_matrix(getattr(module, "weight", None))
