"""Damaged checkpoints, full disks, wrong texts: a typed error or a failed row, nothing lost."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

import sparsefit as sf
from sparsefit.collectors import Settings, find_checkpoints, measure_run
from sparsefit.errors import CheckpointError, CollectorError, TextError

pytestmark = pytest.mark.filterwarnings("ignore::sparsefit.collectors.run.SmallTextWarning")


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def unknown_model(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "nonesuch"}))


def other_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 61}))


def more_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}))


def edit_weights(folder: Path, change) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def nan_weights(folder: Path) -> None:
    name = "model.layers.0.mlp.down_proj.weight"
    edit_weights(folder, lambda weights: weights[name].__setitem__((0, 0), float("nan")))


def missing_weight(folder: Path) -> None:
    edit_weights(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))


def silent_layers(folder: Path) -> None:
    def silence(weights) -> None:
        for name in weights:
            if "gate_proj" in name:
                weights[name].zero_()

    edit_weights(folder, silence)


def pickled_code(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"model.norm.weight": print}, folder / "pytorch_model.bin")


DAMAGES = {
    truncate: "cannot be loaded",
    empty: "cannot be loaded",
    no_weights: "cannot be loaded",
    no_config: r"config\.json is missing",
    broken_config: r"config\.json cannot be read",
    unknown_model: "cannot be loaded",
    other_shape: "cannot be loaded|of another shape",
    more_layers: "missing",
    nan_weights: "NaN",
    missing_weight: "weights are missing",
    silent_layers: "no neuron is active|too few neurons",
    pickled_code: "cannot be loaded",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_a_failed_row(damage, trained_run, text, tmp_path) -> None:
    """The last checkpoint breaks: the joint solve moves on, the rest of the table is there."""
    run = tmp_path / "run"
    for step in (160, 180, 200):
        shutil.copytree(trained_run / f"checkpoint-{step}", run / f"checkpoint-{step}")
    damage(run / "checkpoint-200")
    result = measure_run(run, text.take(slice(0, 16)), settings=Settings(joint=2))
    assert result.table["status"].tolist() == ["ok", "ok", "failed"]
    assert result.failed == 1
    broken = result.table.iloc[-1]
    assert math.isnan(broken["activation_ratio"])
    assert re.search(DAMAGES[damage], broken["message"])
    assert result.solutions["run"]["checkpoints"] == ["checkpoint-160", "checkpoint-180"]
    sf.write_table(result.table, tmp_path / "t.csv")


def test_nothing_measurable_is_an_error_with_every_reason(trained_run, text, tmp_path) -> None:
    shutil.copytree(trained_run / "checkpoint-200", tmp_path / "checkpoint-200")
    truncate(tmp_path / "checkpoint-200")
    with pytest.raises(CheckpointError, match="checkpoint-200: checkpoint-200: cannot be loaded"):
        measure_run(tmp_path, text)


def test_wrong_tokenizer(trained_run, text) -> None:
    wrong = type(text)(text.tokens + 40, text.counted, "other")
    with pytest.raises((TextError, CheckpointError), match="another model"):
        measure_run(find_checkpoints(trained_run)[-1:], wrong)


def test_a_full_disk_loses_nothing(trained_run, text, tmp_path, monkeypatch) -> None:
    series = find_checkpoints(trained_run)[-2:]
    small = text.take(slice(0, 24))
    expected = measure_run(series, small).table
    synced = os.fsync
    count = 0

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count > 8:
            raise OSError(28, "No space left on device")
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CollectorError, match="No space left"):
        measure_run(series, small, parts=tmp_path / "parts")
    monkeypatch.setattr(os, "fsync", synced)
    assert not list((tmp_path / "parts").glob(".*"))
    resumed = measure_run(series, small, parts=tmp_path / "parts").table
    pd.testing.assert_frame_equal(resumed, expected, check_exact=True)


def test_an_unwritable_parts_folder_is_said_at_once(trained_run, text, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CollectorError, match="cannot be created"):
        measure_run(find_checkpoints(trained_run)[-1:], text, parts=tmp_path / "file" / "parts")


def test_the_batch_size_is_halved_where_memory_runs_out(trained_run, text, monkeypatch) -> None:
    import sparsefit.collectors.forward as forward

    original = forward._window_losses

    def limited(logits, tokens, predicted):
        if tokens.shape[0] > 10:
            raise torch.OutOfMemoryError("CUDA out of memory (simulated)")
        return original(logits, tokens, predicted)

    series = find_checkpoints(trained_run)[-1:]
    settings = Settings(metric="cett", cett=0.1)
    expected = measure_run(series, text, settings=settings).table
    monkeypatch.setattr(forward, "_window_losses", limited)
    result = measure_run(series, text, settings=settings).table
    assert result["activation_ratio"][0] == pytest.approx(expected["activation_ratio"][0], abs=5e-4)
