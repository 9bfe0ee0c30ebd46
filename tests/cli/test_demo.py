from __future__ import annotations

import re
from pathlib import Path

import pytest


@pytest.fixture
def figure(tmp_path):
    return tmp_path / "demo.png"


def test_demo_compares_with_points_that_it_did_not_use(document, figure):
    status, answer = document("demo", "--out", figure)
    assert status == 0
    assert figure.stat().st_size > 10_000
    for run in answer["runs"]:
        later = run["later"]
        assert later
        assert min(row["tokens"] for row in later) > run["tokens_seen"]
        inside = [row["obs_lower"] <= row["measured"] <= row["obs_upper"] for row in later]
        assert inside == [row["inside"] for row in later]
        assert run["score"]["inside_band"] == sum(inside)


def test_readme_says_what_the_demo_finds(document, figure):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    said = " ".join(readme.split())
    falling, rising, of = map(
        int,
        re.search(
            r"the two ReLU runs all (\d+) later points lie in the 90% bands; of the two SiLU runs, "
            r".*? (\d+) of (\d+)\.",
            said,
        ).groups(),
    )
    inside, later = {}, {}
    for run in document("demo", "--out", figure)[1]["runs"]:
        kind = "relu" if "relu" in run["run"] else "silu"
        inside[kind] = inside.get(kind, 0) + run["score"]["inside_band"]
        later[kind] = later.get(kind, 0) + len(run["later"])
    assert (falling, falling) == (inside["relu"], later["relu"])
    assert (rising, of) == (inside["silu"], later["silu"])


def test_first_line_says_what_the_data_are(command, figure):
    status, out, _ = command("demo", "--out", figure, "--run", "0.1b_relu_reconstruction",
                             "--data", "paper_reconstruction")  # fmt: skip
    assert status == 0
    first = out.splitlines()[0]
    assert "No measured data" in first and "rebuilt" in first
    assert "of 20 later measurements, none of them used" in out
    assert str(figure) in out


def test_default_is_measured_data(document, figure):
    assert document("demo", "--out", figure)[1]["source"].startswith("Measured data: ")


def test_wrong_names_are_typed_errors(command, figure):
    status, _, err = command("demo", "--out", figure, "--data", "paper_table2")
    assert status == 1 and "not a measurement table" in err
    status, _, err = command("demo", "--out", figure, "--run", "nobody")
    assert status == 1 and "nobody" in err


def test_train_runs_the_chain_and_forecasts_its_table(command, folder, figure, monkeypatch):
    trainer = pytest.importorskip("sparsefit.collectors.trainer")

    def chain(out, seed=0, progress=None):
        progress("training")
        return folder / "two.csv"

    monkeypatch.setattr(trainer, "demo_chain", chain, raising=False)
    status, out, err = command("demo", "--train", "--out", figure)
    assert status == 0
    assert out.startswith("Measured data:") and "trained and measured on this machine" in out
    assert "training" in err
