"""What a model's configuration says about its text decoder."""

from __future__ import annotations

from typing import Any

from torch import nn

from sparsefit.errors import ModelError


def text_config(model: nn.Module) -> Any:
    """Return the configuration of the text decoder (the model's own where there is only one).

    Raises
    ------
    ModelError
        The module has no configuration.
    """
    config: Any = getattr(model, "config", None)
    if config is None:
        inside = " (the one inside, model.module)" if hasattr(model, "module") else ""
        raise ModelError(
            f"{type(model).__name__} has no configuration: give a causal language model of "
            f"transformers{inside}"
        )
    getter = getattr(config, "get_text_config", None)
    return getter() if callable(getter) else config


def input_embedding(model: nn.Module) -> nn.Module | None:
    """Return the embedding of a model's tokens; None where the model does not say."""
    getter: Any = getattr(model, "get_input_embeddings", None)
    try:
        found = getter() if callable(getter) else None
    except (AttributeError, NotImplementedError):
        return None
    return found if isinstance(found, nn.Module) else None


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


def vocabulary_size(model: nn.Module) -> int:
    """Return the number of token ids that a model knows.

    Raises
    ------
    ModelError
        The configuration does not say.
    """
    size = getattr(text_config(model), "vocab_size", None)
    if not isinstance(size, int):
        raise ModelError(
            f"the configuration of {type(model).__name__} states no vocab_size: token ids cannot "
            "be checked against it. Set it"
        )
    return size
