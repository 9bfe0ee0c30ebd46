"""Every supported model family, on a tiny random configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sparsefit.collectors.activations import activation_name
from sparsefit.collectors.calibrate import Plan, calibrate
from sparsefit.collectors.forward import forward_losses
from sparsefit.collectors.masking import run_sparse
from sparsefit.collectors.rules import ForcedThreshold, NonZero, OutputNorm, TopK
from sparsefit.collectors.sites import Site, count_parameters, find_sites
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.trial import try_model

pytestmark = pytest.mark.filterwarnings("ignore")

LAYERS, WIDTH = 3, 32
PLAIN: dict[str, Any] = {}
HEAD = {"head_dim": 8}
ROTARY = {"rotary_dim": 4}
WIDE = {"ffn_dim": 48}
DECODER = {"is_decoder": True}
LATENT = {
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}
STATE = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_expand": 2,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
}
DELTA = {
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention", "linear_attention", "full_attention"],
}
SLIDING = {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
# As many dense layers before the first that routes as there are layers.
FIRST = {**HEAD, "mlp_only_layers": [0, 1, 2], "first_k_dense_replace": LAYERS}
MIXED_ROPE = {
    "rope_parameters": {
        kind: {"rope_type": "default", "rope_theta": 1e4}
        for kind in ("full_attention", "sliding_attention")
    },
}
# What each needs beyond the common options.
FAMILIES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("Llama", "Mistral", "Qwen2", "Olmo", "Olmo2", "Olmo3", "SmolLM3"), PLAIN),
    **dict.fromkeys(("Phi", "Phi3", "Granite", "Nemotron", "StableLm", "Starcoder2"), PLAIN),
    **dict.fromkeys(("Cohere", "Cohere2", "Ernie4_5", "Exaone4", "Persimmon", "Apertus"), PLAIN),
    **dict.fromkeys(("Arcee", "BitNet", "Cwm", "Doge", "DiffLlama", "HyperCLOVAX", "Jais2"), PLAIN),
    **dict.fromkeys(("Gemma", "Gemma2", "Gemma3Text", "Glm", "Glm4", "Qwen3", "Helium"), HEAD),
    **dict.fromkeys(("NanoChat", "SeedOss", "Ministral", "Ministral3", "VaultGemma"), HEAD),
    **dict.fromkeys(("HunYuanDenseV1", "GraniteSWA", "Fuyu", "Beam"), HEAD),
    "Moshi": {**HEAD, **WIDE},
    # OPT and its like: no module around the network.
    **dict.fromkeys(("BioGpt", "XGLM"), WIDE),
    "OPT": {"ffn_dim": 48, "word_embed_proj_dim": WIDTH},
    # GPT-2 and after.
    **dict.fromkeys(("GPT2", "OpenAIGPT", "GPTBigCode"), PLAIN),
    **dict.fromkeys(("GPTNeoX", "GPTNeoXJapanese", "Falcon", "Bloom", "Mpt"), PLAIN),
    **dict.fromkeys(("GPTJ", "CodeGen"), ROTARY),
    "GPTNeo": {"attention_types": [[["global"], LAYERS]]},
    # Latent attention, several streams, windows.
    **dict.fromkeys(("MiniCPM3", "Youtu"), LATENT),
    "ModernBertDecoder": {"cls_token_id": 1, "sep_token_id": 2},
    "CohereCompassText": {**HEAD, **SLIDING, **MIXED_ROPE},
    "Gemma3nText": {
        **HEAD,
        **SLIDING,
        "num_kv_shared_layers": 0,
        "vocab_size_per_layer_input": 64,
        "hidden_size_per_layer_input": 8,
        "activation_sparsity_pattern": [0.5, 0.0, 0.0],
        "laurel_rank": 8,
    },
    "Gemma4Text": {
        **HEAD,
        **SLIDING,
        "global_head_dim": 8,
        "num_kv_shared_layers": 0,
        "vocab_size_per_layer_input": 64,
        "hidden_size_per_layer_input": 8,
    },
    "Gemma4UnifiedText": {**HEAD, **SLIDING, "global_head_dim": 8},
    # Dense members of families that also route tokens.
    "Jamba": {"num_experts": 1, "num_experts_per_tok": 1, "mamba_dt_rank": 4, "mamba_d_state": 8},
    "DeepseekV3": {**LATENT, "mlp_layer_types": ["dense"] * LAYERS},
    "Llama4Text": {**HEAD, "moe_layers": [], "intermediate_size_mlp": 48},
    **dict.fromkeys(("Flint", "Qwen3Moe"), FIRST),
    **dict.fromkeys(("Glm4Moe", "Dots1"), FIRST),
    # A small network in each norm, too.
    "AXK2": {**LATENT, "mlp_layer_types": ["dense"] * LAYERS, "gated_norm_rank": 8},
    "Qwen3Next": {**HEAD, **DELTA, "mlp_only_layers": [0, 1, 2]},
    "GraniteMoeHybrid": {
        **STATE,
        "num_local_experts": 0,
        "num_experts_per_tok": 0,
        "shared_intermediate_size": 48,
        "layer_types": ["mamba", "attention", "mamba"],
    },
    # Recurrent layers beside attention.
    **dict.fromkeys(("Lfm2", "Lfm3"), PLAIN),
    "RecurrentGemma": {"lru_width": WIDTH, "attention_window_size": 16},
    "Bamba": {**STATE, "attn_layer_indices": [1]},
    "FalconH1": {**STATE, **HEAD, "mamba_d_ssm": 64},
    "OlmoHybrid": DELTA,
    "Qwen3_5Text": {**HEAD, **DELTA},
    # BERT and its like, as decoders.
    **dict.fromkeys(("Bert", "BertGeneration", "Roberta", "RoFormer"), DECODER),
    **dict.fromkeys(("Electra", "RemBert", "MegatronBert", "Ernie", "BigBird"), DECODER),
    **dict.fromkeys(("XLMRoberta", "XLMRobertaXL", "Camembert", "RobertaPreLayerNorm"), DECODER),
}
# Families that call silu as a function, of what this module returns: no module returns s.
FUNCTIONAL = {"Lfm2": "w1", "Lfm3": "w1"}
RELU = ("OPT", "Persimmon", "Fuyu", "Nemotron", "NanoChat", "BitNet", "Arcee", "Jais2")


def states_of(
    name: str, model: Any, sites: tuple[Site, ...], ids: torch.Tensor
) -> list[dict[str, Any]]:
    """Each layer's h and s, by plain hooks."""
    seen: list[dict[str, Any]] = [{} for _ in sites]
    handles = []
    for site, found in zip(sites, seen, strict=True):

        def projection(_: Any, args: Any, found: dict[str, Any] = found) -> None:
            # An activation module may be shared by all layers: the last call was this layer's.
            found["h"] = args[0].flatten(0, -2).double()
            found["s"] = found["s"].reshape(found["h"].shape) if "s" in found else None

        def activation(_: Any, args: Any, out: Any, found: dict[str, Any] = found) -> None:
            if "h" not in found:
                found["s"] = out.double()

        def gate(_: Any, args: Any, out: Any, found: dict[str, Any] = found) -> None:
            found["s"] = torch.nn.functional.silu(out).double()

        handles.append(site.projection.register_forward_pre_hook(projection))
        if site.activation is None:
            place = f"{site.name.rpartition('.')[0]}.{FUNCTIONAL[name]}"
            handles.append(model.get_submodule(place).register_forward_hook(gate))
        if site.activation is not None:
            handles.append(site.activation.register_forward_hook(activation))
    with torch.no_grad():
        model(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


def plain_cett(site: Site, hidden: torch.Tensor, eps: float) -> float:
    weight = site.weight.double()
    weak = hidden * (hidden.abs() * weight.norm(dim=0) < eps)
    total = (hidden @ weight.T).norm(dim=1)
    ratios = (weak @ weight.T).norm(dim=1) / total
    return float(ratios[total > 0].sum() / len(total))


@pytest.mark.parametrize("name", FAMILIES)
def test_family(name: str, family: Callable[..., Any], windows: EvaluationText) -> None:
    model = family(name, **FAMILIES[name])
    sites = find_sites(model)
    assert [site.layer for site in sites] == list(range(LAYERS))
    assert all(site.weight.shape == (WIDTH, site.d_ff) for site in sites)
    assert all((site.activation is None) == (name in FUNCTIONAL) for site in sites)
    sites = try_model(model, sites, windows)
    assert all(site.activation is not None or site.function == "silu" for site in sites)
    assert activation_name(model, sites) != "unknown"
    assert ("relu" in activation_name(model, sites)) == (name in RELU)
    assert 0 < count_parameters(model, sites) < sum(p.numel() for p in model.parameters())

    ids = torch.from_numpy(windows.tokens)
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
    own = float(torch.nn.functional.cross_entropy(logits[:, :-1].mT, ids[:, 1:]))
    dense = forward_losses(model, windows, 4).mean
    assert dense == pytest.approx(own, rel=1e-6)
    everything = run_sparse(
        model, sites, windows, OutputNorm(sites, np.zeros(LAYERS)), batch_size=4
    )
    assert everything.losses.mean == pytest.approx(own, rel=1e-6)

    states = states_of(name, model, sites, ids)
    calibration = calibrate(model, sites, windows, Plan((0.2,)), batch_size=4)
    for site, curve, found in zip(sites, calibration.curves, states, strict=True):
        # Interpolated between two steps of a jagged curve; `exact_thresholds` does better.
        assert plain_cett(site, found["h"], curve.threshold(0.2)) == pytest.approx(0.2, abs=0.01)
    _check_activations(name, model, sites, windows, states, own)

    nothing = run_sparse(
        model, sites, windows, OutputNorm(sites, np.full(LAYERS, np.inf)), batch_size=4
    )
    assert nothing.activation_ratio == 0
    with torch.no_grad():
        for site in sites:
            site.projection.weight.zero_()
    without = forward_losses(model, windows, 4).mean
    assert nothing.losses.mean == pytest.approx(without, rel=1e-6)
    assert abs(without - own) > 3e-5


def _check_activations(
    name: str,
    model: Any,
    sites: tuple[Site, ...],
    windows: EvaluationText,
    states: list[dict[str, Any]],
    own: float,
) -> None:
    ranked = run_sparse(model, sites, windows, TopK(10), batch_size=4)
    np.testing.assert_allclose(ranked.layer_ratio, [10 / site.d_ff for site in sites])
    forced = run_sparse(model, sites, windows, ForcedThreshold(0.0), batch_size=4)
    assert forced.losses.mean == pytest.approx(own, rel=1e-6)
    first = states[0]["s"].abs()
    middle = float(first[first > 0].median())
    forced = run_sparse(model, sites, windows, ForcedThreshold(middle), batch_size=4)
    assert forced.layer_ratio[0] == pytest.approx(float((first >= middle).double().mean()))
    if name in RELU:
        zeros = run_sparse(model, sites, windows, NonZero(), batch_size=4)
        assert zeros.losses.mean == pytest.approx(own, rel=1e-6)
        share = [float((found["h"] != 0).double().mean()) for found in states]
        np.testing.assert_allclose(zeros.layer_ratio, share)


def test_a_vision_tower_is_not_measured(family: Callable[..., Any]) -> None:
    tower = {
        "hidden_size": WIDTH,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 28,
        "patch_size": 14,
    }
    text = {"head_dim": 8, "hidden_size": WIDTH, "intermediate_size": 48, "vocab_size": 64}
    heads = {"num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = family(
        "Gemma3", text_config={**text, **heads}, vision_config=tower, mm_tokens_per_image=4
    )
    sites = find_sites(model)
    assert [site.layer for site in sites] == [0, 1, 2]
    assert all("language_model" in site.name for site in sites)
    alone = family("Gemma3Text", **text, **heads)
    assert count_parameters(model, sites) == count_parameters(alone, find_sites(alone))


def test_exact_zeros_are_inactive_at_threshold_zero(
    family: Callable[..., Any], windows: EvaluationText
) -> None:
    model = family("OPT", **FAMILIES["OPT"])
    sites = find_sites(model)
    run = run_sparse(model, sites, windows, OutputNorm(sites, np.zeros(LAYERS)), batch_size=4)
    assert 0.3 < run.activation_ratio < 0.7
