"""Checkpoints that a function of the user's own loads."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import transformers

import sparsefit as sf
from sparsefit.cli import main
from sparsefit.collectors import Checkpoint, LoadOptions, Settings, find_checkpoints, measure_run
from sparsefit.collectors.loading import load_model
from sparsefit.errors import ArgumentError, CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore::sparsefit.collectors.run_text.SmallTextWarning")

GIVEN = Settings(metric="cett", cett=0.2)
# A user's file: a model of their own code in a module beside it, weights in plain files.
ARCHITECTURE = """
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class Sizes:
    width: int = 24
    vocabulary: int = 64

class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.w1 = nn.Linear(width, 4 * width)
        self.w2 = nn.Linear(4 * width, width)

    def forward(self, x):
        # The mean over earlier tokens in place of attention.
        past = x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]
        return x + self.w2(torch.relu(self.w1(past)))

class Model(nn.Module):
    def __init__(self, sizes=Sizes()):
        super().__init__()
        self.tokens = nn.Embedding(sizes.vocabulary, sizes.width)
        self.layers = nn.ModuleList()
        for _ in range(2):
            block = nn.Module()
            self.layers.append(Layer(sizes.width))
        self.head = nn.Linear(sizes.width, sizes.vocabulary)

    def forward(self, ids, targets=None):
        x = self.tokens(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x), None

class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.feed_forward = Block(width)

    def forward(self, x):
        return self.feed_forward(x)
"""
LOADER = """
import torch
from own_architecture import Model

calls = []

def load(checkpoint):
    calls.append(checkpoint.name)
    model = Model()
    model.load_state_dict(torch.load(checkpoint.source, weights_only=True)["model"])
    return model

number = 7
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the user's code, and a run of three files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("own_architecture", "own_loader", "_loader_own_loader"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "own_architecture.py").write_text(ARCHITECTURE)
    (tmp_path / "own_loader.py").write_text(LOADER)
    monkeypatch.syspath_prepend(tmp_path)
    from own_architecture import Model  # type: ignore[import-not-found]

    (tmp_path / "run").mkdir()
    for step in (100, 200, 300):
        torch.manual_seed(step)
        torch.save({"model": Model().state_dict()}, tmp_path / "run" / f"ckpt_{step}.pt")
    np.save(tmp_path / "text.npy", np.random.default_rng(0).integers(0, 64, (40, 32)))
    return tmp_path


def test_the_same_table_as_by_transformers(trained_run: Path, text: Any) -> None:
    """Through a loader, a model of transformers gives what it gives without."""
    options = LoadOptions(
        loader=lambda one: transformers.AutoModelForCausalLM.from_pretrained(one.source)
    )
    checkpoints = find_checkpoints(trained_run)[-3:]
    expected = measure_run(checkpoints, text, settings=Settings(joint=2))
    found = measure_run(checkpoints, text, settings=Settings(joint=2), load=options)
    pd.testing.assert_frame_equal(found.table, expected.table)
    pd.testing.assert_frame_equal(found.layers, expected.layers)


@pytest.mark.parametrize("place", ["own_loader:load", "own_loader.py:load"])
def test_the_command_measures_files(place: str, project: Path) -> None:
    command = ["measure", "run", "--text", "text.npy", "--tokens-per-step", "2K", "-o", "out.csv"]
    assert main([*command, "--loader", place, "--metric", "cett", "--cett", "0.2"]) == 0
    table = sf.read_table("out.csv", min_points=1)
    assert table["tokens"].tolist() == [200_000, 400_000, 600_000]
    assert table["activation"].unique().tolist() == ["relu"]
    assert table["n_params"].unique().tolist() == [2 * (24 * 96 * 2 + 96 + 24)]
    assert (table[["hidden_size", "n_layers", "d_ff"]] == [24, 2, 96]).all(axis=None)


def test_the_record_names_the_loader(project: Path) -> None:
    command = ["measure", "run", "--text", "text.npy", "--tokens-per-step", "2K", "-o", "o.parquet"]
    assert main([*command, "--loader", "own_loader:load", "--metric", "cett", "--cett", "0.2"]) == 0
    kept = sf.read_table("o.parquet", min_points=1).attrs["provenance"]["load"]
    assert kept == {
        "device": "cpu",
        "dtype": "float32",
        "trust_remote_code": False,
        "loader": "own_loader:load",
    }
    assert "loader" not in LoadOptions().record
    assert LoadOptions(loader=load_nothing).record["loader"].endswith(":load_nothing")


def load_nothing(checkpoint: Checkpoint) -> Any:
    return {"weights": checkpoint.name}


def test_a_loader_is_imported_once(project: Path) -> None:
    options = LoadOptions(loader="own_loader.py:load")
    measure_run(
        find_checkpoints("run", tokens_per_step=2048), "text.npy", settings=GIVEN, load=options
    )
    calls = sys.modules["_loader_own_loader"].calls
    assert sorted(calls) == ["ckpt_100.pt", "ckpt_200.pt", "ckpt_300.pt"]


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ("own_loader", "must be package.module:function"),
        ("own_loader:", "must be package.module:function"),
        ("own_loader:absent", "own_loader has no function absent"),
        ("own_loader:number", "own_loader has no function number"),
        ("absent.py:load", "absent.py: no such file"),
        ("absent_module:load", "absent_module cannot be imported.*ModuleNotFoundError"),
        ("broken.py:load", "broken.py cannot be imported.*ZeroDivisionError"),
        (7, "must be a function"),
    ],
)
def test_loaders_that_are_none(loader: Any, message: str, project: Path) -> None:
    (project / "broken.py").write_text("1 / 0")
    with pytest.raises(ArgumentError, match=message):
        LoadOptions(loader=loader)


def test_what_a_loader_returns(project: Path) -> None:
    series = find_checkpoints("run", tokens_per_step=2048)
    with pytest.raises(ArgumentError, match=r"load_nothing returned dict.*torch\.nn\.Module"):
        measure_run(series, "text.npy", settings=GIVEN, load=LoadOptions(loader=load_nothing))


def test_a_checkpoint_that_a_loader_fails_on(project: Path) -> None:
    torch.save({"weights": {}}, project / "run" / "ckpt_200.pt")
    result = measure_run(
        find_checkpoints("run", tokens_per_step=2048),
        "text.npy",
        settings=GIVEN,
        load=LoadOptions(loader="own_loader:load"),
    )
    assert result.table["status"].tolist() == ["ok", "failed", "ok"]
    assert "the loader own_loader:load failed (KeyError: 'model')" in result.table["message"][1]


def test_one_model_for_all_checkpoints_is_refused(project: Path) -> None:
    """It would be measured with the weights that it was given last."""
    from own_architecture import Model

    model = Model()

    def load(checkpoint: Checkpoint) -> Any:
        model.load_state_dict(torch.load(checkpoint.source, weights_only=True)["model"])
        return torch.nn.ModuleDict({"inside": model})

    def fresh(checkpoint: Checkpoint) -> Any:
        load(checkpoint)
        return model

    series = find_checkpoints("run", tokens_per_step=2048)
    with pytest.raises(ArgumentError, match=r"same weights for ckpt_200\.pt as for ckpt_300\.pt"):
        measure_run(series, "text.npy", load=LoadOptions(loader=fresh))


def test_types_and_buffers() -> None:
    """Parameters take the type asked for; a table of complex rotations keeps its own."""

    def load(checkpoint: Checkpoint) -> torch.nn.Module:
        model = torch.nn.Linear(2, 2)
        model.register_buffer("rotations", torch.ones(2, dtype=torch.complex64))
        model.register_parameter("count", torch.nn.Parameter(torch.tensor(3), requires_grad=False))
        return model.train()

    options = LoadOptions(dtype="bfloat16", loader=load)
    model = load_model(Checkpoint("one", "nowhere", 10), options)
    assert model.weight.dtype is torch.bfloat16
    assert model.rotations.dtype is torch.complex64
    assert model.count.dtype is torch.int64
    assert not model.training


def test_weights_that_are_not_finite() -> None:
    def load(checkpoint: Checkpoint) -> torch.nn.Module:
        model = torch.nn.Linear(2, 2)
        model.weight.data[0, 0] = torch.nan
        return model

    with pytest.raises(CheckpointError, match="one: weight holds NaN"):
        load_model(Checkpoint("one", "nowhere", 10), LoadOptions(loader=load))


def test_files_without_a_loader(project: Path) -> None:
    with pytest.raises(CheckpointError, match=r"ckpt_300.pt: transformers reads folders.*--loader"):
        measure_run(find_checkpoints("run", tokens_per_step=2048), "text.npy", settings=GIVEN)


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (("step-100.pt", "step-200.pt"), [100, 200]),
        (("epoch=0-step=100.ckpt", "epoch=1-step=200.ckpt", "last.ckpt"), [100, 200]),
        (("state_step000100.pt", "state_step000200.pt"), [100, 200]),
        (("iter-000100-ckpt.pth", "iter-000200-ckpt.pth"), [100, 200]),
        (("model_ckpt_100.safetensors", "model_ckpt_200.safetensors"), [100, 200]),
        (("step-100.pt", "checkpoint-7/"), [7]),
    ],
)
def test_files_of_weights_are_found(
    names: tuple[str, ...], steps: list[int], tmp_path: Path
) -> None:
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_bytes(b"")
    found = find_checkpoints(tmp_path, tokens_per_step=10)
    assert [one.step for one in found] == steps


def test_files_that_say_two_steps_need_their_tokens(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"iter_{number}_step_{number}00.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds no folders named by a step"):
        find_checkpoints(tmp_path, tokens_per_step=10)
    found = find_checkpoints(tmp_path, tokens_pattern=r"step_(\d+)")
    assert [one.tokens for one in found] == [100, 200]


def test_two_files_of_one_step_are_said(tmp_path: Path) -> None:
    for name in ("ckpt_100.pt", "ema_ckpt_100.pt"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"same step \(100\)"):
        find_checkpoints(tmp_path, tokens_per_step=10)


def test_a_run_that_grows_notices_new_weights_in_a_file(project: Path) -> None:
    options = LoadOptions(loader="own_loader:load")

    def measure() -> Any:
        return measure_run(
            find_checkpoints("run", tokens_per_step=2048),
            "text.npy",
            settings=GIVEN,
            load=options,
            parts="parts",
            extend=True,
        )

    first = measure().table
    (project / "run" / "ckpt_100.pt").unlink()
    pd.testing.assert_frame_equal(measure().table, first)
    (project / "run" / "ckpt_300.pt").write_bytes((project / "run" / "ckpt_200.pt").read_bytes())
    with pytest.raises(CheckpointError, match=r"ckpt_300.pt: its weights have changed"):
        measure()
