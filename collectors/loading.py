"""Loading one checkpoint's model and tokenizer, with every damage turned into a typed error."""

from __future__ import annotations

import importlib.util
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsefit.checks import check_choice
from sparsefit.collectors.checkpoints import Checkpoint
from sparsefit.collectors.loader import Loader, find_loader, label_of, load_with
from sparsefit.collectors.refusals import encoder_decoder
from sparsefit.collectors.weights import parameters_of
from sparsefit.errors import (
    ArgumentError,
    CheckpointError,
    MissingDependencyError,
    ModelError,
    SparsefitError,
    first_line,
    quoted,
)

AUTO = "auto"
"""The device of a model that is spread over those that there are."""
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# What transformers says where its table of causal language models lacks a configuration.
_UNKNOWN = "Unrecognized configuration class"
# What torch.compile and data parallelism put before the names of the weights of a model that they
# wrap.
_WRAPPED = r"^(_orig_mod\.|module\.)+"
# What sharded training leaves in place of weights: DeepSpeed, then FSDP.
_SHARDED = ("global_step*", "zero_pp_rank_*", "mp_rank_*", "pytorch_model_fsdp*", "*.distcp")


@dataclass(frozen=True)
class LoadOptions:
    """How models are loaded.

    Attributes
    ----------
    device : str
        Torch device, or ``auto``: spread over the devices that there are (by accelerate), and over
        memory and disk where these are too small.
    dtype : str
        ``float32``, ``bfloat16`` or ``float16``.
    trust_remote_code : bool
        Allow code shipped with the checkpoint to run; said in the output where it did.
    loader : callable or str, optional
        Loads a checkpoint's model in place of transformers: a function of a `Checkpoint` that
        returns a `torch.nn.Module` with its weights, or the place of one
        (``package.module:function``, ``path/to/file.py:function``). The module's forward pass maps
        token ids, shape (windows, length), to logits, shape (windows, length, vocabulary). Its
        parameters are cast to `dtype` (its buffers stay as they are), and it is moved to `device`;
        on ``auto`` it stays where the loader put it.

    Raises
    ------
    ArgumentError
        The device or dtype is none, or cannot be used here, or there is no such loader.
    MissingDependencyError
        The device is ``auto`` and accelerate is not installed.
    """

    device: str = "cpu"
    dtype: str = "float32"
    trust_remote_code: bool = False
    loader: str | Loader | None = None
    # Imported once, before anything is measured.
    _call: Loader | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_choice("dtype", self.dtype, tuple(DTYPES))
        if self.loader is not None:
            object.__setattr__(self, "_call", find_loader(self.loader))
        if self.device == AUTO:
            if self.loader is None and importlib.util.find_spec("accelerate") is None:
                raise MissingDependencyError.for_extra(
                    "accelerate", "collect", "spreading a model over devices (device=auto)"
                )
            return
        try:
            device = torch.device(self.device)
        except (RuntimeError, TypeError):
            raise ArgumentError(
                f"device={quoted(self.device)} is not a torch device, nor auto"
            ) from None
        # A device object would do for torch, but not for the record of what was measured.
        object.__setattr__(self, "device", str(device))
        if device.type == "cuda" and not torch.cuda.is_available():
            raise ArgumentError(f"device={quoted(self.device)}: this torch sees no CUDA device")
        try:
            float(torch.ones(1, dtype=torch.float64, device=device))
        except (RuntimeError, AssertionError, TypeError, ImportError) as error:
            # A backend that is not built in, the number of a device that is not there, or one
            # without float64 (Apple's) or without values (meta).
            raise ArgumentError(
                f"device={quoted(self.device)} cannot be used here ({first_line(error)[:80]})"
            ) from None

    @property
    def record(self) -> dict[str, Any]:
        """What is kept of them beside a measurement."""
        kept = {
            "device": self.device,
            "dtype": self.dtype,
            "trust_remote_code": self.trust_remote_code,
        }
        return kept if self.loader is None else {**kept, "loader": label_of(self.loader)}

    def call_loader(self, checkpoint: Checkpoint) -> nn.Module:
        """Load a checkpoint's model with the loader, see `load_with`."""
        assert self.loader is not None and self._call is not None
        return load_with(self._call, label_of(self.loader), checkpoint)


def load_model(checkpoint: Checkpoint, options: LoadOptions) -> nn.Module:
    """Load a checkpoint for inference.

    Raises
    ------
    CheckpointError
        Missing or damaged files, missing or mismatched weights, weights that are not finite, or a
        folder that needs remote code without permission.
    ModelError
        An encoder-decoder, or another model that is no causal language model.
    """
    if options.loader is None:
        model = _transformers_model(checkpoint, options)
    else:
        model = options.call_loader(checkpoint)
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(DTYPES[options.dtype])
    if options.device != AUTO:
        model = model.to(options.device)
    model.eval()
    for name, value in parameters_of(model):
        if not bool(torch.isfinite(value).all()):
            raise CheckpointError(f"{checkpoint.name}: {name} holds NaN or infinite weights")
    return model


def _transformers_model(checkpoint: Checkpoint, options: LoadOptions) -> nn.Module:
    where, extra = _source(checkpoint)
    if (_config(checkpoint) or {}).get("is_encoder_decoder") is True:
        raise encoder_decoder(checkpoint.name)
    model, info = _read(checkpoint, where, options, extra)
    if any(re.match(_WRAPPED, str(name)) for name in info.get("unexpected_keys", ())):
        model, info = _read(checkpoint, where, options, {**extra, "key_mapping": {_WRAPPED: ""}})
    # transformers fills absent weights with random numbers and only logs it.
    for key, what in (("missing_keys", "missing"), ("mismatched_keys", "of another shape")):
        names = sorted(str(name) for name in info.get(key, ()))
        if names:
            raise CheckpointError(
                f"{checkpoint.name}: {len(names)} weights are {what}: {', '.join(names[:4])}"
            )
    return model


def _read(
    checkpoint: Checkpoint, where: str, options: LoadOptions, extra: dict[str, Any]
) -> tuple[nn.Module, dict[str, Any]]:
    """Read a model, and which of its weights the files hold."""
    transformers = _transformers()
    given = {
        "dtype": DTYPES[options.dtype],
        "trust_remote_code": options.trust_remote_code,
        # Pickled weights are only ever read by the restricted unpickler.
        "weights_only": True,
        "output_loading_info": True,
        **({"device_map": AUTO} if options.device == AUTO else {}),
        **extra,
    }
    try:
        try:
            found = transformers.AutoModelForCausalLM.from_pretrained(where, **given)
        except ValueError as error:
            saved = _saved_class(where, options, extra) if _UNKNOWN in str(error) else None
            if saved is None:
                raise
            found = saved.from_pretrained(where, **given)
        return found  # type: ignore[no-any-return]
    except SparsefitError:
        raise
    except Exception as error:
        if _UNKNOWN in str(error):
            kind = (_config(checkpoint) or {}).get("model_type", "its configuration")
            raise ModelError(
                f"{checkpoint.name}: transformers has no causal language model for {kind}. "
                "If it wraps one, save that language model on its own"
            ) from error
        if options.device == AUTO and "offload_folder" in str(error):
            raise CheckpointError(
                f"{checkpoint.name}: does not fit the devices and memory here, and weights of this "
                "format cannot stay on the disk. Save them as model.safetensors"
            ) from error
        sharded = [name for name in _SHARDED if any(Path(where).glob(name))]
        if isinstance(error, OSError) and sharded:
            raise CheckpointError(
                f"{checkpoint.name}: no model.safetensors or pytorch_model.bin, only the state of "
                f"a sharded training run ({', '.join(sharded)}). Gather its weights first: "
                "zero_to_fp32.py for DeepSpeed, accelerate merge-weights for FSDP"
            ) from error
        raise CheckpointError(
            f"{checkpoint.name}: cannot be loaded ({first_line(error)})"
        ) from error


def _saved_class(where: str, options: LoadOptions, extra: dict[str, Any]) -> Any:
    """Return the class that a configuration names, where it is one that generates text.

    Language models inside multimodal ones have no place in the table of causal language models.
    """
    transformers = _transformers()
    keys = {key: value for key, value in extra.items() if key != "key_mapping"}
    config = transformers.AutoConfig.from_pretrained(
        where, trust_remote_code=options.trust_remote_code, **keys
    )
    for name in getattr(config, "architectures", None) or ():
        found = getattr(transformers, name, None)
        if isinstance(found, type) and issubclass(found, transformers.GenerationMixin):
            return found
    return None


def load_tokenizer(checkpoint: Checkpoint, options: LoadOptions) -> Any:
    """Load a checkpoint's tokenizer; None where it ships none."""
    transformers = _transformers()
    where = checkpoint.source
    extra: dict[str, Any] = {}
    if checkpoint.revision is not None or Path(where).suffix == ".gguf":
        where, extra = _source(checkpoint)
    elif not any(
        (Path(where) / name).is_file()
        for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
    ):
        return None
    try:
        return transformers.AutoTokenizer.from_pretrained(
            where, trust_remote_code=options.trust_remote_code, **extra
        )
    except Exception as error:
        raise CheckpointError(
            f"{checkpoint.name}: its tokenizer cannot be loaded ({first_line(error)})"
        ) from error


def context_length(checkpoint: Checkpoint) -> int | None:
    """Longest sequence that a checkpoint's configuration allows, or None where it does not say."""
    config = _config(checkpoint)
    if config is None:
        return None
    text = config.get("text_config")
    lengths = [
        part[key]
        for part in (config, text if isinstance(text, dict) else {})
        for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
        if isinstance(part.get(key), int)
    ]
    return min(lengths) if lengths else None


def _source(checkpoint: Checkpoint) -> tuple[str, dict[str, Any]]:
    path = Path(checkpoint.source)
    if checkpoint.revision is not None:
        return checkpoint.source, {"revision": checkpoint.revision}
    if path.suffix == ".gguf":
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file")
        return str(path.parent), {"gguf_file": path.name}
    if path.is_file():
        raise CheckpointError(
            f"{checkpoint.name}: transformers reads folders, and no single file of this kind. Give "
            "a function that loads it (--loader)"
        )
    if (path / "adapter_config.json").is_file():
        raise CheckpointError(
            f"{checkpoint.name}: holds an adapter (LoRA). Merge it into its model, and save the "
            "whole"
        )
    if _config(checkpoint) is None:
        raise CheckpointError(
            f"{checkpoint.name}: config.json is missing. Copy the model's into the folder "
            "(save_pretrained writes it, states of accelerate do not hold it), or give a function "
            "that loads the model (--loader)"
        )
    return str(path), {}


def _config(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Return a checkpoint folder's configuration as it was written; None where there is none."""
    path = Path(checkpoint.source) / "config.json"
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{checkpoint.name}: config.json cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{checkpoint.name}: config.json is not an object")
    return config


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingDependencyError.for_extra(
            "transformers", "collect", "measuring checkpoints"
        ) from error
    transformers.utils.logging.disable_progress_bar()
    return transformers
