"""Models that one device does not hold: spread by accelerate, weights in memory or on disk."""

from __future__ import annotations

import copy
import importlib.util
import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

from sparsefit.cli import main
from sparsefit.collectors import (
    Checkpoint,
    LoadOptions,
    Settings,
    find_sites,
    measure_activity,
    measure_run,
    pareto_sweep,
    reference,
    response_curve,
    sparse,
)
from sparsefit.collectors.forward import forward_losses
from sparsefit.collectors.loading import load_model
from sparsefit.collectors.sites import count_parameters
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import CheckpointError, MissingDependencyError, ModelError

accelerate = pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")

Spread = Callable[[Any, Path], Any]


def partly(model: Any, folder: Path) -> Any:
    """One layer on disk, as where the others fit."""
    places = {name: "cpu" for name, _ in model.named_children() if name != "model"}
    places |= {f"model.{name}": "cpu" for name, _ in model.model.named_children()}
    del places["model.layers"]
    places |= {"model.layers.0": "cpu", "model.layers.1": "disk", "model.layers.2": "cpu"}
    return accelerate.dispatch_model(model, places, main_device="cpu", offload_dir=folder)


SPREAD: dict[str, Spread] = {
    "memory": lambda model, folder: accelerate.cpu_offload(model, torch.device("cpu")),
    "disk": lambda model, folder: accelerate.disk_offload(model, folder, torch.device("cpu")),
    "partly": partly,
}


@pytest.mark.parametrize("how", SPREAD)
def test_nothing_changes(
    how: str, family: Callable[..., Any], windows: EvaluationText, tmp_path: Path
) -> None:
    whole = family("Llama", tie_word_embeddings=False, mlp_bias=True)
    model = SPREAD[how](copy.deepcopy(whole), tmp_path)
    assert any(parameter.is_meta for parameter in model.parameters())
    eps = np.full(3, 0.5)

    def tables(model: Any) -> list[pd.DataFrame]:
        with sparse(model, eps):
            loss = forward_losses(model, windows, 4).mean
        activity = measure_activity(model, {"a": windows}, eps)
        plain = reference.sparse_run(model, windows.take(slice(0, 1)), 0.2)
        return [
            response_curve(model, windows, (0.1, 0.3)),
            pareto_sweep(model, windows, cett=[0.2], ratios=[0.3]),
            activity.neurons,
            pd.DataFrame({"loss": [loss, plain.loss], "ratio": plain.activation_ratio}),
        ]

    for ours, theirs in zip(tables(model), tables(whole), strict=True):
        pd.testing.assert_frame_equal(ours, theirs)
    assert count_parameters(model, find_sites(model)) == count_parameters(whole, find_sites(whole))
    assert any(parameter.is_meta for parameter in model.parameters())


class Lent(dict[str, torch.Tensor]):
    """Weights in memory, of which every reader gets a copy, as on another device."""

    alive: weakref.WeakSet[torch.Tensor]
    most = 0

    def __getitem__(self, name: str) -> torch.Tensor:
        copied = super().__getitem__(name).clone()
        if name == "weight":
            Lent.alive.add(copied)
            Lent.most = max(Lent.most, len(Lent.alive))
        return copied


def test_offloaded_weights_are_held_one_layer_at_a_time(
    family: Callable[..., Any], windows: EvaluationText
) -> None:
    """What does not fit a device must not be gathered there by the measurement."""
    model = accelerate.cpu_offload(family("Llama", num_hidden_layers=8), torch.device("cpu"))
    Lent.alive = weakref.WeakSet()
    for site in find_sites(model):
        hook = site.projection._hf_hook
        hook.weights_map = Lent({name: hook.weights_map[name] for name in ("weight",)})
    response_curve(model, windows, (0.1,))
    assert 0 < Lent.most <= 3


def test_weights_that_come_with_the_module_around_them(family: Callable[..., Any]) -> None:
    model = accelerate.cpu_offload(
        family("Llama"), torch.device("cpu"), preload_module_classes=["LlamaMLP"]
    )
    with pytest.raises(ModelError, match="without preload_module_classes"):
        find_sites(model)


@pytest.fixture
def small_devices(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let models that are spread find room for few weights in memory: the others stay on disk."""
    loaded: list[Any] = []
    original = transformers.LlamaForCausalLM.from_pretrained.__func__

    def load(cls: type, *args: Any, **options: Any) -> Any:
        if options.get("device_map") == "auto":
            options["max_memory"] = {"cpu": 40_000}
        found = original(cls, *args, **options)
        loaded.append(found[0])
        return found

    monkeypatch.setattr(transformers.LlamaForCausalLM, "from_pretrained", classmethod(load))
    return loaded


def measured(run: Path, windows: EvaluationText, load: LoadOptions) -> pd.DataFrame:
    settings = Settings(metric="cett", cett=0.2)
    result = measure_run(run, windows, settings=settings, load=load)
    return result.table.drop(columns=["message"])


def saved(model: Any, run: Path, **options: Any) -> Path:
    for step in (10, 20):
        folder = run / f"checkpoint-{step}"
        model.save_pretrained(folder, **options)
        state = {"num_input_tokens_seen": step * 10**6}
        (folder / "trainer_state.json").write_text(json.dumps(state))
    return run


def test_checkpoints_that_do_not_fit(
    family: Callable[..., Any], windows: EvaluationText, tmp_path: Path, small_devices: list[Any]
) -> None:
    run = saved(family("Llama", tie_word_embeddings=False), tmp_path / "run")
    found = measured(run, windows, LoadOptions("auto"))
    assert len(small_devices) == 2
    for model in small_devices:
        assert any(parameter.is_meta for parameter in model.parameters())
    pd.testing.assert_frame_equal(found, measured(run, windows, LoadOptions()))


def test_pickled_weights_that_do_not_fit(
    family: Callable[..., Any], tmp_path: Path, small_devices: list[Any]
) -> None:
    model = family("Llama")
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"does not fit.*Save them as model\.safetensors"):
        load_model(Checkpoint("c", str(tmp_path), 1), LoadOptions("auto"))


def test_damage_in_what_was_offloaded(
    family: Callable[..., Any], windows: EvaluationText, tmp_path: Path, small_devices: list[Any]
) -> None:
    model = family("Llama", tie_word_embeddings=False)
    with torch.no_grad():
        model.model.layers[2].mlp.down_proj.weight[3, 4] = torch.nan
    run = saved(model, tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"layers\.2\.mlp\.down_proj.*NaN or infinite"):
        measured(run, windows, LoadOptions("auto"))


def test_the_command(
    tiny: Callable[..., Any], tmp_path: Path, measure_command: Callable[..., int]
) -> None:
    run = saved(tiny("relu"), tmp_path / "run")
    for device in ("auto", "cpu"):
        words = ["--metric", "cett", "--cett", "0.2", "--device", device]
        assert measure_command(run, tmp_path / f"{device}.csv", *words) == 0
    assert (tmp_path / "auto.csv").read_text() == (tmp_path / "cpu.csv").read_text()


def test_without_accelerate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "accelerate" else find(name),
    )
    with pytest.raises(MissingDependencyError, match=r"accelerate.*sparsefit\[collect\]"):
        LoadOptions("auto")
    words = ["measure", str(tmp_path), "--text", "t.npy", "-o", str(tmp_path / "t.csv")]
    assert main([*words, "--device", "auto"]) == 1
    assert "sparsefit[collect]" in capsys.readouterr().err
