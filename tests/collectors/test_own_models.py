"""Models that transformers did not build: plain modules, in the shapes that training code uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sparsefit.collectors import (
    find_sites,
    measure_activity,
    pareto_sweep,
    response_curve,
    sparse,
)
from sparsefit.collectors.activations import activation_name
from sparsefit.collectors.forward import forward_losses, vocabulary_size
from sparsefit.collectors.masking import run_sparse
from sparsefit.collectors.rules import ForcedThreshold, NonZero, OutputNorm, TopK
from sparsefit.collectors.sites import count_parameters
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.trial import try_model
from sparsefit.errors import ModelError

VOCABULARY, WIDTH, NEURONS, LAYERS, CONTEXT = 64, 32, 48, 3, 96


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.c_proj = nn.Linear(WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.c_proj(F.scaled_dot_product_attention(q, k, v, is_causal=True))


class Plain(nn.Module):
    """Two matrices and an activation module, as in nanoGPT."""

    def __init__(self) -> None:
        super().__init__()
        self.c_fc = nn.Linear(WIDTH, NEURONS)
        self.act = nn.ReLU()
        self.c_proj = nn.Linear(NEURONS, WIDTH)

    def s(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.c_fc(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c_proj(self.act(self.c_fc(x)))


class Gated(nn.Module):
    """A gate by a function, as in torchtitan and OLMo-core."""

    def __init__(self) -> None:
        super().__init__()
        self.w1 = nn.Linear(WIDTH, NEURONS, bias=False)
        self.w2 = nn.Linear(NEURONS, WIDTH, bias=False)
        self.w3 = nn.Linear(WIDTH, NEURONS, bias=False)

    def s(self, x: torch.Tensor) -> torch.Tensor:
        return F.silu(self.w1(x))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Squared(nn.Module):
    """ReLU squared by an operator, as in speed runs of nanoGPT."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, NEURONS, bias=False)
        self.proj = nn.Linear(NEURONS, WIDTH, bias=False)

    def s(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.fc(x)) ** 2

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.proj(F.relu(self.fc(x)).square())


class BiasBeside(nn.Linear):
    """A parallel layer that leaves its bias to be added later, as in Megatron."""

    def forward(self, x: torch.Tensor) -> Any:
        return F.linear(x, self.weight), self.bias


class Fused(nn.Module):
    """Gate and value from one matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.linear_fc1 = nn.Linear(WIDTH, 2 * NEURONS)
        self.linear_fc2 = BiasBeside(NEURONS, WIDTH)

    def s(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(self.linear_fc1(x).chunk(2, dim=-1)[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, value = self.linear_fc1(x).chunk(2, dim=-1)
        output, bias = self.linear_fc2(F.gelu(gate) * value)
        return output + bias


# Kind of network -> its place in a block, the name of the activation.
KINDS: dict[type, tuple[str, str]] = {
    Plain: ("mlp", "relu"),
    Gated: ("feed_forward", "silu"),
    Squared: ("mlp", "relu2"),
    Fused: ("mlp", "gelu"),
}


class Block(nn.Module):
    def __init__(self, network: type) -> None:
        super().__init__()
        self.place = KINDS[network][0]
        self.attn = Attention()
        self.add_module(self.place, network())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(F.layer_norm(x, (WIDTH,)))
        return x + self.get_submodule(self.place)(F.layer_norm(x, (WIDTH,)))


class Model(nn.Module):
    """Without a configuration; layers in a dictionary, positions in an embedding, a head."""

    def __init__(self, network: type) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, WIDTH)
        # More rows than there are tokens, as in models of characters.
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.layers = nn.ModuleDict({str(at): Block(network) for at in range(LAYERS)})
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)
        self.result: Callable[[torch.Tensor], Any] = lambda logits: logits

    def forward(self, ids: torch.Tensor, targets: torch.Tensor | None = None) -> Any:
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        for layer in self.layers.values():
            x = layer(x)
        return self.result(self.head(F.layer_norm(x, (WIDTH,))))


def build(network: type) -> Model:
    torch.manual_seed(0)
    model = Model(network).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model


def states_of(model: Model, ids: torch.Tensor) -> list[torch.Tensor]:
    """Each layer's s, computed by hand from what its network is given."""
    seen: list[torch.Tensor] = []
    handles = []
    for block in model.layers.values():
        network = block.get_submodule(block.place)
        handles.append(
            network.register_forward_pre_hook(
                lambda module, args: seen.append(module.s(args[0]).flatten(0, -2))
            )
        )
    with torch.no_grad():
        model(ids)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("network", KINDS)
def test_a_plain_module(network: type, windows: EvaluationText) -> None:
    model = build(network)
    assert vocabulary_size(model) == VOCABULARY
    sites = try_model(model, find_sites(model), windows)
    assert len(sites) == LAYERS
    assert all(site.by == "name" for site in sites)
    assert activation_name(model, sites) == KINDS[network][1]
    inside = sum(p.numel() for p in model.layers.parameters())
    assert count_parameters(model, sites) == inside

    ids = torch.from_numpy(windows.tokens)
    with torch.no_grad():
        logits = model(ids)
    own = float(F.cross_entropy(logits[:, :-1].mT, ids[:, 1:]))
    assert forward_losses(model, windows, 4).mean == pytest.approx(own, rel=1e-6)
    everything = run_sparse(model, sites, windows, OutputNorm(sites, np.zeros(3)), batch_size=4)
    assert everything.losses.mean == pytest.approx(own, rel=1e-6)
    nothing = run_sparse(model, sites, windows, OutputNorm(sites, np.full(3, np.inf)), batch_size=4)
    for site in sites:
        site.projection.weight.data.zero_()  # type: ignore[union-attr, operator]
    assert nothing.losses.mean == pytest.approx(forward_losses(model, windows, 4).mean, rel=1e-6)


@pytest.mark.parametrize("network", KINDS)
def test_its_activations_are_those_of_its_function(network: type, windows: EvaluationText) -> None:
    model = build(network)
    sites = find_sites(model)
    first = states_of(model, torch.from_numpy(windows.tokens))[0].abs()
    middle = float(first[first > 0].median())
    forced = run_sparse(model, sites, windows, ForcedThreshold(middle), batch_size=4)
    assert forced.layer_ratio[0] == pytest.approx(float((first >= middle).double().mean()))
    ranked = run_sparse(model, sites, windows, TopK(10), batch_size=4)
    np.testing.assert_allclose(ranked.layer_ratio, 10 / NEURONS)
    metrics = set(pareto_sweep(model, windows, cett=(0.2,), ratios=(0.5,))["metric"])
    assert ("relu_zero" in metrics) == ("relu" in KINDS[network][1])
    if "relu_zero" in metrics:
        zeros = run_sparse(model, sites, windows, NonZero(), batch_size=4)
        assert zeros.layer_ratio[0] == pytest.approx(float((first > 0).double().mean()))


def test_nothing_of_the_search_for_functions_stays(windows: EvaluationText) -> None:
    model = build(Gated)
    ids = torch.from_numpy(windows.tokens)
    before = model(ids)
    pareto_sweep(model, windows, cett=(0.2,), ratios=(0.5,))
    assert torch.equal(model(ids), before)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not torch.overrides._get_current_function_mode_stack()


def test_an_activation_that_the_product_overwrites_is_not_ranked(windows: EvaluationText) -> None:
    model = build(Gated)
    curve = response_curve(model, windows, (0.2,))

    def forward(self: Gated, x: torch.Tensor) -> torch.Tensor:
        return self.w2(F.silu(self.w1(x)).mul_(self.w3(x)))

    for block in model.layers.values():
        network = block.get_submodule(block.place)
        network.forward = forward.__get__(network)
    pd.testing.assert_frame_equal(response_curve(model, windows, (0.2,)), curve)
    with pytest.raises(ModelError, match="no function that is known as one is called"):
        run_sparse(model, find_sites(model), windows, TopK(10), batch_size=4)


def test_a_function_that_is_a_part_of_the_activation_is_not_ranked(
    windows: EvaluationText,
) -> None:
    """StarReLU adds a bias to squared ReLU: nothing is exactly zero."""
    model = build(Squared)

    def forward(self: Squared, x: torch.Tensor) -> torch.Tensor:
        return self.proj(0.9 * F.relu(self.fc(x)).square() - 0.4)

    for block in model.layers.values():
        network = block.get_submodule(block.place)
        network.forward = forward.__get__(network)
    sites = try_model(model, find_sites(model), windows)
    assert activation_name(model, sites) == "unknown"
    with pytest.raises(ModelError, match="no function that is known as one is called"):
        run_sparse(model, sites, windows, NonZero(), batch_size=4)


@pytest.mark.parametrize(
    "result",
    [
        lambda logits: (logits, None),
        lambda logits: {"logits": logits},
        lambda logits: type("Output", (), {"logits": logits})(),
    ],
    ids=["tuple", "dictionary", "object"],
)
def test_logits_in_what_a_model_returns(result: Any, windows: EvaluationText) -> None:
    model = build(Plain)
    expected = response_curve(model, windows, (0.2,))
    model.result = result
    pd.testing.assert_frame_equal(response_curve(model, windows, (0.2,)), expected)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (lambda logits: logits[:, -1:], r"shape \(1, 1, 64\) for 16 tokens.*returns the last one"),
        (lambda logits: logits.mean(), r"returns Tensor of shape \(\) and no logits"),
        (lambda logits: {"loss": logits.mean()}, "returns dict and no logits"),
        (lambda logits: logits.argmax(-1, keepdim=True), r"returns Tensor of shape .* wrap it"),
    ],
    ids=["last", "loss", "dictionary", "tokens"],
)
def test_what_is_no_logits(result: Any, message: str, windows: EvaluationText) -> None:
    model = build(Plain)
    model.result = result
    with pytest.raises(ModelError, match=message):
        response_curve(model, windows, (0.2,))


def test_windows_that_a_model_refuses(windows: EvaluationText) -> None:
    model = build(Plain)
    tokens = np.ones((2, CONTEXT + 1), dtype=np.int64)
    with pytest.raises(ModelError, match=r"windows of 97 tokens \(IndexError.*--seq-len within"):
        response_curve(model, EvaluationText(tokens, np.ones_like(tokens, dtype=bool)), (0.2,))


def test_sparse_and_activity(windows: EvaluationText) -> None:
    model = build(Gated)
    ids = torch.from_numpy(windows.tokens)
    dense = model(ids)
    with sparse(model, np.full(LAYERS, np.inf)):
        assert not torch.allclose(model(ids), dense)
    assert torch.equal(model(ids), dense)
    activity = measure_activity(model, {"one": windows}, np.zeros(LAYERS))
    assert (activity.neurons["frequency"] == 1.0).all()


def test_a_network_in_sequence(windows: EvaluationText) -> None:
    """Lessons and small code bases write it so; no name says which matrix is the last."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            inner, outer = nn.Linear(WIDTH, NEURONS), nn.Linear(NEURONS, WIDTH)
            self.net = nn.Sequential(inner, nn.ReLU(), outer, nn.Dropout(0.1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.net(x)
            return result

    model = build(Plain)
    for block in model.layers.values():
        block.add_module("mlp", Network())
    model.eval()
    with pytest.warns(UserWarning, match=r"layers\.0\.mlp\.net\.2 and its like"):
        sites = try_model(model, find_sites(model), windows)
    assert activation_name(model, sites) == "relu"
    zeros = run_sparse(model, sites, windows, NonZero(), batch_size=4)
    assert zeros.losses.mean == pytest.approx(forward_losses(model, windows, 4).mean, rel=1e-6)


def test_layers_of_pytorch(windows: EvaluationText) -> None:
    """`nn.TransformerEncoderLayer` has a fast path that would go past its modules."""

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layer = nn.TransformerEncoderLayer(
                WIDTH, 4, NEURONS, dropout=0.0, batch_first=True, norm_first=True
            )
            self.tokens = nn.Embedding(VOCABULARY, WIDTH)
            self.stack = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
            self.head = nn.Linear(WIDTH, VOCABULARY)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(ids.shape[1])
            return self.head(self.stack(self.tokens(ids), mask=mask, is_causal=True))

    torch.manual_seed(0)
    model = Encoder().eval()
    sites = try_model(model, find_sites(model), windows)
    assert [site.name for site in sites] == [f"stack.layers.{n}.linear2" for n in range(LAYERS)]
    assert activation_name(model, sites) == "relu"
    zeros = run_sparse(model, sites, windows, NonZero(), batch_size=4)
    assert zeros.losses.mean == pytest.approx(forward_losses(model, windows, 4).mean, rel=1e-6)
    assert 0.2 < zeros.activation_ratio < 0.8
