"""Every supported model family, on a tiny random configuration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from sparsefit.collectors.calibrate import Plan, calibrate
from sparsefit.collectors.forward import forward_losses
from sparsefit.collectors.masking import (
    ForcedThreshold,
    OutputNorm,
    TopK,
    run_sparse,
    sparse,
)
from sparsefit.collectors.sites import activation_name, count_parameters, find_sites
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore")

WIDTH, NEURONS, LAYERS, VOCABULARY = 32, 48, 3, 64
BASE = {
    "hidden_size": WIDTH,
    "intermediate_size": NEURONS,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
OLD = {"n_embd": WIDTH, "n_layer": LAYERS, "n_head": 4, "vocab_size": VOCABULARY}
ENDS = {"bos_token_id": 1, "eos_token_id": 2}
LATENT = {
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_nope_head_dim": 8,
    "qk_rope_head_dim": 8,
    "v_head_dim": 8,
}
STATE = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_expand": 2,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
}
# Families that call the activation as a function: no module returns s.
NO_ACTIVATION = ("Lfm2",)
FAMILIES: dict[str, dict] = {
    **dict.fromkeys(
        ("Llama", "Mistral", "Qwen2", "Olmo2", "Olmo3", "SmolLM3", "Phi", "Phi3"), BASE
    ),
    **dict.fromkeys(("Granite", "Nemotron", "StableLm", "Cohere2", "Starcoder2", "GPTNeoX"), BASE),
    # Beyond the families that were asked for.
    **dict.fromkeys(("Olmo", "Cohere", "Ernie4_5", "Exaone4", "Persimmon"), BASE),
    **dict.fromkeys(("Apertus", "Arcee", "BitNet", "Lfm2"), BASE),
    "Ministral": {**BASE, "head_dim": 8},
    "Ministral3": {**BASE, "head_dim": 8},
    "Youtu": {**BASE, **LATENT, "num_key_value_heads": 4},
    "ModernBertDecoder": {**BASE, "cls_token_id": 1, "sep_token_id": 2},
    "Gemma3n": {
        **BASE,
        "head_dim": 8,
        "num_kv_shared_layers": 0,
        "vocab_size_per_layer_input": VOCABULARY,
        "hidden_size_per_layer_input": 8,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "activation_sparsity_pattern": [0.5, 0.0, 0.0],
        "laurel_rank": 8,
    },
    # Recurrent layers beside attention.
    "RecurrentGemma": {**BASE, "lru_width": WIDTH, "attention_window_size": 16},
    "Bamba": {**BASE, **STATE, "attn_layer_indices": [1]},
    "GraniteMoeHybrid": {
        **BASE,
        **STATE,
        "num_local_experts": 0,
        "num_experts_per_tok": 0,
        "shared_intermediate_size": NEURONS,
        "layer_types": ["mamba", "attention", "mamba"],
    },
    **{name: {**BASE, "head_dim": 8} for name in ("Gemma", "Glm", "Helium", "NanoChat", "SeedOss")},
    "CodeGen": {**OLD, **ENDS, "n_positions": 64, "rotary_dim": 4},
    "GPTBigCode": {**OLD, **ENDS, "n_positions": 64},
    **{name: {**BASE, "head_dim": 8} for name in ("Gemma2", "Gemma3Text", "Glm4", "Qwen3")},
    "MiniCPM3": {**BASE, **LATENT, "num_key_value_heads": 4},
    "GPT2": {**OLD, **ENDS, "n_positions": 64},
    "GPTJ": {**OLD, **ENDS, "n_positions": 64, "rotary_dim": 4},
    "GPTNeo": {
        **ENDS,
        "hidden_size": WIDTH,
        "num_layers": LAYERS,
        "num_heads": 4,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 64,
        "attention_types": [[["global"], LAYERS]],
    },
    "OPT": {
        **BASE,
        "ffn_dim": NEURONS,
        "word_embed_proj_dim": WIDTH,
    },
    "Falcon": {**ENDS, **BASE},
    "Bloom": {**ENDS, "hidden_size": WIDTH, "n_layer": LAYERS, "n_head": 4, "vocab_size": 64},
    "Mpt": {
        "d_model": WIDTH,
        "n_layers": LAYERS,
        "n_heads": 4,
        "vocab_size": 64,
        "max_seq_len": 64,
    },
}
ROUTED = {
    "Mixtral": {"num_local_experts": 4},
    "Qwen3Moe": {"num_experts": 4, "moe_intermediate_size": 16},
    "Olmoe": {"num_experts": 4},
    "GptOss": {"num_local_experts": 4},
    "Llama4Text": {"num_local_experts": 4, "head_dim": 8, "intermediate_size_mlp": 16},
    "Qwen3Next": {"num_experts": 4, "moe_intermediate_size": 16, "head_dim": 8},
    "Phimoe": {"num_local_experts": 4},
    "GraniteMoe": {"num_local_experts": 4},
    "GraniteMoeHybrid": {
        **STATE,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "layer_types": ["mamba", "attention", "mamba"],
    },
    "Doge": {"is_moe": True, "num_experts": 16, "num_experts_per_tok": 4},
    "Glm4Moe": {"n_routed_experts": 4, "moe_intermediate_size": 16, "num_experts_per_tok": 2},
    "DeepseekV3": {
        **LATENT,
        "n_routed_experts": 4,
        "moe_intermediate_size": 16,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
        "num_experts_per_tok": 2,
    },
}


def build(family: str, options: dict) -> torch.nn.Module:
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    kind = "Gemma3nTextConfig" if family == "Gemma3n" else f"{family}Config"
    config = getattr(transformers, kind)(**options)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Default initialisation leaves feed-forward outputs too small to matter.
            if parameter.dim() == 2:
                parameter.mul_(5)
    return model


@pytest.fixture(scope="module")
def windows() -> EvaluationText:
    tokens = np.random.default_rng(0).integers(3, VOCABULARY, (6, 24))
    return EvaluationText(tokens, np.ones_like(tokens, dtype=bool))


@pytest.mark.parametrize("family", FAMILIES)
def test_family(family: str, windows: EvaluationText) -> None:
    model = build(family, FAMILIES[family])
    sites = find_sites(model)
    assert [site.layer for site in sites] == list(range(LAYERS))
    assert all(site.weight.shape == (WIDTH, site.d_ff) for site in sites)
    assert all((site.activation is None) == (family in NO_ACTIVATION) for site in sites)
    assert activation_name(model) != "unknown"
    assert 0 < count_parameters(model) < sum(p.numel() for p in model.parameters())

    ids = torch.from_numpy(windows.tokens)
    with torch.no_grad():
        own = float(model(input_ids=ids, labels=ids).loss)
    dense = forward_losses(model, windows, 4).mean
    assert dense == pytest.approx(own, rel=1e-6)
    everything = run_sparse(
        model, sites, windows, OutputNorm(sites, np.zeros(LAYERS)), batch_size=4
    )
    assert everything.losses.mean == pytest.approx(own, rel=1e-6)
    if family in NO_ACTIVATION:
        with pytest.raises(ModelError, match="no activation module"):
            run_sparse(model, sites, windows, TopK(10), batch_size=4)
    else:
        ranked = run_sparse(model, sites, windows, TopK(10), batch_size=4)
        np.testing.assert_allclose(ranked.layer_ratio, [10 / site.d_ff for site in sites])
        forced = run_sparse(model, sites, windows, ForcedThreshold(0.0), batch_size=4)
        assert forced.losses.mean == pytest.approx(own, rel=1e-6)

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


@pytest.mark.parametrize("family", ROUTED)
def test_routed_models_are_refused(family: str) -> None:
    model = build(family, {**BASE, **ROUTED[family]})
    with pytest.raises(ModelError, match="experts"):
        find_sites(model)


def test_a_model_without_feed_forward_layers_is_refused() -> None:
    model = build("Mamba", {"hidden_size": WIDTH, "num_hidden_layers": 2, "vocab_size": 64})
    with pytest.raises(ModelError, match="no feed-forward output projection"):
        find_sites(model)


def test_an_encoder_beside_the_decoder_is_not_measured() -> None:
    """A depth that does not match the layers found is an error, never a partial measurement."""
    model = build("Bart", {**BASE, "d_model": WIDTH, "decoder_layers": 2, "encoder_layers": 3})
    with pytest.raises(ModelError, match="nothing is measured"):
        find_sites(model)


@pytest.mark.parametrize("family", ["Zamba2", "NemotronH"])
def test_hybrids_with_few_feed_forward_layers_are_refused(family: str) -> None:
    options = {
        "Zamba2": {
            "layers_block_type": ["mamba", "hybrid", "mamba"],
            "mamba_headdim": 8,
            "n_mamba_heads": 8,
            "num_mem_blocks": 1,
        },
        "NemotronH": {
            "layers_block_type": ["mamba", "attention", "mlp"],
            "mamba_num_heads": 8,
            "mamba_head_dim": 8,
            "n_groups": 1,
        },
    }
    model = build(family, {**BASE, "mamba_ngroups": 1, **options[family]})
    with pytest.raises(ModelError, match="1 of 3 layers"):
        find_sites(model)


def test_a_vision_tower_is_not_measured(windows: EvaluationText) -> None:
    tower = {
        "hidden_size": WIDTH,
        "intermediate_size": NEURONS,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 28,
        "patch_size": 14,
    }
    model = build(
        "Gemma3",
        {
            "text_config": {**BASE, "head_dim": 8},
            "vision_config": tower,
            "mm_tokens_per_image": 4,
        },
    )
    sites = find_sites(model)
    assert [site.layer for site in sites] == [0, 1, 2]
    assert all("language_model" in site.name for site in sites)


def test_a_module_that_is_gone_past_is_an_error(windows: EvaluationText) -> None:
    """Tensor-parallel Bloom multiplies slices of the weight: a rule there is never applied."""
    model = build("Bloom", {**FAMILIES["Bloom"], "pretraining_tp": 2, "slow_but_exact": True})
    sites = find_sites(model)
    with pytest.raises(ModelError, match="never called"):
        run_sparse(model, sites, windows, OutputNorm(sites, np.zeros(LAYERS)), batch_size=4)
    with pytest.raises(ModelError, match="never called"), sparse(model, np.zeros(LAYERS)):
        model(input_ids=torch.from_numpy(windows.tokens))


def test_an_adapter_on_the_projection_is_an_error(windows: EvaluationText) -> None:
    class Adapted(torch.nn.Linear):
        def forward(self, given: torch.Tensor) -> torch.Tensor:
            return super().forward(given) + 0.1 * given[..., :WIDTH]

    model = build("Llama", BASE)
    for layer in model.model.layers:
        old = layer.mlp.down_proj
        layer.mlp.down_proj = Adapted(NEURONS, WIDTH, bias=False)
        layer.mlp.down_proj.weight = old.weight
    with pytest.raises(ModelError, match="something else than its weight"):
        calibrate(model, find_sites(model), windows, Plan((0.1,)), batch_size=4)


def test_exact_zeros_are_inactive_at_threshold_zero(windows: EvaluationText) -> None:
    model = build("OPT", FAMILIES["OPT"])
    sites = find_sites(model)
    run = run_sparse(model, sites, windows, OutputNorm(sites, np.zeros(LAYERS)), batch_size=4)
    assert 0.3 < run.activation_ratio < 0.7


def test_a_missing_layer_is_an_error() -> None:
    model = build("Llama", BASE)
    model.model.layers[1].mlp.down_proj = torch.nn.Identity()
    with pytest.raises(ModelError, match=r"2 of 3 layers \(missing: 1\)"):
        find_sites(model)


def test_sites_by_pattern() -> None:
    model = build("Llama", BASE)
    assert [site.name for site in find_sites(model, "model.layers.*.mlp.down_proj")] == [
        site.name for site in find_sites(model)
    ]
    with pytest.raises(ModelError, match="pattern"):
        find_sites(model, "model.layers.*.mlp.nothing")
    with pytest.raises(ModelError, match="several candidates"):
        find_sites(model, "model.layers.*.mlp.*_proj")


def test_thresholds_must_fit_the_model(windows: EvaluationText) -> None:
    sites = find_sites(build("Llama", BASE))
    with pytest.raises(ValueError, match="one per layer"):
        OutputNorm(sites, [0.1])
    with pytest.raises(ValueError, match="non-negative"):
        OutputNorm(sites, [0.1, -1, 0.1])
