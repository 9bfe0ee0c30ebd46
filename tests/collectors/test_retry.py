"""Failed checkpoints are tried again; what was measured is taken over, where it still holds."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sparsefit.collectors import Settings, find_checkpoints, measure_run
from sparsefit.collectors.joint import JointSolver
from sparsefit.collectors.series import Series
from sparsefit.collectors.state import Parts
from sparsefit.errors import CheckpointError

pytestmark = pytest.mark.filterwarnings("ignore::sparsefit.collectors.run_text.SmallTextWarning")
STEPS = (140, 160, 180, 200)


@pytest.fixture
def run(trained_run, tmp_path) -> Path:
    for step in STEPS:
        name = f"checkpoint-{step}"
        shutil.copytree(trained_run / name, tmp_path / "run" / name)
    return tmp_path / "run"


@pytest.fixture
def command(run, measure_command, tmp_path):
    """Return a function that measures into a folder of its own: status and table, as bytes."""

    def measure(name: str, *more: str) -> tuple[int, bytes]:
        (tmp_path / name).mkdir(exist_ok=True)
        output = tmp_path / name / "points.csv"
        return measure_command(run, output, *more), output.read_bytes()

    return measure


@pytest.mark.parametrize(("step", "again"), [(140, 1), (200, 4)])
def test_a_repaired_checkpoint(step, again, command, run, loads, tmp_path, capsys) -> None:
    """Before the joint solve it is measured alone; a member of the solve moves the run's CETT."""
    _, undisturbed = command("whole")
    weights = run / f"checkpoint-{step}" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:1000])
    status, broken = command("repaired")
    assert status == 3
    assert "same command measures only what is missing" in capsys.readouterr().err
    loads.clear()
    assert command("repaired") == (3, broken)
    assert set(loads) == {f"checkpoint-{step}"}
    weights.write_bytes(content)
    loads.clear()
    assert command("repaired") == (0, undisturbed)
    assert len(set(loads)) == again
    assert not (tmp_path / "repaired" / "points.csv.parts").exists()


def test_finished_parts_do_not_stand_in_the_way_of_another_measurement(command, run) -> None:
    (run / "checkpoint-140" / "config.json").unlink()
    assert command("points")[0] == 3
    expected = command("other", "-p", "5")
    assert expected[0] == 3
    assert command("points", "-p", "5") == expected


@pytest.mark.parametrize(("part", "stage"), [(JointSolver, "_evaluate"), (Series, "_measure")])
def test_one_that_fails_later(part, stage, run, text, tmp_path, monkeypatch) -> None:
    """Wherever it fails, the table is that of the others; repaired, that of all."""
    checkpoints, small = find_checkpoints(run), text.take(slice(0, 8))
    settings = Settings(joint=2)
    name = "checkpoint-140" if part is Series else "checkpoint-180"
    whole = measure_run(checkpoints, small, settings=settings).table
    original = getattr(part, stage)

    def failing(self, *arguments):
        if any(getattr(argument, "name", None) == name for argument in arguments):
            raise CheckpointError("out of order")
        return original(self, *arguments)

    def measure() -> pd.DataFrame:
        return measure_run(checkpoints, small, settings=settings, parts=tmp_path / "parts").table

    monkeypatch.setattr(part, stage, failing)
    broken = measure()
    assert broken["status"].tolist().count("failed") == 1
    pd.testing.assert_frame_equal(measure(), broken, check_exact=True)
    monkeypatch.setattr(part, stage, original)
    if part is JointSolver:
        others = [item for item in checkpoints if item.name != name]
        expected = measure_run(others, small, settings=settings).table
        ours = broken[broken["status"] == "ok"][list(expected)].reset_index(drop=True)
        pd.testing.assert_frame_equal(ours, expected, check_exact=True, check_dtype=False)
    pd.testing.assert_frame_equal(measure(), whole, check_exact=True, check_like=True)


class Killed(BaseException):
    """Stands for SIGKILL."""


def test_interrupted_with_a_failure_in_the_solve(run, text, tmp_path, monkeypatch) -> None:
    """Stopped after some of the writes and deletions, in a solve that loses a member."""
    checkpoints, small = find_checkpoints(run), text.take(slice(0, 8))
    settings = Settings(joint=2)
    original, put, forget = JointSolver._evaluate, Parts.put, Parts.forget

    def failing(self, solve, checkpoint, cett):
        if checkpoint.name == "checkpoint-200":
            raise CheckpointError("out of order")
        return original(self, solve, checkpoint, cett)

    monkeypatch.setattr(JointSolver, "_evaluate", failing)
    expected = measure_run(checkpoints, small, settings=settings).table
    folder = tmp_path / "parts"
    stops = np.random.default_rng(0).integers(1, 12, 8).tolist()
    left = 0

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    def counted_put(self, key, value):
        count()
        return put(self, key, value)

    def counted_forget(self, keys):
        for key in keys:
            count()
            forget(self, [key])

    monkeypatch.setattr(Parts, "put", counted_put)
    monkeypatch.setattr(Parts, "forget", counted_forget)
    for stop in [*stops, 10_000]:
        left = stop
        try:
            table = measure_run(checkpoints, small, settings=settings, parts=folder).table
        except Killed:
            continue
        pd.testing.assert_frame_equal(table, expected, check_exact=True)
    assert left > 0


def test_json_files_that_are_no_parts_stay(trained_run, text, tmp_path) -> None:
    (tmp_path / "config.json").write_text("{}")
    checkpoints = find_checkpoints(trained_run)[-1:]
    settings = Settings(metric="cett", cett=0.1)
    measure_run(checkpoints, text.take(slice(0, 4)), settings=settings, parts=tmp_path)
    assert (tmp_path / "config.json").read_text() == "{}"
