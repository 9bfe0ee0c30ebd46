"""A run that still trains: its table grows, and is that of one measurement at the first CETT."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sparsefit.collectors import Settings, find_checkpoints, measure_run
from sparsefit.collectors.growing import warn_of_drift
from sparsefit.collectors.loading import LoadOptions
from sparsefit.collectors.run_text import default_text
from sparsefit.errors import ArgumentError, CheckpointError

pytestmark = pytest.mark.filterwarnings(
    "ignore::sparsefit.collectors.run_text.SmallTextWarning",
    "ignore::sparsefit.collectors.growing.DriftWarning",
)
EARLY, LATER = (20, 40, 60, 80), (100, 120)


@pytest.fixture
def run(trained_run, tmp_path) -> Path:
    _add(trained_run, tmp_path / "run", EARLY)
    return tmp_path / "run"


def _add(trained: Path, run: Path, steps: tuple[int, ...]) -> None:
    for step in steps:
        shutil.copytree(trained / f"checkpoint-{step}", run / f"checkpoint-{step}")


@pytest.fixture
def command(run, measure_command, tmp_path):
    """Return a function that measures: status and table."""

    def measure(*more: str, output: str = "points.csv") -> tuple[int, pd.DataFrame]:
        status = measure_command(run, tmp_path / output, *more)
        return status, pd.read_csv(tmp_path / output)

    return measure


def test_new_checkpoints_are_measured_at_the_cett_found_before(
    command, run, trained_run, loads
) -> None:
    status, first = command("--extend")
    assert (status, len(first)) == (0, 4)
    _add(trained_run, run, LATER)
    loads.clear()
    status, grown = command("--extend")
    assert status == 0
    assert set(loads) == {f"checkpoint-{step}" for step in LATER}
    assert grown["step"].tolist() == [*EARLY, *LATER]
    assert grown["cett"].nunique() == 1
    same = ["tokens", "activation_ratio", "cett", "loss_dense", "loss_sparse", "step"]
    pd.testing.assert_frame_equal(grown[same].head(4), first[same], check_exact=True)
    # Old and new are what that CETT gives by itself.
    given = ("--metric", "cett", "--cett", repr(float(first["cett"][0])))
    _, alone = command(*given, output="alone.csv")
    assert grown["activation_ratio"].tolist() == pytest.approx(alone["activation_ratio"], abs=2e-3)


def test_checkpoints_that_the_trainer_deleted_stay_in_the_table(command, run, trained_run) -> None:
    _, first = command("--extend")
    _add(trained_run, run, LATER)
    for step in EARLY[:3]:
        shutil.rmtree(run / f"checkpoint-{step}")
    status, grown = command("--extend")
    assert status == 0
    assert grown["tokens"].head(4).tolist() == first["tokens"].tolist()
    assert grown["activation_ratio"].head(4).tolist() == first["activation_ratio"].tolist()
    assert len(grown) == 6


def test_nothing_is_discarded_by_mistake(command, run, trained_run, capsys) -> None:
    command("--extend")
    _add(trained_run, run, LATER)
    assert command()[0] == 1
    assert "--extend" in capsys.readouterr().err
    assert command("--extend", "-p", "3")[0] == 1
    assert "different: p_percent is 3.0, was 1.0" in capsys.readouterr().err
    status, anew = command("--restart")
    assert (status, len(anew)) == (0, 6)
    # Its parts are gone now.
    assert command("--extend")[0] == 1
    assert "measured without --extend" in capsys.readouterr().err


def test_a_checkpoint_that_failed_is_tried_again_at_that_cett(command, run) -> None:
    weights = run / "checkpoint-20" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:100])
    status, broken = command("--extend")
    assert status == 3
    weights.write_bytes(content)
    status, whole = command("--extend")
    assert status == 0
    assert whole["cett"].nunique() == 1
    assert whole["cett"][3] == broken["cett"][3]


def test_other_tokens_under_a_known_name_are_refused(run, text, tmp_path) -> None:
    def measure(tokens_per_step: int) -> None:
        found = tuple(
            replace(checkpoint, tokens=int(checkpoint.name[11:]) * tokens_per_step)
            for checkpoint in find_checkpoints(run)
        )
        settings = Settings(metric="cett", cett=0.1)
        small, parts = text.take(slice(0, 4)), tmp_path / "parts"
        measure_run(found, small, settings=settings, parts=parts, extend=True)

    measure(7)
    with pytest.raises(CheckpointError, match="220 training tokens, but 140 when it was measured"):
        measure(11)


def test_a_newest_checkpoint_of_another_model_is_the_odd_one(
    command, run, trained_run, tiny
) -> None:
    """It fails alone, whatever is done about it: what was measured before stays as it was."""
    _, first = command("--extend")
    _add(trained_run, run, LATER[:1])
    tiny("relu", intermediate_size=44).save_pretrained(run / "checkpoint-100")
    for step in EARLY[:3]:
        shutil.rmtree(run / f"checkpoint-{step}")
    for _ in range(2):
        status, grown = command("--extend")
        assert status == 3
        assert grown["status"].tolist() == ["ok"] * 4 + ["failed"]
        assert grown["activation_ratio"].head(4).tolist() == first["activation_ratio"].tolist()
    shutil.rmtree(run / "checkpoint-100")
    _add(trained_run, run, LATER)
    status, grown = command("--extend")
    assert status == 0
    assert grown["cett"].nunique() == 1
    assert grown["activation_ratio"].head(4).tolist() == first["activation_ratio"].tolist()


def test_a_failed_checkpoint_that_is_gone_is_named(command, run, trained_run, capsys) -> None:
    _add(trained_run, run, LATER[:1])
    (run / "checkpoint-100" / "model.safetensors").write_bytes(b"x" * 100)
    assert command("--extend")[0] == 3
    shutil.rmtree(run / "checkpoint-100")
    status, grown = command("--extend")
    assert (status, len(grown)) == (0, 4)
    assert "checkpoint-100 (51200 training tokens) could not be measured" in capsys.readouterr().err


def test_a_plain_command_leaves_the_parts_of_a_growing_run(command, run, trained_run) -> None:
    command("--extend")
    assert command()[0] == 0
    shutil.rmtree(run / "checkpoint-20")
    _add(trained_run, run, LATER)
    status, grown = command("--extend")
    assert (status, len(grown)) == (0, 6)


def test_other_weights_under_a_known_name_are_refused(command, run, trained_run, capsys) -> None:
    _, first = command("--extend")
    name = "model.safetensors"
    shutil.copy(trained_run / "checkpoint-140" / name, run / "checkpoint-40" / name)
    status, kept = command("--extend")
    assert status == 1
    assert "checkpoint-40: its weights have changed" in capsys.readouterr().err
    pd.testing.assert_frame_equal(kept, first, check_exact=True)


def test_the_text_stays_the_same_with_one_checkpoint_and_with_more(run, markov, tmp_path) -> None:
    np.save(tmp_path / "long.npy", markov(140_000, seed=4))
    found = find_checkpoints(run)
    options = {"tokenizer": object(), "seq_len": 32, "growing": True}
    one, more = (
        default_text(tmp_path / "long.npy", checkpoints, Settings(), LoadOptions(), **options)
        for checkpoints in (found[:1], found)
    )
    assert one.label == more.label


@pytest.mark.parametrize(
    ("ratios", "told"), [([1.5, 1.0095, 1.0102], False), ([1.01, 1.0, 1.012], True)]
)
def test_drift_of_the_last_checkpoints_is_told(ratios, told) -> None:
    table = pd.DataFrame({"tokens": [1, 2, 3], "status": "ok", "cett": 0.1, "ppl_ratio": ratios})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_drift(table, Settings(joint=2))
        warn_of_drift(table, Settings(metric="relu_zero"))
    said = "On the last 2 it costs 0.60% of perplexity, not 1%"
    assert [said in str(item.message) for item in caught] == [True] * told


def test_without_parts_nothing_can_grow(run, text) -> None:
    with pytest.raises(ArgumentError, match="needs parts="):
        measure_run(run, text, extend=True)
