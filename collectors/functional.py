"""What an activation function returns in a pass, called as a module or as a function.

Models of transformers hold their activation as a module, which can be hooked. Many others, and a
few of theirs, call a function (``F.silu(self.w1(x)) * self.w3(x)``). Calls of functions are seen by
a mode of PyTorch, and the last one before an output projection is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from sparsefit.errors import ModelError

if TYPE_CHECKING:
    from sparsefit.collectors.sites import Site

# Names of PyTorch's functions and methods -> name of the activation. Sigmoid and tanh are left out:
# they are parts of other functions as often as they are the activation.
_FUNCTIONS = {
    **{name: name for name in ("relu", "relu6", "silu", "gelu", "mish", "elu", "selu", "celu")},
    **{name: name for name in ("leaky_relu", "prelu")},
    **{f"{name}_": name for name in ("relu", "elu", "selu", "leaky_relu")},
}
_OVERWRITING = ("mul_", "__imul__")
_PRODUCTS = ("mul", "__mul__", *_OVERWRITING)
_POWERS = ("pow", "pow_", "__pow__", "__ipow__")


class ActivationCalls(TorchFunctionMode):
    """Keeps what the last activation function returned, while the mode is on."""

    def __init__(self) -> None:
        super().__init__()
        self._last: tuple[str, torch.Tensor] | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of PyTorch, and keep what an activation returns."""
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _FUNCTIONS and isinstance(output, torch.Tensor):
            self._last = _FUNCTIONS[name], output
        elif self._last is not None and args and args[0] is self._last[1]:
            if self._last[0] == "relu" and _squares(name, args):
                self._last = "relu2", output
            elif name in _OVERWRITING:
                # The gated product has taken its place.
                self._last = None
        return output

    def take(self, positions: int, d_ff: int) -> tuple[str, torch.Tensor] | None:
        """Return, and forget, the name and the output of the last activation called.

        Parameters
        ----------
        positions, d_ff : int
            Positions of the batch, neurons of the layer; None where the output is of another shape.
        """
        found, self._last = self._last, None
        if found is None:
            return None
        s = found[1]
        return found if s.shape[-1] == d_ff and s.numel() == positions * d_ff else None


class ActivationOutputs:
    """Hands out each site's ``s = sigma(...)`` when its output projection is about to run.

    What a module returns goes before what a function does; a module that multiplies by the other
    branch as well returns h in place of s, and the function that it calls is taken.
    """

    def __init__(self) -> None:
        # None for a module that gates.
        self._by_layer: dict[int, torch.Tensor | None] = {}
        self._calls = ActivationCalls()

    def watch(self, sites: Sequence[Site], stack: ExitStack) -> None:
        """Watch until the stack closes."""
        for site in sites:
            if site.activation is not None:
                keep = self._keeper(site.layer)
                handle = site.activation.register_forward_hook(keep, with_kwargs=True)
                stack.callback(handle.remove)
        stack.enter_context(self._calls)

    def find(self, site: Site, hidden: torch.Tensor) -> tuple[str | None, torch.Tensor] | None:
        """Return a site's activations, shaped as its hidden states, (positions, d_ff).

        Before them the name of the function that returned them, None for a module of its own; None
        where no activations were seen.
        """
        called = self._calls.take(*hidden.shape)
        s = self._by_layer.pop(site.layer, None)
        if s is not None and s.numel() == hidden.numel():
            name = called[0] if called is not None and called[1] is s else None
            return name, s.reshape(hidden.shape)
        if s is not None or called is None:
            return None
        s = called[1].reshape(hidden.shape)
        # A function that is a part of the activation only may be zero where that is not.
        return None if bool(hidden[s == 0].any()) else (called[0], s)

    def take(self, site: Site, hidden: torch.Tensor) -> torch.Tensor:
        """Return a site's activations, see `find`.

        Raises
        ------
        ModelError
            None were seen.
        """
        found = self.find(site, hidden)
        if found is None:
            raise ModelError(
                f"layer {site.layer}: the output of the activation before {site.name} is not to be "
                "seen. No module returns it, and no function that is known as one is called. This "
                "metric looks at that output, and cannot be measured here"
            )
        return found[1]

    def _keeper(self, layer: int) -> Callable[..., None]:
        def hook(module: Any, args: Any, options: Any, output: torch.Tensor) -> None:
            given = [item for item in (*args, *options.values()) if isinstance(item, torch.Tensor)]
            plain = len(given) == 1 and given[0].shape == output.shape
            self._by_layer[layer] = output if plain else None

        return hook


def _squares(name: str, args: Sequence[Any]) -> bool:
    """Whether a call squares its first argument, as Primer does with ReLU."""
    other = args[1] if len(args) > 1 else None
    if name in _PRODUCTS:
        return other is args[0]
    return name in ("square", "square_") or (name in _POWERS and other == 2)
