"""Series of checkpoints and their training tokens."""

from __future__ import annotations

import json

import pytest

from sparsefit.collectors.checkpoints import (
    Checkpoint,
    UnmeasuredModelWarning,
    find_checkpoints,
    run_of,
)
from sparsefit.errors import ArgumentError, CheckpointError


@pytest.fixture
def run(tmp_path):
    for name in ("checkpoint-200", "checkpoint-1000", "checkpoint-30"):
        (tmp_path / name).mkdir()
    (tmp_path / "runs").mkdir()
    return tmp_path


def state(folder, **values) -> None:
    (folder / "trainer_state.json").write_text(json.dumps(values))


def test_numeric_order_and_tokens_per_step(run) -> None:
    found = find_checkpoints(run, tokens_per_step=512)
    assert [c.step for c in found] == [30, 200, 1000]
    assert [c.tokens for c in found] == [15360, 102400, 512000]


@pytest.mark.parametrize(
    "name",
    [
        *("step-5", "step5", "Step=5", "checkpoint-5", "ckpt-5", "iter_0000005", "global_step5"),
        *("step_5_hf", "step5-main"),
    ],
)
def test_folder_names(tmp_path, name: str) -> None:
    (tmp_path / name).mkdir()
    (found,) = find_checkpoints(tmp_path, tokens_per_step=2)
    assert (found.step, found.tokens) == (5, 10)


def test_checkpoints_of_one_name_are_told_apart_by_their_folders(tmp_path) -> None:
    folders = [tmp_path / name / "step-3" for name in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"b/step-3: same name \(step-3\) as .*a/step-3"):
        find_checkpoints(folders, tokens_per_step=2)


def test_folders_named_by_nothing_but_the_step(tmp_path) -> None:
    for name in ("1000", "00200", "2024"):
        (tmp_path / name).mkdir()
    with pytest.raises(CheckpointError, match="no folders named by a step"):
        find_checkpoints(tmp_path, tokens_per_step=2)
    # One model is enough: the others are damaged, and get their own rows.
    (tmp_path / "1000" / "config.json").write_text("{}")
    assert [c.step for c in find_checkpoints(tmp_path, tokens_per_step=2)] == [200, 1000, 2024]
    (tmp_path / "checkpoint-7").mkdir()
    with pytest.warns(UnmeasuredModelWarning, match="1000"):
        (found,) = find_checkpoints(tmp_path, tokens_per_step=2)
    assert found.step == 7


def test_folders_that_a_mapping_or_a_pattern_names(tmp_path) -> None:
    for name in ("hf-2B", "hf-10B", "notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"only hf-10B, hf-2B, notes: give the tokens"):
        find_checkpoints(tmp_path, tokens_per_step=2)
    with pytest.warns(UnmeasuredModelWarning, match="notes"):
        found = find_checkpoints(tmp_path, tokens_pattern=r"hf-(\d+B)")
    assert [c.tokens for c in found] == [2 * 10**9, 10**10]
    with pytest.warns(UnmeasuredModelWarning, match=r"hf-2B, notes"):
        (only,) = find_checkpoints(tmp_path, tokens={"hf-10B": 10**10})
    assert only.name == "hf-10B"


def test_a_checkpoint_that_holds_its_optimiser_in_a_folder_is_one_checkpoint(tmp_path) -> None:
    # As DeepSpeed leaves it.
    folder = tmp_path / "checkpoint-30"
    (folder / "global_step30").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (found,) = find_checkpoints(folder, tokens_per_step=2)
    assert (found.name, found.source, found.tokens) == ("checkpoint-30", str(folder), 60)


def test_a_final_model_beside_the_checkpoints_does_not_hide_them(run) -> None:
    # What a trainer of transformers leaves: the last model in the run's own folder.
    for folder in (run, run / "checkpoint-30"):
        (folder / "config.json").write_text("{}")
    state(run, global_step=1000, num_input_tokens_seen=512_000)
    (run / "final").mkdir()
    (run / "final" / "config.json").write_text("{}")
    with pytest.warns(UnmeasuredModelWarning, match=r"itself, final \(beside 3 checkpoints"):
        found = find_checkpoints(run, tokens_per_step=512)
    assert [c.step for c in found] == [30, 200, 1000]
    (alone,) = find_checkpoints(run / "final", tokens={"final": 7})
    assert alone.tokens == 7


def test_why_tokens_are_unknown(run) -> None:
    with pytest.raises(CheckpointError, match=r"checkpoint-30, .*--tokens-per-step"):
        find_checkpoints(run)
    with pytest.raises(CheckpointError, match="not in the mapping"):
        find_checkpoints(run, tokens={"checkpoint-30": 5})
    (run / "last").mkdir()
    (run / "last" / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no step that tokens per step could multiply"):
        find_checkpoints(run / "last", tokens_per_step=512)


def test_trainer_state_gives_tokens_and_loss(run) -> None:
    for folder in run.glob("checkpoint-*"):
        step = int(folder.name.split("-")[1])
        log = [{"step": step, "loss": 2.5}]
        state(folder, global_step=step, num_input_tokens_seen=step * 7, log_history=log)
    found = find_checkpoints(run)
    assert [c.tokens for c in found] == [210, 1400, 7000]
    assert found[0].loss == 2.5


def test_mapping_and_pattern(run, tmp_path) -> None:
    table = tmp_path / "tokens.csv"
    table.write_text("checkpoint,tokens\ncheckpoint-30,3e3\ncheckpoint-200,2e4\n1000,1e5\n")
    assert [c.tokens for c in find_checkpoints(run, tokens=table)] == [3000, 20000, 100000]
    (tmp_path / "b").mkdir()
    for name in ("step1-tokens2B", "step2-tokens10B"):
        (tmp_path / "b" / name).mkdir()
    found = find_checkpoints(tmp_path / "b", tokens_pattern=r"tokens(\d+B)")
    assert [c.tokens for c in found] == [2 * 10**9, 10**10]


def test_every_problem_is_listed_at_once(run) -> None:
    state(run / "checkpoint-30", global_step=31, num_input_tokens_seen=9)
    state(run / "checkpoint-200", global_step=200, num_input_tokens_seen=123)
    with pytest.raises(CheckpointError) as caught:
        find_checkpoints(run, tokens={"checkpoint-200": 124_000})
    message = str(caught.value)
    assert "says step 31, the name 30" in message
    assert "checkpoint-200: contradictory training tokens" in message
    assert "checkpoint-1000: training tokens unknown" in message


def test_a_problem_of_many_checkpoints_is_one_line(tmp_path) -> None:
    for step in range(100, 2100, 100):
        (tmp_path / f"step-{step}").mkdir()
    with pytest.raises(CheckpointError) as caught:
        find_checkpoints(tmp_path)
    (line,) = str(caught.value).splitlines()[1:]
    first = "step-100, step-200, step-300, step-400, step-500 and 15 more: training tokens unknown"
    assert first in line
    assert "--tokens-per-step" in line


def test_a_run_is_called_as_the_folder_that_holds_its_checkpoints(run) -> None:
    found = find_checkpoints(run, tokens_per_step=512)
    # Of whichever of them, so that the name stays while the run grows.
    for place in (None, run):
        for some in (found, found[:2], found[-1:]):
            assert run_of(some, place) == run.name
    assert run_of(found[-1:], run / "checkpoint-1000") == run.name
    (model,) = find_checkpoints([run / "runs"], tokens={"runs": 5})
    assert run_of([model]) == "runs"
    hub = find_checkpoints("someone/model", tokens_per_step=2, revisions=["step1", "step2"])
    assert run_of(hub) == run_of(hub, "someone/model") == "model"
    assert run_of([Checkpoint("step-7", "in training", tokens=7)]) == "step-7"


@pytest.mark.parametrize("count", ["1.2B", "1.2e9", " 1200000000 ", 1.2e9, "0.0012T"])
def test_ways_to_write_a_count(run, tmp_path, count) -> None:
    mapping = {"checkpoint-30": count, "200": "2B", "1000": "3000M"}
    expected = [1_200_000_000, 2_000_000_000, 3_000_000_000]
    assert [c.tokens for c in find_checkpoints(run, tokens=mapping)] == expected
    (tmp_path / "t.json").write_text(json.dumps(mapping))
    assert [c.tokens for c in find_checkpoints(run, tokens=tmp_path / "t.json")] == expected
    # As a spreadsheet on Windows saves it.
    rows = [f"{name},{value}" for name, value in mapping.items()]
    (tmp_path / "t.csv").write_bytes("\r\n".join(["checkpoint,tokens", *rows]).encode("utf-8-sig"))
    assert [c.tokens for c in find_checkpoints(run, tokens=tmp_path / "t.csv")] == expected


@pytest.mark.parametrize("count", ["1,200", "many", "", None, "B"])
def test_counts_that_are_none(run, tmp_path, count) -> None:
    with pytest.raises(ArgumentError, match=r"not a number like 1\.2e9 or 1\.2B"):
        find_checkpoints(run, tokens={"checkpoint-30": count})
    (tmp_path / "t.json").write_text(json.dumps({"checkpoint-30": count}))
    with pytest.raises(CheckpointError, match=r"not a number like 1\.2e9 or 1\.2B"):
        find_checkpoints(run, tokens=tmp_path / "t.json")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tokens_per_step": "many"}, "tokens_per_step= is 'many', not a number"),
        ({"tokens_per_step": [4]}, "not a number like"),
        ({"tokens": [1e6]}, "tokens must be a mapping"),
        ({"tokens_pattern": 5}, "not a regular expression"),
        ({"revisions": "main"}, "revisions must be a sequence"),
    ],
)
def test_arguments_of_another_kind(run, options, words) -> None:
    with pytest.raises(ArgumentError, match=words):
        find_checkpoints(run, **options)


def test_tokens_per_step_with_a_suffix(run) -> None:
    found = find_checkpoints(run, tokens_per_step="4k")
    assert [c.tokens for c in found] == [4000 * c.step for c in found]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e400])
def test_counts_that_are_not_finite(run, value) -> None:
    with pytest.raises(CheckpointError, match=f"checkpoint-1000: tokens per step says {value}"):
        find_checkpoints(run, tokens_per_step=value)
    with pytest.raises(CheckpointError, match=f"checkpoint-30: the mapping says {value}"):
        find_checkpoints(run, tokens={"checkpoint-30": value})


def test_the_start_of_training_is_named_and_left_out(run) -> None:
    (run / "step0").mkdir()
    with pytest.warns(UnmeasuredModelWarning, match="seen no tokens: step0"):
        found = find_checkpoints(run, tokens_per_step=512)
    assert [c.step for c in found] == [30, 200, 1000]
    state(run / "step0", global_step=0, num_input_tokens_seen=0)
    with pytest.raises(CheckpointError, match="step0: a checkpoint without any training"):
        find_checkpoints([run / "step0"])


def test_files_beside_the_checkpoints(run) -> None:
    """Archives and logs are no checkpoints; a link to a disk that is away is one that fails."""
    (run / "checkpoint-200.zip").write_bytes(b"")
    (run / "step-30.log").write_bytes(b"")
    assert len(find_checkpoints(run, tokens_per_step=512)) == 3
    (run / "checkpoint-2000").symlink_to(run / "away")
    (run / "step-3000.gguf").write_bytes(b"")
    found = find_checkpoints(run, tokens_per_step=512)
    assert [c.step for c in found] == [30, 200, 1000, 2000, 3000]


@pytest.mark.parametrize("log", [5, {"step": 30}, [3, None, {"step": 30, "loss": "2.5"}]])
def test_a_log_that_says_nothing(run, log) -> None:
    state(run / "checkpoint-30", global_step=30, log_history=log)
    assert find_checkpoints(run, tokens_per_step=512)[0].loss is None
    state(run / "checkpoint-30", log_history=[{"step": 30, "loss": float("nan")}])
    assert find_checkpoints(run, tokens_per_step=512)[0].loss is None


def test_duplicates(run) -> None:
    (run / "step-30").mkdir()
    with pytest.raises(CheckpointError, match=r"same step \(30\)"):
        find_checkpoints(run, tokens_per_step=512)


def test_damage(run, tmp_path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        find_checkpoints(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="holds no folders named by a step"):
        find_checkpoints(tmp_path / "runs")
    (run / "checkpoint-30" / "trainer_state.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"trainer_state\.json cannot be read"):
        find_checkpoints(run, tokens_per_step=1)
    with pytest.raises(ArgumentError, match="one group"):
        find_checkpoints(run, tokens_pattern="x")
    with pytest.raises(CheckpointError, match="matched None, not a number"):
        find_checkpoints([run / "checkpoint-200"], tokens_pattern="checkpoint(x)?")
    with pytest.raises(CheckpointError, match="expected a JSON object"):
        find_checkpoints(run, tokens=tmp_path / "absent.csv")
