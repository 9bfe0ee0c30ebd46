"""From tables of checkpoints to the points of the law, in Python and by the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.cli import main
from sparsefit.errors import TableError
from sparsefit.width_depth import last_losses

SHAPES = {"a": (96, 1), "b": (68, 2), "c": (56, 3), "d": (48, 4), "e": (34, 8), "f": (22, 20)}


@pytest.fixture
def checkpoints() -> pd.DataFrame:
    """Checkpoints of six architectures, simulated from Eq. 4; their losses fall to 3.0 to 3.5."""
    d = np.geomspace(2e-4, 4e-3, 14)
    parts = []
    for i, (run, (hidden, layers)) in enumerate(SHAPES.items()):
        limit = 0.21 + 0.004 * min(hidden / layers, 12.0)
        noise = np.random.default_rng(i).standard_normal(d.size)
        parts.append(
            pd.DataFrame(
                {
                    "run": run,
                    "tokens": (1e9 * d).round(),
                    "activation_ratio": limit + 0.05 * np.exp(-2000 * d) / d**0.1 + 2e-4 * noise,
                    "activation": "relu",
                    "hidden_size": hidden,
                    "n_layers": layers,
                    "loss": 3.0 + 0.1 * i + 0.2 * d**-0.05,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _saved(table: pd.DataFrame, path: Path) -> str:
    sf.write_table(table, path)
    return str(path)


def test_the_command_does_what_the_calls_do(checkpoints, tmp_path, capsys) -> None:
    file = _saved(checkpoints, tmp_path / "all.parquet")
    assert main(["width-depth", file, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    fits = sf.fit(checkpoints)
    fit = sf.fit_width_depth(fits, ratios=checkpoints)
    expected = fit.to_dict()
    assert {key: document[key] for key in expected} == expected
    assert document["recommendation"] == fit.recommend(last_losses(checkpoints)).to_dict()
    assert document["failed"] == {}
    for row in document["runs"]:
        hidden, layers = SHAPES[row["run"]]
        assert row["width_depth_ratio"] == hidden / layers
        assert row["limit"]["upper"] == fits[row["run"]].limit().upper


def test_the_text_says_first_how_the_limits_came_about(checkpoints, tmp_path, capsys) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    for run, part in checkpoints.groupby("run"):
        _saved(part, folder / f"{run}.csv")
    assert main(["width-depth", str(folder), "--draws", "99"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Limits of 6 runs, fitted as by sparsefit fit.")
    assert lines[2].startswith("Losses: the last measured ones")
    assert "Recommended width-depth ratio: 96" in lines
    assert "6 points" in lines[4]


def test_a_run_that_cannot_be_fitted_is_named(checkpoints, tmp_path, capsys) -> None:
    short = checkpoints[checkpoints["run"] == "f"].head(3).assign(run="short", n_layers=30)
    table = pd.concat([checkpoints, short], ignore_index=True)
    file = _saved(table, tmp_path / "all.parquet")
    assert main(["width-depth", file, "--draws", "99"]) == 3
    out, err = capsys.readouterr()
    assert "left out: run 'short' has 3 usable points" in out
    assert "not fitted: run 'short' has 3 usable points" in err
    # Its last loss is an early one.
    assert "Recommended" not in out
    assert "no recommendation: column 'loss': the last losses of the runs are at 317k" in err
    assert "(run 'short') to 4M tokens (run 'a')" in err
    losses = tmp_path / "losses.csv"
    last_losses(checkpoints).to_csv(losses, index=False)
    assert main(["width-depth", file, "--draws", "99", "--loss", str(losses)]) == 3
    out, err = capsys.readouterr()
    assert "Recommended width-depth ratio: 96" in out and "no recommendation" not in err
    assert main(["width-depth", file, "--draws", "99", "--loss", file]) == 1
    assert f"{file}: 1 fault" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: t.drop(columns="hidden_size"), "column 'width_depth_ratio': is missing"),
        (
            lambda t: t.assign(n_layers=t["n_layers"].where(t["run"] != "c").astype("Int64")),
            "column 'n_layers': run 'c': ",
        ),
    ],
)
def test_a_missing_architecture_is_said_before_any_fit(
    checkpoints, tmp_path, capsys, monkeypatch, spoil, said
) -> None:
    monkeypatch.setattr("sparsefit.cli.fitting.fit_table", pytest.fail)
    file = _saved(spoil(checkpoints), tmp_path / "all.parquet")
    assert main(["width-depth", file]) == 1
    err = capsys.readouterr().err
    assert file in err and said in err


def test_a_failed_first_checkpoint_need_not_know_its_architecture(checkpoints) -> None:
    first = ~checkpoints["run"].duplicated()
    table = checkpoints.assign(
        activation_ratio=checkpoints["activation_ratio"].where(~first),
        status=np.where(first, "failed", "ok"),
        hidden_size=checkpoints["hidden_size"].where(~first).astype("Int64"),
    )
    fits = sf.fit(table)
    assert sf.fit_width_depth(fits, ratios=table, draws=99).points.label[-1] == "a"


def test_runs_that_share_a_ratio_are_named(checkpoints, tmp_path, capsys) -> None:
    twice = pd.concat([checkpoints, checkpoints[checkpoints["run"] == "a"].assign(run="a2")])
    file = _saved(twice, tmp_path / "all.parquet")
    assert main(["width-depth", file, "--draws", "99"]) == 1
    assert "runs 'a' and 'a2' both have 96. " in (err := capsys.readouterr().err)
    assert "--keep-replicates" in err
    assert main(["width-depth", file, "--draws", "99", "--keep-replicates"]) == 0
    assert "7 points" in capsys.readouterr().out


def test_last_losses_are_the_mean_at_a_ratio(checkpoints) -> None:
    other = checkpoints[checkpoints["run"] == "a"]
    other = other.assign(run="a2", loss=other["loss"] + 0.01)
    table = sf.validate(pd.concat([checkpoints, other], ignore_index=True))
    found = last_losses(table).set_index("width_depth_ratio")["loss"]
    assert len(found) == 6
    assert found[96.0] == pytest.approx(3.005 + 0.2 * 4e-3**-0.05)
    none = table.assign(loss=table["loss"].where(table["run"] != "c"))
    with pytest.raises(TableError, match="run 'c' has none"):
        last_losses(none)


def test_a_report_takes_checkpoints_for_its_section(checkpoints, tmp_path) -> None:
    file = _saved(checkpoints, tmp_path / "all.parquet")
    page = tmp_path / "page.html"
    words = [file, "--run", "a", "--width-depth", file, "-o", str(page)]
    assert main(["report", *words]) == 0
    assert "width-depth law" in page.read_text(encoding="utf-8").lower()
