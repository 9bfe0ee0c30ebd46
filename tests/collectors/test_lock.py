"""Two measurements of one output: the second is refused, and a killed one holds nothing."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

from sparsefit.cli import main
from sparsefit.collectors.lock import LOCK, alone
from sparsefit.errors import CollectorError

HOLD = """
import sys, time
from pathlib import Path
from sparsefit.collectors.lock import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    parts = tmp_path / "points.csv.parts"
    command = [sys.executable, "-c", HOLD, str(parts)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_measurement_is_refused_until_the_first_has_ended(
    holder, trained_run, markov, tmp_path, capsys
):
    np.save(tmp_path / "t.npy", markov(512, seed=4))
    source = ["--text", str(tmp_path / "t.npy"), "--seq-len", "32", "--n-tokens", "512", "--quiet"]
    output = tmp_path / "points.csv"
    command = ["measure", str(trained_run / "checkpoint-200"), *source, "-o", str(output)]
    command += ["--metric", "cett", "--cett", "0.1"]
    # What is kept stays: a restart would delete what the first is writing.
    kept = tmp_path / "points.csv.parts" / "plan.part.json"
    kept.write_text("{}")
    assert main([*command, "--restart"]) == 1
    assert "in use: another measurement is writing the same output" in capsys.readouterr().err
    assert kept.exists() and not output.exists()
    holder.kill()
    holder.wait()
    assert main([*command, "--restart"]) == 0
    assert output.is_file()
    assert not (tmp_path / "points.csv.parts").exists()


def test_it_is_held_again_by_the_same_thread_only(tmp_path):
    folder = tmp_path / "parts"
    refused = []

    def second() -> None:
        try:
            with alone(folder):
                pass
        except CollectorError as error:
            refused.append(str(error))

    with alone(folder):
        with alone(folder):
            pass
        other = threading.Thread(target=second)
        other.start()
        other.join()
        assert (folder / LOCK).exists()
    assert len(refused) == 1
    assert not folder.exists()
    second()
    assert len(refused) == 1


def test_a_folder_with_parts_stays(tmp_path):
    with alone(tmp_path / "parts"):
        (tmp_path / "parts" / "x.part.json").write_text("1")
    assert (tmp_path / "parts" / "x.part.json").exists()
    with alone(None):
        pass
