"""Whole runs: the protocol, the table, interruption, damage."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import shutil
import subprocess
import sys
import warnings
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import sparsefit as sf
from sparsefit.collectors import (
    Checkpoint,
    LoadOptions,
    Settings,
    find_checkpoints,
    measure_run,
    memory,
    response_curve,
    thresholds_from_layers,
)
from sparsefit.collectors.run_text import SmallTextWarning
from sparsefit.collectors.state import Parts, clear, file_name
from sparsefit.errors import ArgumentError, CheckpointError, CollectorError

pytestmark = pytest.mark.filterwarnings("ignore::sparsefit.collectors.run_text.SmallTextWarning")


@pytest.fixture(scope="module")
def measured(trained_run, text):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SmallTextWarning)
        return measure_run(trained_run, text)


def test_one_cett_for_the_run_solved_on_the_last_five(measured, text, trained_run) -> None:
    table = measured.table
    assert len(table) == 10
    assert (table["status"] == "ok").all()
    assert table["cett"].nunique() == 1
    solution = measured.solutions["run"]
    assert solution["status"] == "converged"
    assert solution["checkpoints"] == [f"checkpoint-{step}" for step in (120, 140, 160, 180, 200)]
    # Algorithm 1 averages perplexity ratios, not their logarithms.
    assert abs(math.log(table["ppl_ratio"].iloc[-5:].mean()) - math.log(1.01)) <= 3e-4
    np.testing.assert_allclose(
        table["ppl_ratio"], np.exp(table["loss_sparse"] - table["loss_dense"]), rtol=1e-12
    )
    assert table["tokens"].tolist() == [step * 512 for step in range(20, 201, 20)]
    assert table["eval_data"].unique().tolist() == [text.label]
    assert (table["activation"] == "relu").all()
    assert table["n_layers"].iloc[0] == 2
    assert (table["se"] > 0).all()
    assert (table["se_shared"] > 0).all()
    assert table["run"].unique().tolist() == [trained_run.name]


def test_tables_are_what_the_rest_of_the_package_reads(measured, tmp_path) -> None:
    sf.write_table(measured.table, tmp_path / "t.parquet")
    again = sf.read_table(tmp_path / "t.parquet")
    assert again["activation_ratio"].tolist() == measured.table["activation_ratio"].tolist()
    layers = measured.layers
    assert list(layers) == ["run", "tokens", "layer", "threshold", "cett", "activation_ratio"]
    means = layers.groupby("tokens")["activation_ratio"].mean()
    np.testing.assert_allclose(means.to_numpy(), measured.table["activation_ratio"], rtol=1e-12)


def test_each_checkpoint_on_its_own(trained_run, text) -> None:
    checkpoints = find_checkpoints(trained_run)[-2:]
    result = measure_run(checkpoints, text, settings=Settings(cett_scope="checkpoint"))
    assert result.table["cett"].nunique() == 2
    np.testing.assert_allclose(np.log(result.table["ppl_ratio"]), math.log(1.01), atol=3e-4)
    assert set(result.solutions) == {"checkpoint-180", "checkpoint-200"}


def test_a_list_in_any_order(measured, trained_run, text) -> None:
    """Names that occur twice would share their parts."""
    checkpoints = find_checkpoints(trained_run)
    shuffled = [checkpoints[at] for at in (3, 9, 0, 8, 1, 2, 7, 4, 6, 5)]
    again = measure_run(shuffled, text)
    pd.testing.assert_frame_equal(again.table, measured.table, check_exact=True)
    with pytest.raises(CheckpointError, match="checkpoint-200: same name"):
        measure_run([*checkpoints, dataclasses.replace(checkpoints[-1], tokens=1, step=1)], text)


def test_other_metrics(trained_run, text) -> None:
    last = find_checkpoints(trained_run)[-1:]
    zero = measure_run(last, text, settings=Settings(metric="relu_zero")).table.iloc[0]
    assert zero["ppl_ratio"] == pytest.approx(1.0, abs=1e-6)
    assert 0.05 < zero["activation_ratio"] < 0.9
    top = measure_run(last, text, settings=Settings(metric="topk", k=15)).table.iloc[0]
    assert top["activation_ratio"] == pytest.approx(0.25)
    fat = measure_run(last, text, settings=Settings(metric="fat", eps=0.1)).table.iloc[0]
    assert fat["activation_ratio"] < zero["activation_ratio"]
    fixed = measure_run(last, text, settings=Settings(metric="cett", cett=0.1)).table.iloc[0]
    assert fixed["cett"] == 0.1
    assert fixed["activation_ratio"] < zero["activation_ratio"]


def test_relu_zero_is_refused_without_exact_zeros(trained_silu, text, tmp_path) -> None:
    trained_silu.save_pretrained(tmp_path / "step-1")
    series = find_checkpoints(tmp_path, tokens_per_step=1000)
    with pytest.raises(CheckpointError, match="has none"):
        measure_run(series, text, settings=Settings(metric="relu_zero"))


def test_short_texts_are_warned_about(trained_run, text) -> None:
    last = find_checkpoints(trained_run)[-1:]
    with pytest.warns(SmallTextWarning, match="16384"):
        measure_run(last, text, settings=Settings(metric="cett", cett=0.1))
    with pytest.warns(SmallTextWarning, match="131072"):
        measure_run(last, text)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"metric": "cett"}, "needs cett"),
        ({"cett": 0.1}, "goes with"),
        ({"metric": "cett", "cett": 1.5}, "strictly between"),
        ({"p_percent": -1.0}, "p_percent must be finite and > 0"),
        ({"p_percent": "1"}, "p_percent must be"),
        ({"metric": "other"}, "metric must be one of"),
        ({"joint": 0}, "at least 1"),
        ({"joint": 1.5}, "at least 1"),
        ({"tolerance": None}, "tolerance must be"),
        ({"metric": "cett", "cett": "0.1"}, "strictly between"),
        ({"metric": "topk", "k": True}, "whole number"),
        ({"metric": "fat", "eps": [0.1]}, "non-negative"),
        ({"metric": "topk", "k": 0}, "whole number"),
        ({"metric": "topk", "k": 1.5}, "whole number"),
        ({"metric": "fat", "eps": -1.0}, "non-negative"),
        ({"metric": "fat", "eps": math.nan}, "non-negative"),
        ({"p_percent": 0.01}, "larger p_percent"),
    ],
)
def test_settings_are_checked(options, match) -> None:
    with pytest.raises(ArgumentError, match=match):
        Settings(**options)


@pytest.mark.parametrize("tokens", [0, -5, 1.5, math.nan, math.inf, "5", None])
def test_tokens_of_a_checkpoint_are_checked(tokens) -> None:
    with pytest.raises(ArgumentError, match=r"a: tokens=.* must be a positive whole number"):
        Checkpoint("a", "a", tokens)
    for whole in (10**9, 1e9, np.int64(10**9)):
        assert type(Checkpoint("a", "a", whole).tokens) is int


def test_what_else_python_users_give(trained_run, text, tmp_path) -> None:
    """Folders as a list, and a device object; a path where a text is asked for says how."""
    settings = Settings(metric="cett", cett=0.1)
    folders = [trained_run / f"checkpoint-{step}" for step in (200, 180)]
    load = LoadOptions(device=torch.device("cpu"))
    small = text.take(slice(0, 8))
    result = measure_run(folders, small, settings=settings, load=load, parts=tmp_path / "parts")
    assert result.table["step"].tolist() == [180, 200]
    with pytest.raises(ArgumentError, match=r"'t\.txt' is not an EvaluationText: give load_text"):
        response_curve(torch.nn.Linear(2, 2), "t.txt", [0.1])
    for options, words in (
        ({"settings": "cett"}, "settings= takes Settings"),
        ({"load": "cpu"}, "load= takes LoadOptions"),
        ({"parts": 5}, "parts must be the path"),
        ({"batch_size": "2"}, "batch_size must be a whole number"),
    ):
        with pytest.raises(ArgumentError, match=words):
            measure_run(folders, small, **options)
    for run in (5, [5], [folders[0], 5]):
        with pytest.raises(ArgumentError, match="run must be a folder or a list of checkpoints"):
            measure_run(run, small)
    with pytest.raises(ArgumentError, match="dtype must be one of"):
        LoadOptions(dtype=["float32"])
    with pytest.raises(ArgumentError, match="a per-layer table also has"):
        thresholds_from_layers(result.table)


def test_double_precision_is_measured_too(trained_relu, text) -> None:
    expected = response_curve(trained_relu, text, [0.1, 0.3])
    doubled = response_curve(copy.deepcopy(trained_relu).double(), text, [0.1, 0.3])
    pd.testing.assert_frame_equal(doubled, expected, rtol=1e-4)


def test_bf16_is_close_to_fp32(trained_run, text) -> None:
    last = find_checkpoints(trained_run)[-1:]
    settings = Settings(metric="cett", cett=0.1)
    full = measure_run(last, text, settings=settings).table.iloc[0]
    half = measure_run(last, text, settings=settings, load=LoadOptions(dtype="bfloat16")).table
    assert half["activation_ratio"].iloc[0] == pytest.approx(full["activation_ratio"], abs=5e-3)
    assert half["loss_dense"].iloc[0] == pytest.approx(full["loss_dense"], abs=5e-3)


# -- interruption --------------------------------------------------------------------------------


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the collectors may catch it."""


def test_resumed_after_every_single_write(trained_run, text, tmp_path, monkeypatch) -> None:
    """Stop right after each stored part in turn; the resumed run must end the same."""
    series = find_checkpoints(trained_run)[-3:]
    small = text.take(slice(0, 8))
    settings = Settings(joint=2)
    original = Parts.put
    writes = 0

    def counted(self, key, value):
        nonlocal writes
        writes += 1
        return original(self, key, value)

    monkeypatch.setattr(Parts, "put", counted)
    expected = measure_run(series, small, settings=settings, parts=tmp_path / "whole").table
    # Every seventh write: the killed processes below hit the others.
    for stop in range(1, writes + 1, 7):
        seen = 0

        def put(self, key, value, stop=stop):
            nonlocal seen
            result = original(self, key, value)
            seen += 1
            if seen == stop:
                raise Killed
            return result

        folder = tmp_path / f"stop{stop}"
        monkeypatch.setattr(Parts, "put", put)
        with pytest.raises(Killed):
            measure_run(series, small, settings=settings, parts=folder)
        monkeypatch.setattr(Parts, "put", original)
        (folder / f".{'x'}.partial").write_text("half a file")
        resumed = measure_run(series, small, settings=settings, parts=folder).table
        pd.testing.assert_frame_equal(resumed, expected, check_exact=True)


def test_resumed_after_a_kill_while_parts_are_deleted(
    trained_run, text, tmp_path, monkeypatch
) -> None:
    """Parts are deleted at the end, in any order; killed on the way, the same table comes out.

    A measurement that went on from any subset of the parts would take other decisions.
    """
    series = find_checkpoints(trained_run)[-6:]
    small, settings = text.take(slice(0, 8)), Settings(joint=4)
    whole = tmp_path / "whole"
    expected = measure_run(series, small, settings=settings, parts=whole).table
    unlink, glob = Path.unlink, Path.glob
    rng = np.random.default_rng(0)
    for number in range(4):
        folder = tmp_path / f"kill{number}"
        shutil.copytree(whole, folder)
        deleted, stop = 0, int(rng.integers(1, len(list(whole.glob("*.json")))))

        def killed(self, missing_ok=False, stop=stop):
            nonlocal deleted
            if deleted == stop:
                raise Killed
            deleted += 1
            unlink(self, missing_ok=missing_ok)

        def shuffled(self, pattern):
            return iter(rng.permutation(np.array(list(glob(self, pattern)), dtype=object)))

        monkeypatch.setattr(Path, "unlink", killed)
        monkeypatch.setattr(Path, "glob", shuffled)
        with pytest.raises(Killed):
            clear(folder)
        monkeypatch.setattr(Path, "unlink", unlink)
        monkeypatch.setattr(Path, "glob", glob)
        resumed = measure_run(series, small, settings=settings, parts=folder).table
        pd.testing.assert_frame_equal(resumed, expected, check_exact=True)


def kill_and_resume(run: Path, text: Path, kills: int) -> dict[str, object]:
    """Kill the command at random moments (scripts/kill_and_resume.py) and let it finish."""
    script = Path(__file__).parents[2] / "scripts" / "kill_and_resume.py"
    words = ["--run", str(run), "--text", str(text), "--kills", str(kills), "--seed", "1", "--json"]
    done = subprocess.run(
        [sys.executable, str(script), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.long)])
def test_killed_at_random_moments(trained_run, markov, tmp_path, kills: int) -> None:
    np.save(tmp_path / "text.npy", markov(2048, seed=9))
    report = kill_and_resume(trained_run, tmp_path / "text.npy", kills)
    assert report["identical"] == report["kills"] == kills
    # A kill may come after the run has ended, on a quick machine.
    assert report["killed_while_running"] >= min(0.9 * kills, kills - 1)


def test_parts_of_another_measurement_are_refused(tmp_path) -> None:
    Parts(tmp_path / "p", {"text": "a"}).put(("x",), 1)
    assert Parts(tmp_path / "p", {"text": "a"}).get(("x",)) == 1
    with pytest.raises(CollectorError, match="different: text is b, was a"):
        Parts(tmp_path / "p", {"text": "b"})
    (tmp_path / "p" / "plan.part.json").rename(tmp_path / "plan.json")
    assert Parts(tmp_path / "p", {"text": "b"}).get(("x",)) is None
    (tmp_path / "p" / "x.part.json").write_text("{")
    with pytest.raises(CollectorError, match="Delete it"):
        Parts(tmp_path / "p", {"text": "b"}).get(("x",))


def test_names_cannot_leave_the_folder() -> None:
    assert "/" not in file_name(("at", "../../x"))
    names = [("a b",), ("a%20b",), ("a", "b"), ("a+b",), ("a\u4e2d",), ("aN2d",)]
    assert len({file_name(name) for name in names}) == len(names)
    assert len(file_name(("at", "\u00e9" * 60)).encode()) < 150


def test_keys_are_read_back_from_the_names(tmp_path) -> None:
    parts = Parts(tmp_path, {})
    # The last is a file name that is no UTF-8.
    keys = {
        ("at", "a+b", "../../x"),
        ("at", "100%", "\u4e2d a"),
        ("model", b"\xff".decode("utf-8", "surrogateescape")),
    }
    for key in keys:
        parts.put(key, 1)
    assert parts.keys() == {*keys, ("plan",)}
    parts.forget([("at", "a+b", "../../x")])
    assert len(Parts(tmp_path, {}).keys()) == 3


def test_one_large_model_in_memory_at_a_time(trained_run, text, monkeypatch) -> None:
    """The next is loaded once the one before is gone: two need not fit."""
    monkeypatch.setattr(memory, "_CACHE_BYTES", 0)
    alive: list[weakref.ref] = []
    loads = 0
    original = memory.load_model

    def load(checkpoint, options):
        nonlocal loads
        loads += 1
        assert not [model for model in alive if model() is not None]
        model = original(checkpoint, options)
        alive.append(weakref.ref(model))
        return model

    monkeypatch.setattr(memory, "load_model", load)
    measure_run(find_checkpoints(trained_run)[-3:], text, settings=Settings(joint=2))
    assert loads > 3
