"""Feed-forward networks whose parts have names of their own: found by shape, and made sure of."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from sparsefit.collectors import find_sites, pareto_sweep, response_curve
from sparsefit.collectors.activations import activation_name
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import ModelError

Family = Callable[..., Any]
WIDTH, WIDE = 32, 48
TAKEN = "taken for the feed-forward output projections"


class Renamed(nn.Module):
    """Llama's network, as somebody else would write it."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.gate_and_value = nn.ModuleList([network.gate_proj, network.up_proj])
        self.nonlinearity = network.act_fn
        self.back = network.down_proj

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        gate, value = self.gate_and_value
        return self.back(self.nonlinearity(gate(states)) * value(states))


class Channels(Renamed):
    """The same, with the name that is otherwise the way out of attention."""

    def __init__(self, network: Any) -> None:
        super().__init__(network)
        self.out_proj = self.back
        del self.back

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        gate, value = self.gate_and_value
        return self.out_proj(self.nonlinearity(gate(states)) * value(states))


class Mixing(nn.Module):
    """A recurrence of the same shape: each token's state holds those before."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(WIDTH, WIDE)
        self.back = nn.Linear(WIDE, WIDTH)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.back(torch.relu(self.into(states)).cumsum(dim=1))


class Apart(nn.Module):
    """The recurrence, whose way out is wrapped alone."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(WIDTH, WIDE)
        self.way_out = nn.Sequential(nn.Linear(WIDE, WIDTH))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.way_out(torch.relu(self.into(states)).cumsum(dim=1))


def with_networks(model: Any, network: Callable[[Any], nn.Module], place: str = "mlp") -> Any:
    for layer in model.model.layers:
        made = network(layer.mlp)
        layer.mlp = nn.Identity()
        setattr(layer, place, made)
    return model


def tables(model: Any, windows: EvaluationText) -> list[pd.DataFrame]:
    return [
        response_curve(model, windows, (0.1, 0.3)),
        pareto_sweep(model, windows, cett=[0.2], ratios=[0.3]),
    ]


@pytest.mark.parametrize(
    ("network", "name"), [(Renamed, "mlp.back"), (Channels, "mlp.out_proj")], ids=["own", "out"]
)
def test_the_same_network_under_other_names(
    network: type[Renamed], name: str, family: Family, windows: EvaluationText
) -> None:
    known = family("Llama")
    model = with_networks(copy.deepcopy(known), network)
    with pytest.warns(UserWarning, match=rf"model\.layers\.0\.{name}.*{TAKEN}"):
        found = tables(model, windows)
    for ours, theirs in zip(found, tables(known, windows), strict=True):
        pd.testing.assert_frame_equal(ours, theirs)
    assert activation_name(model, find_sites(model)) == "silu"


def test_a_pattern_says_it_without_a_warning(family: Family, windows: EvaluationText) -> None:
    model = with_networks(family("Llama"), Renamed)
    with pytest.warns(UserWarning, match=TAKEN):
        found = response_curve(model, windows, (0.2,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = response_curve(model, windows, (0.2,), pattern="model.layers.*.mlp.back")
    pd.testing.assert_frame_equal(found, named)


@pytest.mark.parametrize(("name", "site"), [("CTRL", "ffn.2"), ("xLSTM", "ffn.proj_down")])
def test_families(name: str, site: str, family: Family, windows: EvaluationText) -> None:
    options = (
        {"dff": WIDE} if name == "CTRL" else {"num_heads": 4, "ffn_round_up_to_multiple_of": 8}
    )
    model = family(name, **options)
    with torch.no_grad():
        for parameter in model.parameters():
            # xLSTM begins with gates that are shut.
            if parameter.dim() == 2 and not parameter.any():
                parameter.normal_()
    with pytest.warns(UserWarning, match=rf"0\.{site}.*{TAKEN}"):
        sweep = pareto_sweep(model, windows, cett=[0.2], ratios=[0.25])
    ratio = sweep.set_index("metric")["activation_ratio"]
    assert ratio["topk"] == pytest.approx(0.25, abs=0.01)
    assert 0.1 < ratio["cett"] < 0.6
    assert ("relu_zero" in ratio) == (name == "CTRL")


@pytest.mark.parametrize("network", [Mixing, Apart])
def test_what_mixes_tokens_is_none(
    network: type[nn.Module], family: Family, windows: EvaluationText
) -> None:
    model = with_networks(family("Llama"), lambda _: network())
    with pytest.raises(ModelError, match=r"Name it with a pattern \(--sites\).*'model\.layers\.\*"):
        response_curve(model, windows, (0.2,))


def test_two_of_one_shape_ask_for_a_pattern(family: Family, windows: EvaluationText) -> None:
    model = with_networks(family("Llama"), Renamed)
    for layer in model.model.layers:
        layer.memory = nn.Linear(WIDE, WIDTH)
    with pytest.raises(ModelError, match=r"one of these: .*mlp\.back.*memory"):
        response_curve(model, windows, (0.2,))


def test_networks_of_some_layers(family: Family, windows: EvaluationText) -> None:
    model = with_networks(family("Llama"), Renamed)
    model.model.layers[1].mlp = nn.Identity()
    with pytest.raises(ModelError, match=r"one of these: 'model\.layers\.\*\.mlp\.back'"):
        find_sites(model)
    with pytest.raises(ModelError, match=r"2 of 3 layers \(missing: 1\)"):
        find_sites(model, "model.layers.*.mlp.back")


class Both(nn.Module):
    """Two networks in a layer, of which one has a known name."""

    def __init__(self, network: Any, other: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.other = other

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.network(states) + self.other(states)


def test_a_second_network_in_every_layer(family: Family, windows: EvaluationText) -> None:
    """Half of the neurons must not pass for all of them."""
    second = family("Llama", hidden_act="gelu").model.layers[0].mlp
    model = with_networks(
        family("Llama"), lambda first: Both(first, Renamed(copy.deepcopy(second)))
    )
    with pytest.raises(ModelError, match=r"several candidates.*other\.back beside.*down_proj"):
        response_curve(model, windows, (0.2,))
    assert len(response_curve(model, windows, (0.2,), pattern="*.mlp.network.down_proj")) == 1
    # A recurrence that begins shut also does the same to every token: nothing.
    for layer in model.model.layers:
        torch.nn.init.zeros_(layer.mlp.other.gate_and_value[1].weight)
    assert len(response_curve(model, windows, (0.2,))) == 1


def test_a_recurrence_beside_the_network(family: Family, windows: EvaluationText) -> None:
    """Hybrids have ways out of their mixers that look alike."""
    model = with_networks(family("Llama"), lambda first: Both(first, Mixing()))
    assert len(response_curve(model, windows, (0.2,))) == 1
