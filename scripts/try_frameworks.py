"""Measure tiny random models of frameworks for pre-training, where these are installed.

    python scripts/try_frameworks.py

The frameworks are no dependencies of this project. For each model the script says where its
feed-forward networks were found and which activation they call, and checks three losses: that with
thresholds of 0 against the model's own, that with infinite thresholds against the model with its
output projections at zero, and that of `topk` with all neurons against the model's own. Megatron
runs on one process without a GPU here, for which two of its calls to CUDA are replaced.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from sparsefit.collectors import EvaluationText, find_sites
from sparsefit.collectors.activations import activation_name
from sparsefit.collectors.forward import forward_losses, vocabulary_size
from sparsefit.collectors.masking import run_sparse
from sparsefit.collectors.rules import OutputNorm, Rule, TopK
from sparsefit.collectors.sites import count_parameters
from sparsefit.collectors.trial import try_model

VOCABULARY, WIDTH, LAYERS, LENGTH = 300, 64, 3, 64


class TokensAlone(nn.Module):
    """Megatron takes positions and a mask."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tokens: torch.Tensor) -> Any:
        length = tokens.shape[1]
        positions = torch.arange(length).expand_as(tokens)
        later = torch.ones(length, length, dtype=torch.bool).triu(1)
        return self.model(tokens, positions, later[None, None])


def litgpt(name: str) -> nn.Module:
    """LitGPT: plain networks (Pythia) and gated ones (Llama)."""
    from litgpt import GPT, Config

    changes = {"n_layer": LAYERS, "n_embd": WIDTH, "n_head": 4, "n_query_groups": None}
    sizes = {"intermediate_size": 160, "block_size": LENGTH, "vocab_size": VOCABULARY}
    return GPT(Config.from_name(name, **changes, **sizes, padded_vocab_size=VOCABULARY))  # type: ignore[no-any-return]


def olmo_core() -> nn.Module:
    """OLMo-core's transformer in the manner of Llama."""
    from olmo_core.nn.transformer import TransformerConfig

    sizes = {"d_model": WIDTH, "n_layers": LAYERS, "n_heads": 4, "vocab_size": VOCABULARY}
    return TransformerConfig.llama_like(**sizes).build(init_device="cpu")  # type: ignore[no-any-return]


def megatron(**changes: Any) -> nn.Module:
    """Megatron-core's GPT with its local layers."""
    from megatron.core import parallel_state, tensor_parallel
    from megatron.core.models.gpt import GPTModel
    from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
    from megatron.core.transformer import TransformerConfig

    if not torch.distributed.is_initialized():
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
        os.environ.update({**address, "RANK": "0", "WORLD_SIZE": "1"})
        torch.distributed.init_process_group("gloo")
        parallel_state.initialize_model_parallel()

        class NoTracker:
            def fork(self, *names: str) -> Any:
                return contextlib.nullcontext()

        torch.cuda.current_device = lambda: torch.device("cpu")  # type: ignore[assignment, return-value]
        tensor_parallel.get_cuda_rng_tracker = lambda *args, **options: NoTracker()
    fusions = ("masked_softmax", "bias_activation", "bias_dropout", "gradient_accumulation")
    config = TransformerConfig(
        num_layers=LAYERS,
        hidden_size=WIDTH,
        ffn_hidden_size=160,
        num_attention_heads=4,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        use_cpu_initialization=True,
        pipeline_dtype=torch.float32,
        **{f"{name}_fusion": False for name in fusions},
        **changes,
    )
    layers = get_gpt_layer_local_spec()
    return TokensAlone(GPTModel(config, layers, vocab_size=VOCABULARY, max_sequence_length=LENGTH))


def pytorch() -> nn.Module:
    """PyTorch's own encoder layers with a causal mask."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(WIDTH, 4, 160, dropout=0.0, batch_first=True)
            self.tokens = nn.Embedding(VOCABULARY, WIDTH)
            self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
            self.head = nn.Linear(WIDTH, VOCABULARY)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
            scores: torch.Tensor = self.head(
                self.encoder(self.tokens(ids), mask=mask, is_causal=True)
            )
            return scores

    return Encoder()


GATED = {"gated_linear_unit": True, "activation_func": F.silu, "add_bias_linear": False}
# Label -> package, how a model is built.
MODELS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "LitGPT, Pythia": ("litgpt", lambda: litgpt("pythia-14m")),
    "LitGPT, Llama": ("litgpt", lambda: litgpt("tiny-llama-1.1b")),
    "OLMo-core": ("ai2-olmo-core", olmo_core),
    "Megatron, GELU": ("megatron-core", megatron),
    "Megatron, SwiGLU": ("megatron-core", lambda: megatron(**GATED)),
    "PyTorch encoder": ("torch", pytorch),
}


def tried(model: nn.Module, text: EvaluationText) -> tuple[str, str, int, int]:
    """Site, activation, parameters, and how many of the three losses are as they should be."""
    assert vocabulary_size(model) == VOCABULARY
    sites = try_model(model, find_sites(model), text)
    own = forward_losses(model, text, 4).mean

    def loss(rule: Rule) -> float:
        return run_sparse(model, sites, text, rule, batch_size=4).losses.mean

    zero, infinite = (OutputNorm(sites, np.full(LAYERS, eps)) for eps in (0.0, np.inf))
    right = [np.isclose(loss(zero), own, rtol=1e-5)]
    right.append(np.isclose(loss(TopK(sites[0].d_ff)), own, rtol=1e-5))
    without = loss(infinite)
    with torch.no_grad():
        for site in sites:
            site.weight.zero_()
    right.append(np.isclose(without, forward_losses(model, text, 4).mean, rtol=1e-5))
    names = activation_name(model, sites)
    return sites[0].name, names, count_parameters(model, sites), sum(map(bool, right))


def main() -> None:
    """Print a line for each model."""
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (16, LENGTH))
    text = EvaluationText(tokens, np.ones_like(tokens, dtype=bool), "random")
    print(f"{'model':18}{'version':10}{'activation':12}{'n_params':>9}{'losses':>8}  layer 0")
    for label, (package, build) in MODELS.items():
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            print(f"{label:18}not installed")
            continue
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            place, activation, count, right = tried(build().eval(), text)
        shown = f"{right} of 3"
        print(f"{label:18}{version[:9]:10}{activation:12}{count:>9}{shown:>8}  {place}")


if __name__ == "__main__":
    main()
