"""Where the feed-forward neurons of a causal language model live.

A *site* is the output projection of one decoder layer's feed-forward network. Its input ``h`` holds
one number per neuron, so one hook there serves gated, fused-gate and plain networks alike (Eq. 2:
``n_i = W_out[:, i] h_i`` and ``||n_i|| = |h_i| ||W_out[:, i]||``). The activation module is a
second, optional hook for the metrics that look at ``s = sigma(W_gate x)`` itself.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sparsefit.errors import ModelError

# Last component of the output projection's module name, over the model families of transformers.
OUTPUT_NAMES = (
    "down_proj",
    "fc2",
    "fc_out",
    "dense_4h_to_h",
    "c_proj",
    "w2",
    "Wo",
    "output_linear",
)
# These names are also used for other things (c_proj: the attention output of GPT-2): they count
# only below one of the parents.
_AMBIGUOUS = ("c_proj", "w2", "Wo", "output_linear")
FFN_PARENTS = ("mlp", "ffn", "feed_forward", "shared_mlp")
ACTIVATION_NAMES = ("act_fn", "activation_fn", "act", "gelu_impl", "activation", "activation_func")
# Families that fix the activation in code and say nothing in their configuration.
_FIXED_ACTIVATIONS = {
    "bloom": "gelu",
    "mpt": "gelu",
    "lfm2": "silu",
    "lfm2_moe": "silu",
    "lfm3": "silu",
}
_FOREIGN = re.compile(r"(^|[._])(attn|attention|vision|audio|lora)([._]|$)|_attn\b|_attention\b")
_EXPERTS = re.compile(r"(^|[._])(experts?|shared_experts?|block_sparse_moe|moe|router)([._]|$)")
# Gemma 3n's routers mix residual streams; no token is routed.
_NO_EXPERTS = re.compile(r"(^|\.)altup\.")


@dataclass(frozen=True, eq=False)
class Site:
    """The feed-forward output projection of one decoder layer.

    Attributes
    ----------
    layer : int
        Index of the decoder layer, from 0.
    name : str
        Qualified name of the output projection in the model.
    projection : torch.nn.Module
        The module itself (a linear layer, or GPT-2's transposed ``Conv1D``).
    activation : torch.nn.Module or None
        The module that returns ``s = sigma(...)``, where one was found.
    transposed : bool
        Whether the weight is stored as (d_ff, d_model).
    """

    layer: int
    name: str
    projection: nn.Module = field(repr=False)
    activation: nn.Module | None = field(repr=False)
    transposed: bool

    @property
    def weight(self) -> torch.Tensor:
        """Projection weight seen as (d_model, d_ff)."""
        weight: torch.Tensor = self.projection.weight  # type: ignore[assignment]
        return weight.detach().t() if self.transposed else weight.detach()

    @property
    def bias(self) -> torch.Tensor | None:
        """Output bias, (d_model,); it belongs to no neuron and is never dropped."""
        bias = getattr(self.projection, "bias", None)
        return None if bias is None else bias.detach()

    @property
    def d_ff(self) -> int:
        """Number of neurons."""
        return int(self.weight.shape[1])

    def column_norms(self) -> torch.Tensor:
        """Norms ``||W_out[:, i]||`` in float32, shape (d_ff,)."""
        return torch.linalg.vector_norm(self.weight.float(), dim=0)


def text_config(model: nn.Module) -> Any:
    """Return the configuration of the text decoder (the model's own where there is only one)."""
    config = model.config
    getter = getattr(config, "get_text_config", None)
    return getter() if callable(getter) else config


def layer_count(model: nn.Module) -> int:
    """Return the number of decoder layers that the configuration promises.

    Raises
    ------
    ModelError
        The configuration does not say.
    """
    config = text_config(model)
    for key in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
        count = getattr(config, key, None)
        if isinstance(count, int) and count > 0:
            return count
    raise ModelError(
        f"the configuration of {type(model).__name__} has no num_hidden_layers: "
        "give the sites by a pattern on a model whose configuration states its depth"
    )


def find_sites(model: nn.Module, pattern: str | None = None) -> tuple[Site, ...]:
    """Find the feed-forward output projection of every decoder layer.

    Parameters
    ----------
    model : torch.nn.Module
        A causal language model of transformers.
    pattern : str, optional
        Shell-style pattern of the projections' qualified names, e.g.
        ``"model.layers.*.mlp.down_proj"``; by default the known names are searched.

    Returns
    -------
    tuple of Site
        One site per decoder layer, in order.

    Raises
    ------
    ModelError
        Mixture-of-experts models, layers without a site, or more than one site in a layer: nothing
        partial is ever measured.
    """
    kind = type(model).__name__
    depth = layer_count(model)
    _refuse_experts(model, kind)
    if pattern is None:
        names = [name for name, module in model.named_modules() if _is_output(name, module)]
    else:
        names = [name for name, _ in model.named_modules() if fnmatch.fnmatchcase(name, pattern)]
    groups: dict[str, dict[int, str]] = {}
    for name in names:
        parts = name.split(".")
        numbers = [at for at, part in enumerate(parts) if part.isdigit()]
        if not numbers:
            continue
        stem = ".".join("*" if at == numbers[0] else part for at, part in enumerate(parts))
        groups.setdefault(stem, {})[int(parts[numbers[0]])] = name
    if not groups:
        raise ModelError(
            f"no feed-forward output projection found in {kind}"
            + (f" by the pattern {pattern!r}" if pattern else "")
            + ": name the modules with a pattern such as 'model.layers.*.mlp.down_proj'"
        )
    if len(groups) > 1:
        raise ModelError(
            f"{kind} has several candidates for the feed-forward output projection: "
            f"{', '.join(sorted(groups))}. Choose one with a pattern"
        )
    ((stem, found),) = groups.items()
    missing = [layer for layer in range(depth) if layer not in found]
    if missing or len(found) != depth:
        raise ModelError(
            f"{kind}: {stem} exists in {len(found)} of {depth} layers (missing: {_short(missing)}"
            "). Activation ratios over some of the layers are not comparable: nothing is measured"
        )
    return tuple(_site(model, layer, found[layer]) for layer in range(depth))


def not_called(site: Site) -> ModelError:
    """Return the error for a site that a forward pass goes past."""
    return ModelError(
        f"{site.name} was never called: this model computes its feed-forward output "
        "without that module (tensor-parallel slices?), so it cannot be measured"
    )


def activation_name(model: nn.Module) -> str:
    """Return the activation function's common name: relu, silu, gelu, relu2, ... or ``unknown``."""
    config = text_config(model)
    for key in ("hidden_activation", "hidden_act", "activation_function", "activation", "afn"):
        raw = getattr(config, key, None)
        if isinstance(raw, str):
            name = raw.lower()
            if name in ("swish", "silu"):
                return "silu"
            return "gelu" if "gelu" in name else name
    return _FIXED_ACTIVATIONS.get(str(getattr(config, "model_type", "")), "unknown")


def count_parameters(model: nn.Module) -> int:
    """Return the non-embedding parameter count (embedding, positions and output head left out)."""
    skipped: set[int] = set()
    getter: Any = getattr(model, "get_output_embeddings", None)
    head = getter() if callable(getter) else None
    for module in model.modules():
        if isinstance(module, nn.Embedding) or (head is not None and module is head):
            skipped.update(id(weight) for weight in module.parameters(recurse=False))
    return sum(p.numel() for p in model.parameters() if id(p) not in skipped)


def _is_output(name: str, module: nn.Module) -> bool:
    parts = name.split(".")
    if parts[-1] not in OUTPUT_NAMES or _FOREIGN.search(name):
        return False
    if parts[-1] in _AMBIGUOUS and (len(parts) < 2 or parts[-2] not in FFN_PARENTS):
        return False
    weight = getattr(module, "weight", None)
    return weight is not None and weight.dim() == 2


def _refuse_experts(model: nn.Module, kind: str) -> None:
    for name, module in model.named_modules():
        if _EXPERTS.search(name) and not _NO_EXPERTS.search(name):
            raise ModelError(
                f"{kind} routes tokens to experts ({name}): its neurons are not all offered to "
                "every token, so an activation ratio over them has another meaning. "
                "Mixture-of-experts models are not supported"
            )
        for key, parameter in module.named_parameters(recurse=False):
            if parameter.dim() == 3 and any(part in key for part in ("proj", "w1", "w2", "w3")):
                raise ModelError(
                    f"{kind} has fused expert weights ({name}.{key}): "
                    "mixture-of-experts models are not supported"
                )


def _site(model: nn.Module, layer: int, name: str) -> Site:
    module = model.get_submodule(name)
    weight = getattr(module, "weight", None)
    if weight is None or weight.dim() != 2:
        raise ModelError(f"{name} has no two-dimensional weight: it cannot be an output projection")
    if not weight.is_floating_point():
        raise ModelError(f"{name} holds {weight.dtype} weights: load the model unquantised")
    # GPT-2's Conv1D stores (inputs, outputs); every linear layer stores (outputs, inputs).
    transposed = not isinstance(module, nn.Linear) and type(module).__name__ == "Conv1D"
    parent = model.get_submodule(name.rpartition(".")[0])
    activation = next(
        (getattr(parent, key) for key in ACTIVATION_NAMES if _is_module(parent, key)), None
    )
    return Site(layer, name, module, activation, transposed)


def _is_module(parent: nn.Module, key: str) -> bool:
    return isinstance(getattr(parent, key, None), nn.Module)


def _short(numbers: Sequence[int]) -> str:
    head = ", ".join(str(number) for number in numbers[:8])
    return head + (", ..." if len(numbers) > 8 else "") if numbers else "none"
