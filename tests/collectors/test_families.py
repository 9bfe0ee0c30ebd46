"""Every supported model family, on a tiny random configuration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from sparsefit.collectors.forward import forward_losses
from sparsefit.collectors.masking import ForcedThreshold, OutputNorm, TopK, run_sparse
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
FAMILIES: dict[str, dict] = {
    **dict.fromkeys(
        ("Llama", "Mistral", "Qwen2", "Olmo2", "Olmo3", "SmolLM3", "Phi", "Phi3"), BASE
    ),
    **dict.fromkeys(("Granite", "Nemotron", "StableLm", "Cohere2", "Starcoder2", "GPTNeoX"), BASE),
    # Beyond the families that were asked for.
    **dict.fromkeys(("Olmo", "Cohere", "Ernie4_5", "Exaone4", "Persimmon"), BASE),
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
    config = getattr(transformers, f"{family}Config")(**options)
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
    assert all(site.activation is not None for site in sites)
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
    assert abs(without - own) > 1e-4


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
