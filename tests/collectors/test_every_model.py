"""Every causal language model of the installed transformers: measured rightly, or refused.

Configurations are shrunk by the names of their fields, so that models which nobody here has seen
are gone through as well.
"""

from __future__ import annotations

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import CONFIG_MAPPING
from transformers.models.auto import modeling_auto

from sparsefit.collectors import Checkpoint, LoadOptions, Settings, measure_run, reference
from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint
from sparsefit.collectors.forward import forward_losses
from sparsefit.collectors.loading import load_model
from sparsefit.collectors.rules import OutputNorm, TopK
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import CheckpointError, ModelError

pytestmark = pytest.mark.filterwarnings("ignore")

NAMES = sorted(modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
VISUAL = sorted(set(modeling_auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES) - set(NAMES))
# A few at a time: workers share them out.
PARTS = 6

# Size -> names of the fields that get it.
SIZES = {
    2: "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers depth "
    "num_decoder_layers num_key_value_heads num_experts_per_tok moe_k mamba_expand mlp_ratio "
    "linear_num_key_heads n_mamba_heads index_n_heads moe_topk num_global_key_value_heads",
    4: "num_attention_heads n_head n_heads num_heads decoder_attention_heads attention_heads "
    "encoder_attention_heads num_experts num_local_experts n_routed_experts moe_num_experts "
    "linear_num_value_heads mamba_dt_rank rotary_dim swa_num_attention_heads",
    8: "head_dim dim_head d_kv global_head_dim swa_head_dim q_lora_rank kv_lora_rank o_lora_rank "
    "qk_nope_head_dim qk_rope_head_dim v_head_dim index_head_dim mamba_n_heads mamba_d_head "
    "mamba_d_state mamba_num_heads mamba_head_dim mamba_headdim chunk_size mamba_chunk_size "
    "state_size ssm_state_size linear_key_head_dim linear_value_head_dim laurel_rank "
    "hidden_size_per_layer_input relative_attention_num_buckets",
    1: "mamba_n_groups n_groups mamba_ngroups num_mem_blocks n_shared_experts n_group topk_group "
    "first_k_dense_replace num_shared_experts",
    0: "num_kv_shared_layers encoder_layerdrop",
    16: "moe_intermediate_size sliding_window window_size attention_window attention_window_size "
    "local_attention_window num_mel_bins",
    14: "patch_size",
    28: "image_size",
    32: "hidden_size d_model n_embd dim_model d_embed dim emb_dim embedding_size lru_width "
    "input_embedding_size output_embedding_size word_embed_proj_dim out_hidden_size projection_dim",
    48: "intermediate_size ffn_dim d_ff n_inner d_inner dff dim_ff decoder_ffn_dim encoder_ffn_dim "
    "ffn_hidden_size feed_forward_size intermediate_size_mlp shared_intermediate_size block_ff_dim",
    64: "vocab_size vocab_size_per_layer_input d_vocab max_position_embeddings n_positions n_ctx "
    "max_seq_len seq_length max_sequence_length max_source_positions max_target_positions "
    "mamba_d_ssm",
}
SMALL = {name: size for size, names in SIZES.items() for name in names.split()}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
TURNED = {
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
}
# What some need beyond.
MORE: dict[str, dict[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global"], 2]]},
    "minicpm3": {"num_key_value_heads": 4},
    "youtu": {"num_key_value_heads": 4},
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "activation_sparsity_pattern": [0.5, 0.0],
    },
    "reformer": {
        "is_decoder": True,
        "axial_pos_embds": False,
        "attn_layers": ["local", "local"],
        "local_attn_chunk_length": 8,
        "attention_head_size": 8,
    },
    "zamba": {"layers_block_type": ["mamba", "hybrid"]},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"], "n_mamba_heads": 8},
}
# Read in both directions, unless told that they are decoders.
DECODERS = (
    *("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie"),
    *("megatron-bert", "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer"),
    *("xlm-roberta", "xlm-roberta-xl"),
)
# Count positions in three directions.
TURNING = (
    *("qwen2_vl", "qwen2_5_vl", "qwen2_5_omni_thinker", "glm4v", "glm46v", "glmga", "glm_ocr"),
    "paddleocr_vl",
)
MORE |= {name: {"is_decoder": True} for name in DECODERS}
MORE |= {name: {"text": TURNED} for name in TURNING}
# One way to say no, of every refusal: what the model is, and never a library's own words alone.
REASONS = re.compile(
    r"experts|encoder|without feed-forward networks|several candidates|if it is one of these"
    r"|sees later tokens|\d of \d layers|more than once"
    r"|states of shape|no causal language model"
)
# Run on more than token ids: images, a language of its own.
UNRUN = {"xmod"}


def shrunk(kind: type, more: dict[str, Any]) -> Any:
    """A tiny configuration of a class, and of those inside it."""
    fields: set[str] = set()
    for base in inspect.getmro(kind):
        if base.__module__.startswith("transformers.models"):
            fields |= set(getattr(base, "__annotations__", ()))
            if "__init__" in vars(base):
                fields |= set(inspect.signature(base.__init__).parameters)
    options = {name: size for name, size in SMALL.items() if name in fields} | TOKENS
    aliases = getattr(kind, "attribute_map", {})
    options |= {to: SMALL[name] for name, to in aliases.items() if name in SMALL}
    for name, inner in (getattr(kind, "sub_configs", None) or {}).items():
        if inner is transformers.AutoConfig:
            inner = type(getattr(kind(), name))
        options[name] = shrunk(inner, more.get("text", {}) if "text" in name else {}).to_dict()
    options |= {name: value for name, value in more.items() if name != "text"}
    for _ in range(8):
        try:
            return kind(**options)
        except Exception as error:
            # Fields that are lists or fractions here are numbers elsewhere.
            found = re.search(r"[Ff]ield '(\w+)'", str(error))
            if found is None or options.pop(found[1], None) is None:
                raise
    return kind(**options)


def made(name: str, auto: Any) -> Any:
    torch.manual_seed(0)
    config = shrunk(CONFIG_MAPPING[name], MORE.get(name, {}))
    with torch.device("meta"):
        count = sum(p.numel() for p in auto.from_config(config).parameters())
    if count > 20_000_000:
        raise ValueError(f"{count} parameters: sizes under names of its own")
    model = auto.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Many begin with weights too small to matter, or with zeros.
            if parameter.dim() == 2 and not float(parameter.std()) > 0.1:
                parameter.normal_(0, 0.15)
    return model


class Products(TorchDispatchMode):
    """Remembers what was multiplied element by element, and what activation functions returned."""

    FUNCTIONS = ("silu", "gelu", "relu", "sigmoid", "tanh", "mish", "hardtanh")

    def __init__(self) -> None:
        super().__init__()
        self.products: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []
        self.activated: list[torch.Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if name == "mul" and isinstance(args[1], torch.Tensor):
            self.products.append((result, args[0], args[1]))
        if name in self.FUNCTIONS:
            self.activated.append(result)
        return result


def same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.numel() == b.numel() and torch.equal(a.reshape(-1), b.reshape(-1))


def check_activations(loaded: LoadedCheckpoint, ids: torch.Tensor) -> None:
    """What `topk` and `fat` rank is one factor of h, and the other is no activation's output."""
    seen: dict[int, list[torch.Tensor]] = {site.layer: [] for site in loaded.sites}
    handles = []
    for site in loaded.sites:
        assert site.activation is not None

        def activation(_: Any, given: Any, out: torch.Tensor, at: int = site.layer) -> None:
            # A module may be shared by all layers: until the projection runs, it is this one's.
            if len(seen[at]) < 2 and all(len(seen[other]) == 2 for other in range(at)):
                seen[at] = [out]

        def projection(_: Any, given: Any, at: int = site.layer) -> None:
            seen[at].append(given[0])

        handles.append(site.activation.register_forward_hook(activation))
        handles.append(site.projection.register_forward_pre_hook(projection))
    with torch.no_grad(), Products() as watched:
        loaded.model(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    for s, h in seen.values():
        if same(s, h):
            continue
        factors = [(a, b) for out, a, b in watched.products if same(out, h)]
        others = [b if same(a, s) else a for a, b in factors if same(a, s) or same(b, s)]
        # Between the two there may be a norm (BitNet); else s is a factor, and the other is not.
        normed = not factors or not any(a.numel() == b.numel() for a, b in factors)
        assert others or normed, "h is a product, and s none of its factors"
        for other in others:
            assert not any(same(other, out) for out in watched.activated), "s is the value, not s"


def check(loaded: LoadedCheckpoint, windows: EvaluationText) -> None:
    model, sites = loaded.model, loaded.sites
    ids = torch.from_numpy(windows.tokens)
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
    own = float(torch.nn.functional.cross_entropy(logits[:, :-1].mT.float(), ids[:, 1:]))
    layers = len(sites)
    dense = loaded.run(windows, OutputNorm(sites, np.zeros(layers)))
    assert dense.losses.mean == pytest.approx(own, rel=1e-5), "eps 0 is not the model"
    nothing = loaded.run(windows, OutputNorm(sites, np.full(layers, np.inf)))
    assert nothing.activation_ratio == 0
    if all(site.activation is not None for site in sites):
        least = min(site.d_ff for site in sites)
        ranked = loaded.run(windows, TopK(least // 4))
        assert ranked.layer_ratio == pytest.approx([least // 4 / site.d_ff for site in sites])
        check_activations(loaded, ids)
    with torch.no_grad():
        for site in sites:
            site.projection.weight.zero_()
    without = forward_losses(model, windows, 4).mean
    assert nothing.losses.mean == pytest.approx(without, rel=1e-5), "eps inf is not without FFNs"
    assert without != pytest.approx(own, rel=1e-7), "the networks have no effect"


def gone_through(name: str, auto: Any, windows: EvaluationText) -> str:
    """Return unbuilt, measured or refused; anything else is said by an exception."""
    try:
        model = made(name, auto)
    except Exception as error:
        return f"unbuilt ({type(error).__name__}: {error})"
    try:
        loaded = LoadedCheckpoint.of(model, windows, 4)
    except ModelError as error:
        ran = "does not run on token ids alone" not in str(error) or name in UNRUN
        assert ran and (name in UNRUN or REASONS.search(str(error))), str(error)
        return "refused"
    check(loaded, windows)
    return "measured"


@pytest.mark.parametrize("part", range(PARTS))
def test_every_causal_language_model(part: int, windows: EvaluationText) -> None:
    outcomes, wrong = {}, {}
    for name in NAMES[part::PARTS]:
        try:
            outcomes[name] = gone_through(name, transformers.AutoModelForCausalLM, windows)
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {error}"
    unbuilt = {name: said for name, said in outcomes.items() if said.startswith("unbuilt")}
    assert not wrong
    assert len(unbuilt) < 0.2 * len(outcomes), unbuilt
    assert sum(said == "measured" for said in outcomes.values()) > 0.35 * len(outcomes)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_from_folders(part: int, windows: EvaluationText, tmp_path: Path) -> None:
    """As a user would: saved, found, measured, and compared with the plain reference."""
    measured, wrong = 0, {}
    for name in [*NAMES, *VISUAL][part::PARTS]:
        kind = "ImageTextToText" if name in VISUAL else "CausalLM"
        folder = tmp_path / name
        try:
            made(name, getattr(transformers, f"AutoModelFor{kind}")).save_pretrained(folder)
        except Exception:
            # Needs more than sizes: `gone_through` counts those.
            continue
        try:
            measured += compared(Checkpoint(name, str(folder), 10**7), windows)
        except Exception as error:
            wrong[name] = f"{type(error).__name__}: {error}"
        shutil.rmtree(folder)
    assert not wrong
    assert measured > 15


def compared(checkpoint: Checkpoint, windows: EvaluationText) -> bool:
    """Whether a checkpoint is measured; if so, as the reference does."""
    try:
        found = measure_run([checkpoint], windows, settings=Settings(metric="cett", cett=0.2))
    except CheckpointError:
        return False
    plain = reference.sparse_run(load_model(checkpoint, LoadOptions()), windows, 0.2)
    ratio, loss = found.table["activation_ratio"].item(), found.table["loss_sparse"].item()
    assert ratio == pytest.approx(plain.activation_ratio, abs=3e-3)
    assert loss == pytest.approx(plain.loss, rel=1e-3)
    return True
