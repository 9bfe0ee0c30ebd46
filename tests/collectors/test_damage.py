"""Damaged checkpoints, full disks, wrong texts: a typed error or a failed row, nothing lost."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import sparsefit as sf
from sparsefit.collectors import Settings, find_checkpoints, measure_run
from sparsefit.errors import CheckpointError, CollectorError, TextError

pytestmark = pytest.mark.filterwarnings("ignore::sparsefit.collectors.run_text.SmallTextWarning")


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


def infinite_weights(folder: Path) -> None:
    name = "model.embed_tokens.weight"
    edit_weights(folder, lambda weights: weights[name].__setitem__((1, 0), float("inf")))


def overflowing_weights(folder: Path) -> None:
    """Every weight is finite, the loss is not."""
    name = "model.layers.0.mlp.down_proj.weight"
    edit_weights(folder, lambda weights: weights[name].fill_(3e38))


def garbage(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"\xff" * 4096)


def missing_shard(folder: Path) -> None:
    from safetensors.torch import load_file

    path = folder / "model.safetensors"
    shards = dict.fromkeys(load_file(path), "model-00001-of-00002.safetensors")
    path.rename(folder / "model-00001-of-00002.safetensors")
    shards["model.norm.weight"] = "model-00002-of-00002.safetensors"
    index = {"metadata": {"total_size": 1}, "weight_map": shards}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def config_of_another_kind(folder: Path) -> None:
    (folder / "config.json").write_text("[1, 2]")


def config_without_type(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def gone(folder: Path) -> None:
    """Deleted after the series was listed, as trainers that rotate checkpoints do."""
    shutil.rmtree(folder)
    folder.mkdir()


def adapter(folder: Path) -> None:
    """Without support for adapters, transformers would load the weights beside it alone."""
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')


def smaller_vocabulary(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 32}))
    edit_weights(folder, _cut_vocabulary)


def _cut_vocabulary(weights) -> None:
    for name in weights:
        if "embed_tokens" in name or "lm_head" in name:
            weights[name] = weights[name][:32].clone()


def missing_weight(folder: Path) -> None:
    edit_weights(folder, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))


def silent_layers(folder: Path) -> None:
    def silence(weights) -> None:
        for name in weights:
            if "gate_proj" in name:
                weights[name].zero_()

    edit_weights(folder, silence)


def sharded_state(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model_fsdp_0").mkdir()


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
    infinite_weights: "NaN or infinite",
    overflowing_weights: "not finite",
    garbage: "cannot be loaded",
    missing_shard: "cannot be loaded",
    config_of_another_kind: r"config\.json|cannot be loaded",
    config_without_type: "cannot be loaded",
    gone: r"config\.json is missing",
    adapter: "an adapter",
    smaller_vocabulary: "another model",
    missing_weight: "weights are missing",
    silent_layers: "no neuron is active|too few neurons",
    sharded_state: r"a sharded training run \(pytorch_model_fsdp\*\)\. Gather",
    pickled_code: "cannot be loaded",
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_checkpoint_is_a_failed_row(damage, trained_run, text, tmp_path) -> None:
    """The last checkpoint breaks: the joint solve moves on, the rest of the table is there."""
    run = tmp_path / "run"
    for step in (160, 180, 200):
        shutil.copytree(trained_run / f"checkpoint-{step}", run / f"checkpoint-{step}")
    series = find_checkpoints(run)
    damage(run / "checkpoint-200")
    result = measure_run(series, text.take(slice(0, 16)), settings=Settings(joint=2))
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
    with pytest.raises(CheckpointError, match="  - checkpoint-200: cannot be loaded"):
        measure_run(tmp_path, text)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_names_of_wrapped_models_are_read(prefix, trained_run, text, tmp_path) -> None:
    """A state saved from inside torch.compile or data parallelism is the model's own."""
    from safetensors.torch import load_file, save_file

    settings = Settings(metric="cett", cett=0.1)
    shutil.copytree(trained_run / "checkpoint-200", tmp_path / "checkpoint-200")
    before = measure_run(tmp_path, text, settings=settings).table
    path = tmp_path / "checkpoint-200" / "model.safetensors"
    weights = load_file(path)
    save_file({prefix + name: weights[name] for name in weights}, path, metadata={"format": "pt"})
    after = measure_run(tmp_path, text, settings=settings).table
    pd.testing.assert_frame_equal(before, after)


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


@pytest.mark.parametrize("moment", ["first", "middle", "last"])
def test_the_command_on_a_full_disk(moment, trained_run, text, tmp_path, monkeypatch, capsys):
    """Status 1 and a message; with space again, the same command ends with the same table."""
    from sparsefit.cli import main

    for step in (180, 200):
        name = f"checkpoint-{step}"
        shutil.copytree(trained_run / name, tmp_path / "run" / name)
    np.save(tmp_path / "text.npy", text.tokens[:16])
    outputs = [tmp_path / which / "points.csv" for which in ("whole", "full")]
    for output in outputs:
        output.parent.mkdir()

    def command(output: Path) -> int:
        words = ["measure", str(tmp_path / "run"), "--text", str(tmp_path / "text.npy"), "--quiet"]
        return main([*words, "-o", str(output)])

    synced, count = os.fsync, 0
    limit = float("inf")

    def full(descriptor: int) -> None:
        nonlocal count
        count += 1
        if count > limit:
            raise OSError(28, "No space left on device")
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    assert command(outputs[0]) == 0
    limit = {"first": 0, "middle": count // 2, "last": count - 3}[moment]
    count = 0
    assert command(outputs[1]) == 1
    assert "No space left" in capsys.readouterr().err
    assert not outputs[1].exists()
    limit = float("inf")
    assert command(outputs[1]) == 0
    assert outputs[1].read_bytes() == outputs[0].read_bytes()
    assert not list(outputs[1].parent.glob("*.parts"))


def test_a_read_only_output(trained_run, text, tmp_path, monkeypatch) -> None:
    """Said before anything is measured (simulated: the superuser may write anywhere)."""
    opened = Path.open

    def read_only(self, mode="r", *rest, **options):
        if "w" in mode:
            raise PermissionError(13, "Permission denied")
        return opened(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", read_only)
    with pytest.raises(CollectorError, match=r"plan\.part\.json: .* written \(Permission den"):
        measure_run(find_checkpoints(trained_run)[-1:], text, parts=tmp_path / "parts")


def test_a_text_shorter_than_one_window(trained_run, tmp_path) -> None:
    """One short window: measured and warned about, with no standard error to give."""
    np.save(tmp_path / "t.npy", np.arange(1, 13))
    last = find_checkpoints(trained_run)[-1:]
    settings = Settings(metric="topk", k=6)
    row = measure_run(last, tmp_path / "t.npy", settings=settings).table.iloc[0]
    assert row["n_eval_tokens"] == 12
    assert row["activation_ratio"] == pytest.approx(0.1)
    assert "se" not in row.index or math.isnan(row["se"])


def test_a_broken_tokenizer(trained_run, tmp_path) -> None:
    shutil.copytree(trained_run / "checkpoint-200", tmp_path / "r" / "checkpoint-200")
    (tmp_path / "r" / "checkpoint-200" / "tokenizer.json").write_text("{")
    (tmp_path / "t.txt").write_text("some words")
    with pytest.raises(CheckpointError, match="tokenizer cannot be loaded"):
        measure_run(tmp_path / "r", tmp_path / "t.txt")


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
