from __future__ import annotations

import json

import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.cli import main
from sparsefit.errors import FitError


def test_sound_files(tmp_path, series, capsys):
    series(status=["ok"] * 7 + ["failed"]).to_csv(tmp_path / "a.csv", index=False)
    series("b").to_parquet(tmp_path / "b.parquet")
    assert main(["validate", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "16 rows, 2 runs: no faults" in out
    assert "7 usable points, 1 failed" in out
    assert main(["validate", str(tmp_path / "a.csv"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is True
    assert document["runs"] == [
        {
            "run": "a",
            "rows": 8,
            "usable": 7,
            "failed": 1,
            "first_tokens": 1e9,
            "last_tokens": 8e9,
        }
    ]


def test_faulty_file(tmp_path, series, capsys):
    path = tmp_path / "a.csv"
    series(activation_ratio=[0.1] * 7 + [9.5]).to_csv(path, index=False)
    assert main(["validate", str(path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "line 9, row 7, column 'activation_ratio'" in captured.err
    assert main(["validate", str(path), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["valid"] is False
    assert [(fault["line"], fault["row"], fault["column"]) for fault in document["faults"]] == [
        (9, 7, "activation_ratio")
    ]


def test_options(tmp_path, series, capsys):
    path = tmp_path / "a.csv"
    series(points=3, loss=[3.0, 2.0, 1.0]).drop(columns=["run", "activation_ratio"]).to_csv(
        path, index=False
    )
    options = ["--run", "x", "--response", "loss", "--min-points", "3"]
    assert main(["validate", str(path), *options]) == 0
    assert main(["validate", str(path), *options[:-1], "4"]) == 1
    assert main(["validate", str(path), "--min-points", "-1"]) == 1
    assert "not negative" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["validate"])
    assert caught.value.code == 2


def test_a_run_too_short_for_its_own_law_is_noted(tmp_path, series, capsys):
    path = tmp_path / "a.csv"
    runs = [
        series("falls", 5, activation="relu"),
        series("unknown", 5),
        series("rises", 5, activation="silu"),
        series("long", 6, activation="relu"),
    ]
    table = pd.concat(runs, ignore_index=True)
    table.to_csv(path, index=False)
    assert main(["validate", str(path)]) == 0
    captured = capsys.readouterr()
    assert "no faults" in captured.out
    assert captured.err.count("note: ") == 2
    for run in ("falls", "unknown"):
        assert f"note: run {run!r} has 5 of the 6 usable points that a fit" in captured.err
    assert main(["validate", str(path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["notes"]) == 2
    # What the caller says that a run needs is taken as said.
    assert main(["validate", str(path), "--min-points", "5"]) == 0
    assert capsys.readouterr().err == ""
    once = sf.validate(table)
    assert len(sf.validate(once).attrs["notes"]) == 2
    assert "notes" not in sf.validate(table, min_points=0).attrs
    with pytest.raises(FitError, match="run 'falls' has 5 usable points"):
        sf.fit(table[table["run"] == "falls"])
    sf.fit(table[table["run"] == "rises"])
