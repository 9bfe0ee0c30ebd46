"""The activation function beside a feed-forward site: its module, and its name for the table.

The module decides, not the configuration: configurations spell one function in several ways, leave
it out where the code fixes it, and keep fields that the code no longer reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from torch import nn

from sparsefit.collectors.configs import text_config
from sparsefit.collectors.refusals import FOREIGN, MIXERS

if TYPE_CHECKING:
    from sparsefit.collectors.sites import Site

# Names under which the modules of transformers hold their activation.
ATTRIBUTES = ("act_fn", "activation_fn", "act", "gelu_impl", "activation", "activation_func")
EXACT_ZEROS = ("relu", "relu2", "relu6")
"""Activations that are exactly zero for a whole range of inputs."""
_ALIASES = {
    "swish": "silu",
    "relusquared": "relu2",
    "squaredrelu": "relu2",
    "relu^2": "relu2",
    "leakyrelu": "leaky_relu",
}
_KNOWN = (
    *("relu", "relu2", "relu6", "leaky_relu", "prelu", "silu", "gelu", "tanh", "sigmoid"),
    *("mish", "xielu", "elu", "selu", "softplus", "laplace"),
)
_CONFIG_KEYS = ("hidden_activation", "hidden_act", "activation_function", "activation", "afn")


def activation_of(module: nn.Module) -> str | None:
    """Return the common name of an activation module; None for any other module."""
    name = type(module).__name__.lower()
    for ending in ("activation", "tanh", "sigmoid"):
        # GELUTanh, QuickGELUActivation and their like are forms of one function.
        if name != ending:
            name = name.removesuffix(ending)
    name = _common(name)
    return name if name in _KNOWN else None


def find_activation(model: nn.Module, site: str) -> nn.Module | None:
    """Find the module that returns ``s = sigma(...)`` for a site.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    site : str
        Qualified name of the output projection.

    Returns
    -------
    torch.nn.Module or None
        None where no module computes it, or where several could.
    """
    parent_name = site.rpartition(".")[0]
    parent = model.get_submodule(parent_name)
    for key in ATTRIBUTES:
        held = getattr(parent, key, None)
        if isinstance(held, nn.Module):
            # A module that gates as well returns h, and hides s.
            return None if "glu" in type(held).__name__.lower() else held
    if sum(_has_matrix(module) for module in _own_modules(parent)) == 1 and "." in parent_name:
        # A wrapper around the projection alone: the first half of the network lies beside it.
        parent = model.get_submodule(parent_name.rpartition(".")[0])
    found = [module for module in _own_modules(parent) if activation_of(module)]
    return found[0] if len(found) == 1 else None


def activation_name(model: nn.Module, sites: Sequence[Site]) -> str:
    """Return the activation's common name: relu, silu, gelu, relu2, ...

    ``mixed`` where layers differ; what the configuration says where no known module or function
    computes it, ``unknown`` where that says nothing.
    """
    seen = [site for site in sites if site.activation is not None or site.function is not None]
    names = _distinct(_name_of(site) for site in seen)
    if names and None not in names:
        return "mixed" if len(names) > 1 else str(names[0])
    config = text_config(model)
    for key in _CONFIG_KEYS:
        raw = getattr(config, key, None)
        if isinstance(raw, str):
            return _common(raw.lower())
    return "unknown"


def _name_of(site: Site) -> str | None:
    module = None if site.activation is None else activation_of(site.activation)
    return module or site.function


def _common(name: str) -> str:
    """Normalise a name in lower case."""
    plain = name.replace("_", "")
    if "gelu" in plain:
        return "gelu"
    if "silu" in plain:
        return "silu"
    return _ALIASES.get(plain, name)


def _own_modules(parent: nn.Module) -> list[nn.Module]:
    """Modules below one, those of attention, recurrence and adapters left out."""
    named = parent.named_modules()
    return [module for name, module in named if not (FOREIGN.search(name) or MIXERS.search(name))]


def _has_matrix(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, nn.Parameter) and weight.dim() == 2


def _distinct(names: Iterable[str | None]) -> list[str | None]:
    return list(dict.fromkeys(names))
