"""Models that cannot be measured are refused with the reason and what to do, never in part."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from sparsefit.collectors import measure_activity, pareto_sweep, response_curve, sparse
from sparsefit.collectors.activations import activation_name
from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint
from sparsefit.collectors.checkpoints import Checkpoint
from sparsefit.collectors.forward import forward_losses
from sparsefit.collectors.loading import LoadOptions, context_length, load_model
from sparsefit.collectors.masking import run_sparse
from sparsefit.collectors.rules import ForcedThreshold, OutputNorm, TopK, check_relu
from sparsefit.collectors.sites import find_sites
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.trial import try_model
from sparsefit.errors import ModelError

pytestmark = pytest.mark.filterwarnings("ignore")

Family = Callable[..., Any]
MAMBA = {"mamba_d_state": 8, "mamba_expand": 2, "mamba_n_groups": 1, "mamba_chunk_size": 8}
ROUTED: dict[str, dict[str, Any]] = {
    "Mixtral": {"num_local_experts": 4},
    "Qwen3Moe": {"num_experts": 4, "moe_intermediate_size": 16},
    "Olmoe": {"num_experts": 4},
    "GptOss": {"num_local_experts": 4},
    "Llama4Text": {"num_local_experts": 4, "head_dim": 8, "intermediate_size_mlp": 16},
    "Qwen3Next": {"num_experts": 4, "moe_intermediate_size": 16, "head_dim": 8},
    "Phimoe": {"num_local_experts": 4},
    "GraniteMoe": {"num_local_experts": 4},
    "GraniteMoeHybrid": {
        **MAMBA,
        "mamba_n_heads": 8,
        "mamba_d_head": 8,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "layer_types": ["mamba", "attention", "mamba"],
    },
    "Doge": {"is_moe": True, "num_experts": 16, "num_experts_per_tok": 4},
    "Glm4Moe": {"n_routed_experts": 4, "moe_intermediate_size": 16, "num_experts_per_tok": 2},
    "MiniMax": {"num_local_experts": 4, "head_dim": 8},
    "Dots1": {
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "moe_intermediate_size": 16,
        "num_experts_per_tok": 2,
    },
    "Jamba": {"num_experts": 4, "mamba_dt_rank": 4, "mamba_d_state": 8},
    "DeepseekV3": {
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 8,
        "v_head_dim": 8,
        "n_routed_experts": 4,
        "moe_intermediate_size": 16,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
        "num_experts_per_tok": 2,
    },
}
FEW: dict[str, dict[str, Any]] = {
    "Zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "hybrid", "hybrid", "mamba"],
        "n_mamba_heads": 2,
        "mamba_dt_rank": 4,
    },
    "Zamba2": {
        "layers_block_type": ["mamba", "hybrid", "mamba"],
        "mamba_headdim": 8,
        "n_mamba_heads": 8,
        "num_mem_blocks": 1,
        "mamba_ngroups": 1,
    },
    "NemotronH": {
        "layers_block_type": ["mamba", "attention", "mlp"],
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "n_groups": 1,
    },
}
BART = {"d_model": 32, "decoder_layers": 3, "encoder_layers": 3}


@pytest.mark.parametrize("name", ROUTED)
def test_routed_models(name: str, family: Family) -> None:
    model = family(name, **ROUTED[name])
    with pytest.raises(ModelError, match="experts"):
        find_sites(model)


@pytest.mark.parametrize("name", FEW)
def test_feed_forward_networks_in_some_layers(name: str, family: Family) -> None:
    model = family(name, **FEW[name])
    with pytest.raises(ModelError, match=r"[12] of [34] layers.*nothing is measured"):
        find_sites(model)


@pytest.mark.parametrize("name", ["Mamba", "Mamba2", "FalconMamba"])
def test_models_without_feed_forward_networks(name: str, family: Family) -> None:
    options = {"num_heads": 8, "head_dim": 8, "n_groups": 1} if name == "Mamba2" else {}
    model = family(name, **options)
    with pytest.raises(ModelError, match="without feed-forward networks"):
        find_sites(model)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Bart", BART),
        ("Whisper", {**BART, "decoder_attention_heads": 4}),
        ("Bert", {"is_decoder": True, "add_cross_attention": True}),
        ("GPT2", {"add_cross_attention": True}),
    ],
)
def test_decoders_that_attend_to_an_encoder(
    name: str, options: dict[str, Any], family: Family
) -> None:
    with pytest.raises(ModelError, match="attends to an encoder"):
        find_sites(family(name, **options))


@pytest.mark.parametrize("name", ["T5", "Bart"])
def test_whole_encoder_decoders(name: str) -> None:
    """Their networks have no known name, or there are two of each: the reason is another."""
    small = {"vocab_size": 64, "d_model": 32, "num_layers": 2, "d_kv": 8, "d_ff": 48}
    config = getattr(transformers, f"{name}Config")(**{**small, **(BART if name == "Bart" else {})})
    model = transformers.AutoModelForSeq2SeqLM.from_config(config)
    with pytest.raises(ModelError, match="is an encoder-decoder"):
        find_sites(model)


def test_an_encoder_decoder_checkpoint_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "t5", "is_encoder_decoder": true}')
    with pytest.raises(ModelError, match="an encoder-decoder"):
        load_model(Checkpoint("step-1", str(tmp_path), 1), LoadOptions())


@pytest.mark.parametrize("name", ["Bert", "Roberta"])
def test_models_that_see_later_tokens(name: str, family: Family, windows: EvaluationText) -> None:
    """A loss over tokens that the model can see looks like a good one."""
    with pytest.raises(ModelError, match="sees later tokens"):
        LoadedCheckpoint.of(family(name), windows, 4)


def test_a_configuration_without_a_count_of_layers(family: Family) -> None:
    """Then the layers are those that there are."""
    model = family("Llama")
    model.config = SimpleNamespace(hidden_size=32, depth_of_the_model=3)
    assert len(find_sites(model)) == 3
    model.model.layers[1].mlp = torch.nn.Identity()
    with pytest.raises(ModelError, match=r"2 of 3 layers \(missing: 1\)"):
        find_sites(model)


@pytest.mark.parametrize("runs", [False, True])
def test_a_second_stack(runs: bool, family: Family, windows: EvaluationText) -> None:
    """Layers beside those of the decoder do no harm, unless text runs through them as well."""
    model = family("Llama")
    alone = response_curve(model, windows, (0.2,))
    second = family("Llama").model.layers[0].mlp
    model.drafts = torch.nn.ModuleList([torch.nn.ModuleDict({"mlp": second})])
    if not runs:
        assert response_curve(model, windows, (0.2,)).equals(alone)
        return
    model.model.norm.register_forward_hook(lambda module, given, output: second(output))
    with pytest.raises(ModelError, match=r"several candidates.*drafts\.0.*with a pattern"):
        response_curve(model, windows, (0.2,))
    assert len(find_sites(model, "model.layers.*.mlp.down_proj")) == 3


def test_stacks_side_by_side_ask_for_a_pattern(family: Family) -> None:
    model = family("Llama")
    model.model.second = torch.nn.ModuleList(family("Llama").model.layers)
    with pytest.raises(ModelError, match=r"several candidates.*second\.\*.*with a pattern"):
        find_sites(model)


def test_the_error_names_what_could_be_meant(family: Family, windows: EvaluationText) -> None:
    """RWKV mixes each token with the one before, and gates what the projection returns."""
    model = family("Rwkv", attention_hidden_size=32)
    named = r"pattern \(--sites\), if it is one of these: 'rwkv.blocks.\*.feed_forward.value'"
    with pytest.raises(ModelError, match=named):
        response_curve(model, windows, (0.2,))
    curve = response_curve(model, windows, (0.2,), pattern="rwkv.blocks.*.feed_forward.value")
    assert 0 < curve["activation_ratio"].item() < 0.6


def test_sites_by_pattern(family: Family) -> None:
    model = family("Llama")
    assert [site.name for site in find_sites(model, "model.layers.*.mlp.down_proj")] == [
        site.name for site in find_sites(model)
    ]
    with pytest.raises(ModelError, match=r"name like.*'model\.layers\.\*\.mlp\.down_proj'"):
        find_sites(model, "model.layers.*.mlp.nothing")
    with pytest.raises(ModelError, match="several candidates"):
        find_sites(model, "model.layers.*.mlp.*_proj")
    with pytest.raises(ModelError, match="maps 32 values to 48, the model is 32 wide"):
        find_sites(model, "model.layers.*.mlp.up_proj")


def test_a_missing_layer(family: Family) -> None:
    model = family("Llama")
    model.model.layers[1].mlp.down_proj = torch.nn.Identity()
    with pytest.raises(ModelError, match=r"2 of 3 layers \(missing: 1\)"):
        find_sites(model)


def test_a_module_that_is_gone_past(family: Family, windows: EvaluationText) -> None:
    """Tensor-parallel Bloom multiplies slices of the weight: a rule there is never applied."""
    model = family("Bloom", pretraining_tp=2, slow_but_exact=True)
    sites = find_sites(model)
    with pytest.raises(ModelError, match="never called"):
        run_sparse(model, sites, windows, OutputNorm(sites, np.zeros(3)), batch_size=4)
    with pytest.raises(ModelError, match="never called"):
        measure_activity(model, {"text": windows}, np.zeros(3))
    with pytest.raises(ModelError, match="never called"), sparse(model, np.zeros(3)):
        model(input_ids=torch.from_numpy(windows.tokens))


def test_layers_that_are_run_twice(family: Family, windows: EvaluationText) -> None:
    model = family("Llama")
    network = model.model.layers[1].mlp
    once = network.forward
    network.forward = lambda states: once(states) + once(2 * states)
    sites = find_sites(model)
    for call in (
        lambda: try_model(model, sites, windows),
        lambda: run_sparse(model, sites, windows, OutputNorm(sites, np.zeros(3)), batch_size=4),
    ):
        with pytest.raises(ModelError, match=r"layers\.1.*more than once"):
            call()


def test_a_model_that_needs_more_than_tokens(family: Family, windows: EvaluationText) -> None:
    model = family("Llama")
    forward = model.forward
    model.forward = lambda pixels, **rest: forward(**rest)
    with pytest.raises(ModelError, match=r"on token ids alone \(TypeError.*pixels"):
        response_curve(model, windows, (0.1,))


def test_a_model_that_runs_in_float32_only(family: Family, windows: EvaluationText) -> None:
    model = family("Llama").to(torch.bfloat16)
    model.model.layers[1].mlp.up_proj.float()
    with pytest.raises(ModelError, match=r"RuntimeError.*--dtype float32 only"):
        response_curve(model, windows, (0.1,))


def test_a_model_that_predicts_the_last_token_only(family: Family, windows: EvaluationText) -> None:
    model = family("Llama")
    forward = model.forward
    model.forward = lambda **given: forward(**given, logits_to_keep=1)
    with pytest.raises(ModelError, match=r"shape \(1, 1, 64\) for 16 tokens"):
        response_curve(model, windows, (0.1,))


def test_windows_beyond_the_positions(family: Family, windows: EvaluationText) -> None:
    model = family("GPT2", max_position_embeddings=16)
    try_model(model, find_sites(model), windows)
    with pytest.raises(ModelError, match="windows of 24 tokens"):
        forward_losses(model, windows, 4)


def test_the_context_of_a_wrapped_text_model(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"text_config": {"max_position_embeddings": 16}}')
    assert context_length(Checkpoint("step-1", str(tmp_path), 1)) == 16


def test_a_module_that_gates_itself_is_no_activation(family: Family) -> None:
    class SwiGLU(torch.nn.Module):
        pass

    model = family("Llama")
    for layer in model.model.layers:
        layer.mlp.act_fn = SwiGLU()
    assert all(site.activation is None for site in find_sites(model))


class SiluAndMul(torch.nn.Module):
    """Gates what it is given in one piece, as serving engines do."""

    def forward(self, both: torch.Tensor) -> torch.Tensor:
        gate, value = both.chunk(2, dim=-1)
        return torch.nn.functional.silu(gate) * value


class SiluWithValue(torch.nn.Module):
    def forward(self, gate: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.silu(gate) * value


class SwishWithValue(torch.nn.Module):
    """Written out, so that no function is called that is known as an activation."""

    def forward(self, gate: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return gate * torch.sigmoid(gate) * value


@pytest.mark.parametrize("gated", [SiluAndMul, SiluWithValue, SwishWithValue])
def test_an_activation_module_that_gates_under_another_name(
    gated: type[torch.nn.Module], family: Family, windows: EvaluationText
) -> None:
    """What it returns is h: the largest of these are not the largest activations."""
    model = family("Phi3")
    expected = response_curve(model, windows, (0.2,))
    rules = (TopK(10), ForcedThreshold(0.1))

    def losses() -> list[float]:
        sites = find_sites(model)
        runs = [run_sparse(model, sites, windows, rule, batch_size=4) for rule in rules]
        return [run.losses.mean for run in runs]

    ranked = losses()
    for layer in model.model.layers:
        network = layer.mlp
        act = network.activation_fn = gated()

        def forward(states: torch.Tensor, network: Any = network, act: Any = act) -> torch.Tensor:
            both = network.gate_up_proj(states)
            return network.down_proj(act(both) if gated is SiluAndMul else act(*both.chunk(2, -1)))

        network.forward = forward
    pd.testing.assert_frame_equal(response_curve(model, windows, (0.2,)), expected)
    if gated is not SwishWithValue:
        assert losses() == pytest.approx(ranked, rel=1e-6)
        return
    for rule in rules:
        with pytest.raises(ModelError, match="no function that is known as one is called"):
            run_sparse(model, find_sites(model), windows, rule, batch_size=4)
    with pytest.raises(ModelError, match="no function that is known as one is called"):
        pareto_sweep(model, windows)


def test_modules_that_are_no_language_models(family: Family, windows: EvaluationText) -> None:
    with pytest.raises(ModelError, match="no feed-forward output projection found in Linear"):
        find_sites(torch.nn.Linear(2, 2))
    with pytest.raises(ModelError, match=r"DataParallel is wrapped.*model\.module"):
        find_sites(torch.nn.DataParallel(family("Llama")))
    with pytest.raises(
        ModelError, match="LlamaModel returns BaseModelOutputWithPast and no logits"
    ):
        response_curve(family("Llama").model, windows, (0.1,))


@pytest.mark.parametrize("activation", ["leaky_relu", "prelu", "silu", "gelu_new"])
def test_relu_zero_needs_exact_zeros(activation: str, family: Family) -> None:
    model = family("Llama", hidden_act=activation)
    with pytest.raises(ModelError, match="counts exact zeros"):
        check_relu(model, find_sites(model))


def test_the_module_names_the_activation(family: Family) -> None:
    """Fields of a configuration may be left over; the module is what runs."""
    model = family("Llama", hidden_act="relu2")
    model.config.hidden_act = "silu"
    assert activation_name(model, find_sites(model)) == "relu2"
    model.model.layers[2].mlp.act_fn = torch.nn.Tanh()
    assert activation_name(model, find_sites(model)) == "mixed"


def test_layers_of_several_widths_have_no_common_one(
    family: Family, windows: EvaluationText
) -> None:
    model = family("Llama")
    model.model.layers[1].mlp = family("Llama", intermediate_size=40).model.layers[1].mlp
    described = LoadedCheckpoint.of(model, windows, 4).describe()
    assert described["d_ff"] is None
    assert described["n_layers"] == 3


def test_thresholds_must_fit_the_model(family: Family) -> None:
    sites = find_sites(family("Llama"))
    with pytest.raises(ValueError, match="one per layer"):
        OutputNorm(sites, [0.1])
    with pytest.raises(ValueError, match="non-negative"):
        OutputNorm(sites, [0.1, -1, 0.1])
