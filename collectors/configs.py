"""What a model's configuration says about its text decoder."""

from __future__ import annotations

from typing import Any

from torch import nn

from sparsefit.collectors.weights import is_matrix


def text_config(model: nn.Module) -> Any:
    """Return the configuration of the text decoder (the model's own where there is only one).

    None for a module without one: models that are not built by transformers need none.
    """
    config: Any = getattr(model, "config", None)
    getter = getattr(config, "get_text_config", None)
    return getter() if callable(getter) else config


def input_embedding(model: nn.Module) -> nn.Module | None:
    """Return the embedding of a model's tokens; None where the model has none.

    Models of transformers say which it is. Of others it is taken for the one with the most rows:
    its width, and where it lies, are those of the others beside it.
    """
    getter: Any = getattr(model, "get_input_embeddings", None)
    if not callable(getter):
        found = [module for module in model.modules() if is_embedding(module)]
        return max(found, key=lambda module: module.weight.shape[0], default=None)  # type: ignore[union-attr, arg-type, return-value]
    try:
        held = getter()
    except (AttributeError, NotImplementedError):
        return None
    return held if isinstance(held, nn.Module) else None


def model_width(model: nn.Module) -> int | None:
    """Return the width of the residual stream; None where nothing says it."""
    width = getattr(text_config(model), "hidden_size", None)
    if isinstance(width, int):
        return width
    weight = getattr(input_embedding(model), "weight", None)
    return None if weight is None else int(weight.shape[-1])


def layer_count(model: nn.Module, stem: str) -> int:
    """Return the number of decoder layers.

    The configuration promises it. Where it uses a name of its own, the layers are those that lie
    side by side in the model.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    stem : str
        Name of a module in one of the layers, with ``*`` for the layer's number.
    """
    config = text_config(model)
    for key in ("num_hidden_layers", "n_layer", "n_layers", "num_layers"):
        count = getattr(config, key, None)
        if isinstance(count, int) and count > 0:
            return count
    return len(list(model.get_submodule(stack_of(stem)).children()))


def stack_of(stem: str) -> str:
    """Return the name of the module that holds the layers.

    >>> stack_of("model.layers.*.mlp.down_proj")
    'model.layers'
    """
    return stem.partition("*")[0].rstrip(".")


def is_embedding(module: nn.Module) -> bool:
    """Whether a module is an embedding; frameworks of parallel training have their own classes."""
    named = isinstance(module, nn.Embedding) or type(module).__name__.endswith("Embedding")
    return named and is_matrix(getattr(module, "weight", None))
