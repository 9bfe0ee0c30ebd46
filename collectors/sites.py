"""Where the feed-forward neurons of a causal language model live.

A *site* is the output projection of one decoder layer's feed-forward network. Its input ``h`` holds
one number per neuron, so one hook there serves gated, fused-gate and plain networks alike (Eq. 2:
``n_i = W_out[:, i] h_i`` and ``||n_i|| = |h_i| ||W_out[:, i]||``). The activation module is a
second, optional hook for the metrics that look at ``s = sigma(W_gate x)`` itself.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sparsefit.collectors.activations import find_activation
from sparsefit.collectors.configs import (
    input_embedding,
    is_embedding,
    layer_count,
    stack_of,
    text_config,
)
from sparsefit.collectors.refusals import (
    FOREIGN,
    not_found,
    refuse_encoder,
    refuse_experts,
    refuse_wrapped,
    stem_of,
)
from sparsefit.collectors.unnamed import by_shape
from sparsefit.collectors.weights import (
    check_values,
    is_matrix,
    refuse_without_values,
    stored,
)
from sparsefit.errors import ArgumentError, ModelError

# Last component of the output projection's module name, over the model families of transformers and
# frameworks for training (linear_fc2: Megatron; proj: LitGPT; linear2: PyTorch).
OUTPUT_NAMES = (
    "down_proj",
    "fc2",
    "fc_out",
    "linear_fc2",
    "linear2",
    "dense_4h_to_h",
    "c_proj",
    "w2",
    "proj",
    "Wo",
    "output_linear",
    "dense",
)
# Names that are also used for other things (c_proj: the attention output of GPT-2), with the
# parents below which they count.
_NETWORKS = ("mlp", "ffn", "feed_forward", "shared_mlp")
_PARENTS = {
    **dict.fromkeys(("c_proj", "w2", "proj", "Wo", "output_linear"), _NETWORKS),
    # BERT and its many descendants: layer.N.output.dense.
    "dense": ("output",),
}


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
    by : str
        How it was found: by its ``name``, by a ``pattern``, or by its ``shape``.
    function : str or None
        Name of the function that returned the activations, where a trial saw one (`try_model`).
    """

    layer: int
    name: str
    projection: nn.Module = field(repr=False)
    activation: nn.Module | None = field(repr=False)
    transposed: bool
    by: str = "name"
    function: str | None = None

    @property
    def weight(self) -> torch.Tensor:
        """Projection weight seen as (d_model, d_ff); read anew each time where it is offloaded."""
        weight = stored(self.projection, "weight")
        assert weight is not None
        return weight.t() if self.transposed else weight

    @property
    def bias(self) -> torch.Tensor | None:
        """Output bias, (d_model,); it belongs to no neuron and is never dropped."""
        return stored(self.projection, "bias")

    @property
    def d_model(self) -> int:
        """Width of the model."""
        return self._shape[0]

    @property
    def d_ff(self) -> int:
        """Number of neurons."""
        return self._shape[1]

    @property
    def _shape(self) -> tuple[int, int]:
        weight: torch.Tensor = self.projection.weight  # type: ignore[assignment]
        rows, columns = weight.shape
        return (columns, rows) if self.transposed else (rows, columns)

    def column_norms(self) -> torch.Tensor:
        """Norms ``||W_out[:, i]||`` in float32, shape (d_ff,)."""
        return torch.linalg.vector_norm(self.weight.float(), dim=0)


def find_sites(model: nn.Module, pattern: str | None = None) -> tuple[Site, ...]:
    """Find the feed-forward output projection of every decoder layer.

    Parameters
    ----------
    model : torch.nn.Module
        A causal language model: of transformers, or any module that maps token ids, (windows,
        length), to logits.
    pattern : str, optional
        Shell-style pattern of the projections' qualified names, e.g.
        ``"model.layers.*.mlp.down_proj"``; by default known names are searched, and where there is
        none, matrices of the right shape (`sparsefit.collectors.trial` makes sure of those).

    Returns
    -------
    tuple of Site
        One site per decoder layer, in order.

    Raises
    ------
    ModelError
        Mixture-of-experts models, decoders of an encoder-decoder, layers without a site, or more
        than one site in a layer: nothing partial is ever measured.
    ArgumentError
        Not a model at all.
    """
    if not isinstance(model, nn.Module):
        raise ArgumentError(
            f"model must be a causal language model (a torch.nn.Module), got {type(model).__name__}"
        )
    kind = type(model).__name__
    refuse_wrapped(model)
    refuse_experts(model)
    refuse_encoder(model)
    refuse_without_values(model)
    if pattern is None:
        names = output_names(model)
    else:
        names = [name for name, _ in model.named_modules() if fnmatch.fnmatchcase(name, pattern)]
    groups: dict[str, dict[int, str]] = {}
    for name in names:
        place = stem_of(name)
        if place is not None:
            groups.setdefault(place[0], {})[place[1]] = name
    by = "name" if pattern is None else "pattern"
    if not groups and pattern is None:
        groups, by = by_shape(model), "shape"
    if not groups:
        raise not_found(model, pattern)
    if pattern is None:
        groups = _beside_the_embedding(model, groups)
    if len(groups) > 1 and by == "shape":
        raise not_found(model, pattern)
    if len(groups) > 1:
        raise ModelError(
            f"{kind} has several candidates for the feed-forward output projection: "
            f"{', '.join(sorted(groups))}. Choose one with a pattern (--sites)"
        )
    ((stem, found),) = groups.items()
    depth = layer_count(model, stem)
    missing = [layer for layer in range(depth) if layer not in found]
    if missing or len(found) != depth:
        raise ModelError(
            f"{kind}: {stem} exists in {len(found)} of {depth} layers (missing: {_short(missing)}"
            "). Activation ratios over some of the layers are not comparable: nothing is measured"
        )
    sites = tuple(_site(model, layer, found[layer], by) for layer in range(depth))
    _check_widths(model, sites)
    return sites


def output_names(model: nn.Module) -> list[str]:
    """Names of all modules that are called like feed-forward output projections."""
    return [name for name, module in model.named_modules() if _is_output(name, module)]


def not_called(site: Site) -> ModelError:
    """Return the error for a site that a forward pass goes past."""
    return ModelError(
        f"{site.name} was never called: this model computes its feed-forward output "
        "without that module (tensor-parallel slices?), so it cannot be measured"
    )


def called_often(site: Site) -> ModelError:
    """Return the error for a site that a forward pass uses more than once."""
    return ModelError(
        f"{site.name} is called more than once in a forward pass: layers that are run repeatedly "
        "have no single activation ratio, and are not supported"
    )


def count_parameters(model: nn.Module, sites: Sequence[Site]) -> int:
    """Return the parameter count of the layers' stack, embeddings and output head left out.

    Vision towers and other parts beside the stack do not count.
    """
    place = stem_of(sites[0].name)
    assert place is not None
    stack = model.get_submodule(stack_of(place[0]).rpartition(".")[0])
    getter: Any = getattr(model, "get_output_embeddings", None)
    head: nn.Module | None = getter() if callable(getter) else None
    embeddings = [module for module in stack.modules() if is_embedding(module)]
    skipped = {id(weight) for module in embeddings for weight in module.parameters(recurse=False)}
    if head is not None:
        skipped.update(id(weight) for weight in head.parameters(recurse=False))
    if not callable(getter):
        # Nothing says which is the head: it has one output for each token of the vocabulary.
        rows = {module.weight.shape[0] for module in embeddings}
        inside = set(model.get_submodule(stack_of(place[0])).modules())
        for module in stack.modules():
            own = [] if module in inside else list(module.parameters(recurse=False))
            if any(is_matrix(weight) and weight.shape[0] in rows for weight in own):
                skipped.update(id(weight) for weight in own)
    return sum(p.numel() for p in stack.parameters() if id(p) not in skipped)


def _beside_the_embedding(
    model: nn.Module, groups: dict[str, dict[int, str]]
) -> dict[str, dict[int, str]]:
    """Keep the candidates that lie nearest to the embedding of the text: other towers lie apart."""
    embedding = input_embedding(model)
    place = next((name for name, module in model.named_modules() if module is embedding), "")
    while place:
        place = place.rpartition(".")[0]
        near = {stem: found for stem, found in groups.items() if stem.startswith(f"{place}.")}
        if near:
            return near
    return groups


def _is_output(name: str, module: nn.Module) -> bool:
    parts = name.split(".")
    if parts[-1] not in OUTPUT_NAMES or FOREIGN.search(name):
        return False
    parents = _PARENTS.get(parts[-1])
    if parents is not None and (len(parts) < 2 or parts[-2] not in parents):
        return False
    return is_matrix(getattr(module, "weight", None))


def _site(model: nn.Module, layer: int, name: str, by: str) -> Site:
    module = model.get_submodule(name)
    weight = getattr(module, "weight", None)
    if not is_matrix(weight):
        raise ModelError(f"{name} has no two-dimensional weight: it cannot be an output projection")
    check_values(name, module)
    # GPT-2's Conv1D stores (inputs, outputs); every linear layer stores (outputs, inputs).
    transposed = not isinstance(module, nn.Linear) and type(module).__name__ == "Conv1D"
    return Site(layer, name, module, find_activation(model, name), transposed, by)


def _check_widths(model: nn.Module, sites: Sequence[Site]) -> None:
    """Raise ModelError unless every projection returns to the width of the residual stream."""
    stated = getattr(text_config(model), "hidden_size", None)
    width = stated if isinstance(stated, int) else sites[0].d_model
    for site in sites:
        if site.d_model != width:
            raise ModelError(
                f"{site.name} maps {site.d_ff} values to {site.d_model}, the model is "
                f"{width} wide: this is not the output projection of a feed-forward network. "
                "Name that with a pattern"
            )


def _short(numbers: Sequence[int]) -> str:
    head = ", ".join(str(number) for number in numbers[:8])
    return head + (", ..." if len(numbers) > 8 else "") if numbers else "none"
