"""Weights that do not say what a layer computes: absent, sharded, quantised, or adapted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from sparsefit.collectors.calibrate import Plan, calibrate
from sparsefit.collectors.sites import find_sites
from sparsefit.collectors.text import EvaluationText
from sparsefit.collectors.trial import try_model
from sparsefit.errors import ModelError

Family = Callable[..., Any]


class Adapted(torch.nn.Linear):
    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return super().forward(given) + 0.1 * given[..., :32]


def test_an_adapter_on_the_projection(family: Family, windows: EvaluationText) -> None:
    model = family("Llama")
    for layer in model.model.layers:
        weight = layer.mlp.down_proj.weight
        layer.mlp.down_proj = Adapted(48, 32, bias=False)
        layer.mlp.down_proj.weight = weight
    sites = find_sites(model)
    with pytest.raises(ModelError, match="something other than its weight"):
        try_model(model, sites, windows)
    with pytest.raises(ModelError, match="something other than its weight"):
        calibrate(model, sites, windows, Plan((0.1,)), batch_size=4)


class Packed(torch.nn.Module):
    """As PyTorch quantises: the weight is no parameter."""

    def weight(self) -> None: ...


class Part(torch.Tensor):
    """As of tensors that are sharded over processes."""

    def full_tensor(self) -> None: ...


@pytest.mark.parametrize(
    ("weight", "says"),
    [
        (torch.empty(0), "empty.*sharded over processes"),
        (torch.ones(32, 48).as_subclass(Part), r"part of its weight \(Part\).*gathered"),
        (torch.ones(32, 48, device="meta"), "on the device meta.*Load the model with its weights"),
    ],
)
def test_weights_that_are_not_there(weight: torch.Tensor, says: str, family: Family) -> None:
    model = family("Llama")
    for layer in model.model.layers:
        layer.mlp.down_proj._parameters["weight"] = (
            torch.nn.Parameter(weight) if type(weight) is torch.Tensor else weight
        )
    with pytest.raises(ModelError, match=says):
        find_sites(model)


def test_modules_that_are_quantised(family: Family) -> None:
    model = family("Llama")
    for layer in model.model.layers:
        layer.mlp.down_proj = Packed()
    with pytest.raises(ModelError, match=r"quantised\. Load the model unquantised"):
        find_sites(model)


def test_weights_of_eight_bits(family: Family) -> None:
    model = family("Llama")
    projection = model.model.layers[0].mlp.down_proj
    projection.weight = torch.nn.Parameter(
        projection.weight.detach().to(torch.float8_e4m3fn), requires_grad=False
    )
    with pytest.raises(ModelError, match="load the model unquantised"):
        find_sites(model)
