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

from sparsefit.collectors.activations import check_plain
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
    """Hands out each site's ``s = sigma(...)`` when its output projection is about to run."""

    def __init__(self) -> None:
        self._by_layer: dict[int, torch.Tensor] = {}
        self._calls = ActivationCalls()

    def watch(self, sites: Sequence[Site], stack: ExitStack) -> None:
        """Watch until the stack closes."""
        for site in sites:
            if site.activation is not None:
                handle = site.activation.register_forward_hook(
                    self._keeper(site.layer), with_kwargs=True
                )
                stack.callback(handle.remove)
        if any(site.activation is None for site in sites):
            stack.enter_context(self._calls)

    def take(self, site: Site, hidden: torch.Tensor) -> torch.Tensor:
        """Return a site's activations, shaped as its hidden states, (positions, d_ff).

        Raises
        ------
        ModelError
            None was seen, or one of another shape.
        """
        if site.activation is None:
            called = self._calls.take(*hidden.shape)
            if called is None:
                raise ModelError(
                    f"layer {site.layer} has no activation module beside {site.name}, and calls no "
                    "function that is known as one: this metric looks at the activation's output "
                    "and cannot be measured here"
                )
            return called[1].reshape(hidden.shape)
        s = self._by_layer.pop(site.layer, None)
        if s is None:
            raise ModelError(f"layer {site.layer}: the activation module was not called")
        if s.numel() != hidden.numel():
            raise ModelError(
                f"layer {site.layer}: the activation module returns {tuple(s.shape)} for "
                f"{site.d_ff} neurons. This metric cannot be measured here"
            )
        return s.reshape(hidden.shape)

    def _keeper(self, layer: int) -> Callable[..., None]:
        def hook(module: Any, args: Any, options: Any, output: torch.Tensor) -> None:
            check_plain(layer, module, args, options, output)
            self._by_layer[layer] = output

        return hook


def _squares(name: str, args: Sequence[Any]) -> bool:
    """Whether a call squares its first argument, as Primer does with ReLU."""
    other = args[1] if len(args) > 1 else None
    if name in _PRODUCTS:
        return other is args[0]
    return name in ("square", "square_") or (name in _POWERS and other == 2)
