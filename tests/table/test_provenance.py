from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from sparsefit import provenance as origin


def test_holds_what_is_needed_and_no_folder_of_this_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "sys.argv", [str(tmp_path / "bin" / "sparsefit"), "fit", f"--out={tmp_path}/f.png"]
    )
    stored = origin.provenance(
        seed=np.int64(3), text=tmp_path / "text.txt", ends=(0.1, np.float64(2))
    )
    assert {"sparsefit", "git", "python", "platform", "packages", "command", "utc"} <= set(stored)
    assert stored["seed"] == 3
    assert stored["text"] == "text.txt"
    assert stored["command"] == "sparsefit fit --out=f.png"
    text = json.dumps(stored, allow_nan=False)
    assert str(tmp_path) not in text
    assert str(Path.home()) not in text


def test_paths_below_the_working_folder_stay_relative(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert origin.short_path(tmp_path / "runs" / "a.csv") == str(Path("runs", "a.csv"))
    assert origin.short_path("runs/a.csv") == "runs/a.csv"
    assert origin.short_path("s3://bucket/a.csv") == "s3://bucket/a.csv"


def test_commit_of_a_checkout_only(monkeypatch, tmp_path):
    commit = origin.git_commit()
    root = Path(origin.__file__).resolve().parents[1]
    if (root / ".git").exists():
        assert commit is not None
        assert len(commit.removesuffix("-dirty")) == 40
    else:
        assert commit is None
    origin.git_commit.cache_clear()
    monkeypatch.setattr(origin, "__file__", str(tmp_path / "site-packages" / "sparsefit" / "p.py"))
    assert origin.git_commit() is None
    origin.git_commit.cache_clear()
