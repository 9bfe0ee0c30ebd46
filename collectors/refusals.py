"""Models that are not measured, and why: experts, encoders, networks that are not found."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from sparsefit.collectors.configs import model_width
from sparsefit.collectors.weights import is_matrix
from sparsefit.errors import ModelError

# Other modalities, and what joins them to the text.
_TOWERS = (
    r"(^|[._])(vision|visual|image|img|video|audio|speech|qformer|projector|connector)([._]|$)"
)
# These, attention, adapters and norms with a gate: no feed-forward network of the text decoder.
FOREIGN = re.compile(
    r"(^|[._])(attn|attention|lora|adapters?)([._]|$)|_attn\b|_attention\b|crossattention"
    rf"|_layer_?norm\.|{_TOWERS}"
)
# Recurrent and convolutional parts of a layer, which also map back to the model's width.
MIXERS = re.compile(r"(^|[._])(o_proj|out_proj|mamba|mixer|ssm|conv|temporal_block)([._]|$)")
# A feed-forward network, whatever its parts are called.
_NETWORKS = re.compile(r"(^|[._])(mlp|ffn|ff|ffwd|feed_?forward)([._]|$)")
_EXPERTS = re.compile(r"(^|[._])(experts?|shared_experts?|block_sparse_moe|moe|router)([._]|$)")
# Gemma 3n's routers mix residual streams; no token is routed.
_NO_EXPERTS = re.compile(r"(^|\.)altup\.")
# Weights of all experts in one parameter, (experts, inputs, outputs).
_FUSED = re.compile(r"((gate|up|down|gate_up|input|output)_(proj|linear)|w[123])(_weight)?$")
_WRAPPERS = (
    *("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel"),
    "DeepSpeedEngine",
)
_CROSS = re.compile(r"(^|\.)(encoder_attn|enc_dec_attn|cross_?attn|cross_?attention)(\.|$)", re.I)


def stem_of(name: str) -> tuple[str, int] | None:
    """Split a module's name into its stem and its layer (the first number); None without one.

    >>> stem_of("model.layers.7.mlp.down_proj")
    ('model.layers.*.mlp.down_proj', 7)
    """
    parts = name.split(".")
    at = next((at for at, part in enumerate(parts) if part.isdigit()), None)
    if at is None:
        return None
    return ".".join([*parts[:at], "*", *parts[at + 1 :]]), int(parts[at])


def refuse_wrapped(model: nn.Module) -> None:
    """Raise ModelError for what data-parallel training wraps around a model."""
    kind = type(model).__name__
    if kind in _WRAPPERS and isinstance(getattr(model, "module", None), nn.Module):
        raise ModelError(
            f"{kind} is wrapped around a model for training: give the one inside, model.module"
        )


def refuse_experts(model: nn.Module) -> None:
    """Raise ModelError for a mixture of experts."""
    kind = type(model).__name__
    for name, module in model.named_modules():
        if _EXPERTS.search(name) and not _NO_EXPERTS.search(name):
            raise ModelError(
                f"{kind} routes tokens to experts ({name}): its neurons are not all offered to "
                "every token, so an activation ratio over them has another meaning. "
                "Mixture-of-experts models are not supported"
            )
        for key, parameter in module.named_parameters(recurse=False):
            if parameter.dim() == 3 and _FUSED.search(key):
                raise ModelError(
                    f"{kind} has fused expert weights ({name}.{key}): "
                    "mixture-of-experts models are not supported"
                )


def encoder_decoder(name: str) -> ModelError:
    """Return the error for a model, or a checkpoint, that is an encoder-decoder."""
    return ModelError(
        f"{name} is an encoder-decoder: on text alone its decoder is not the model that was "
        "trained. Only causal language models can be measured"
    )


def refuse_encoder(model: nn.Module) -> None:
    """Raise ModelError for an encoder-decoder, and for a decoder that attends to an encoder."""
    kind = type(model).__name__
    if getattr(getattr(model, "config", None), "is_encoder_decoder", False) is True:
        raise encoder_decoder(kind)
    # What joins an image to the text may attend to the image.
    parts = (part for part in model.named_modules() if not re.search(_TOWERS, part[0]))
    # Megatron leaves an empty module in the place of an attention that is not there.
    held = (name for name, part in parts if next(part.parameters(), None) is not None)
    name = next((name for name in held if _CROSS.search(name)), None)
    if name is not None:
        raise ModelError(
            f"{kind} attends to an encoder ({name}): on text alone it is not the "
            "model that was trained. Encoder-decoders are not supported; a decoder that was "
            "trained on its own is loaded without cross-attention"
        )


def refuse_other_model(
    name: str, found: Mapping[str, Any], other: str, known: Mapping[str, Any]
) -> None:
    """Raise ModelError for a checkpoint that is not of the model that its run is of."""
    differing = [key for key in known if found[key] != known[key]]
    if differing:
        said = ", ".join(f"{key} {found[key]}, not {known[key]}" for key in differing)
        raise ModelError(
            f"{name} is another model than {other}: {said}. Measure different models as different "
            "runs"
        )


def not_found(model: nn.Module, pattern: str | None) -> ModelError:
    """Return the error for a model without a known output projection, with what could be one."""
    kind = type(model).__name__
    if pattern is not None:
        start = f"no module of {kind} has a name like {pattern!r} with the layer's number in it"
    else:
        start = f"no feed-forward output projection found in {kind}"
    hidden = _hidden_weights(model)
    if hidden is not None:
        return ModelError(f"{start}: {hidden}")
    found = list(candidates(model))
    if not found:
        return ModelError(
            f"{start}, and no layer holds a matrix that could be one: a model without feed-forward "
            "networks (a state-space model?) has no activation ratio"
        )
    listed = ", ".join(repr(name) for name in found[:6])
    return ModelError(
        f"{start}. Name it with a pattern (--sites), if it is one of these: {listed}"
        + (", ..." if len(found) > 6 else "")
    )


def _hidden_weights(model: nn.Module) -> str | None:
    """Say why a model's matrices cannot be seen; None where they can."""
    if any(parameter.numel() == 0 for parameter in model.parameters()):
        return (
            "some of its weights are empty, as where a model is sharded over processes. Measure a "
            "gathered checkpoint"
        )
    config = getattr(model, "config", None)
    # PyTorch's own quantised modules hold no parameters, others hold one-dimensional ones.
    hides = any(callable(getattr(module, "weight", None)) for module in model.modules())
    if hides or getattr(config, "quantization_config", None) is not None:
        return "its weights are quantised. Load the model unquantised"
    return None


def candidates(model: nn.Module, *, wide: bool = False) -> dict[str, dict[int, str]]:
    """Find matrices that map another width to the model's, outside attention and recurrence.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    wide : bool
        Only those that map a greater width.

    Returns
    -------
    dict
        Stem (a pattern) -> layer -> qualified name.
    """
    width = model_width(model)
    found: dict[str, dict[int, str]] = {}
    for name, module in _matrices(model):
        place = stem_of(name)
        mixer = MIXERS.search(name) and not _NETWORKS.search(name)
        if place is None or FOREIGN.search(name) or mixer:
            continue
        shape = tuple(module.weight.shape)  # type: ignore[union-attr, arg-type]
        out, into = shape[::-1] if type(module).__name__ == "Conv1D" else shape
        if out == width and (into > out if wide else into != out):
            found.setdefault(place[0], {})[place[1]] = name
    return found


def _matrices(model: nn.Module) -> Iterable[tuple[str, nn.Module]]:
    for name, module in model.named_modules():
        if not isinstance(module, nn.Embedding) and is_matrix(getattr(module, "weight", None)):
            yield name, module
