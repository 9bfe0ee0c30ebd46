from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError, MissingDependencyError, TableError


def write_authors(path: Path, points: int = 6, **extra: object) -> Path:
    tokens = [10**9 * number + 1 for number in range(1, points + 1)]
    ratio = [0.1 - 0.001 * number for number in range(points)]
    path.write_text(json.dumps({"token_passed": tokens, "activation_ratio": ratio, **extra}))
    return path


def test_authors_json(tmp_path):
    table = sf.read_table(write_authors(tmp_path / "1.2b_silu.txt"))
    assert set(table["run"]) == {"1.2b_silu"}
    assert set(table["activation"]) == {"silu"}
    assert set(table["n_params"]) == {1_180_000_000}
    assert table["tokens"].tolist() == [10**9 * number + 1 for number in range(1, 7)]
    assert "Table 3" in table.attrs["notes"][0]


def test_a_name_says_no_more_than_it_says(tmp_path):
    table = sf.read_table(write_authors(tmp_path / "3b_relu.json"))
    assert "n_params" not in table
    assert set(table["activation"]) == {"relu"}
    table = sf.read_table(write_authors(tmp_path / "mine.json"), run="other")
    assert list(table.columns) == ["run", "tokens", "activation_ratio"]
    assert set(table["run"]) == {"other"}
    table = sf.read_table(write_authors(tmp_path / "0.1b_relu.json", n_params=[5e7] * 6))
    assert set(table["n_params"]) == {50_000_000}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[1, 2]", "lacks this key"),
        ('{"tokens": [1], "activation_ratio": [0.1]}', "token_passed"),
        ('{"token_passed": 5, "activation_ratio": [0.1]}', "a list is needed"),
        ('{"token_passed": [1000, 2000], "activation_ratio": [0.1]}', "1 values where"),
        ('{"token_passed": [1e9, NaN], "activation_ratio": [0.1, Infinity]}', "inf is not finite"),
        ('{"token_passed": [1e9], "tokens": [1e9], "activation_ratio": [0.1]}', "as well"),
    ],
)
def test_faulty_json(tmp_path, content, message):
    (tmp_path / "0.1b_relu.txt").write_text(content)
    with pytest.raises(TableError, match=message):
        sf.read_table(tmp_path / "0.1b_relu.txt")


def test_published_points(authors_points):
    table = sf.read_table(authors_points)
    counts = table.groupby("run").size().to_dict()
    for path in authors_points.glob("*.txt"):
        raw = json.loads(path.read_text())
        part = table[table["run"] == path.stem]
        assert counts[path.stem] == len(raw["token_passed"])
        assert part["tokens"].tolist() == raw["token_passed"]
        assert part["activation_ratio"].tolist() == raw["activation_ratio"]
    assert any("README.md" in note for note in table.attrs["notes"])


def test_folder_glob_and_list_give_one_table(tmp_path, series):
    sf.write_table(series("a", seed="x"), tmp_path / "a.csv", provenance={"seed": 1})
    sf.write_table(series("b", n_params=10**8), tmp_path / "b.parquet")
    write_authors(tmp_path / "0.4b_relu.txt")
    (tmp_path / "README.md").write_text("words")
    whole = sf.read_table(tmp_path)
    assert whole.groupby("run").size().to_dict() == {"0.4b_relu": 6, "a": 8, "b": 8}
    assert whole["n_params"].isna().sum() == 8
    merged = whole.attrs["provenance"]["merged"]
    assert [part["file"] for part in merged] == ["0.4b_relu.txt", "a.csv", "b.parquet"]
    assert merged[1]["provenance"] == {"seed": 1}
    assert "ignored, no tables by their suffix: README.md" in whole.attrs["notes"]
    listed = sf.read_table(
        [tmp_path / "a.csv", str(tmp_path / "b.parquet"), tmp_path / "0.4b_relu.txt"]
    )
    assert set(listed["run"]) == set(whole["run"])
    assert set(sf.read_table(str(tmp_path / "*.csv"))["run"]) == {"a"}


def test_faults_of_all_files_at_once(tmp_path, series):
    series("a", activation_ratio=9.5).to_csv(tmp_path / "a.csv", index=False)
    series("a").to_csv(tmp_path / "b.csv", index=False)
    series("c").drop(columns="tokens").to_csv(tmp_path / "c.csv", index=False)
    (tmp_path / "d.csv").write_text("run,tokens,activation_ratio\n")
    paths = [tmp_path / name for name in ("a.csv", "b.csv", "c.csv", "d.csv", "e.csv")]
    with pytest.raises(TableError) as caught:
        sf.read_table(paths)
    places = [
        (Path(fault.file or "").name, fault.line, fault.row, fault.column)
        for fault in caught.value.faults
    ]
    assert ("a.csv", 2, 0, "activation_ratio") in places
    assert ("b.csv", 9, 7, "tokens") in places
    assert [place for place in places if place[0] == "c.csv"] == [("c.csv", None, None, "tokens")]
    assert ("d.csv", None, None, None) in places
    assert ("e.csv", None, None, None) in places
    assert "row 0 (line 2) of" in str(caught.value)


def test_run_argument(tmp_path, series):
    series().drop(columns="run").to_csv(tmp_path / "points.csv", index=False)
    assert set(sf.read_table(tmp_path / "points.csv", run="mine")["run"]) == {"mine"}
    series().to_csv(tmp_path / "named.csv", index=False)
    assert set(sf.read_table(tmp_path / "named.csv", run="mine")["run"]) == {"a"}
    with pytest.raises(ArgumentError, match="run='mine'"):
        sf.read_table(tmp_path, run="mine")


def test_paths(tmp_path):
    with pytest.raises(TableError, match="no file matches"):
        sf.read_table(str(tmp_path / "*.csv"))
    with pytest.raises(TableError, match="holds no table"):
        sf.read_table(tmp_path)
    with pytest.raises(ArgumentError, match="empty"):
        sf.read_table([])
    with pytest.raises(ArgumentError, match="not a path"):
        sf.read_table([1.5])  # type: ignore[list-item]
    with pytest.raises(ArgumentError, match="not a path"):
        sf.read_table(5)  # type: ignore[arg-type]


def test_fsspec_urls(series):
    import fsspec

    memory = fsspec.filesystem("memory")
    for suffix in (".csv", ".parquet"):
        sf.write_table(series(), f"memory://tables/points{suffix}", provenance={"seed": 2})
        again = sf.read_table(f"memory://tables/points{suffix}")
        pd.testing.assert_frame_equal(again, sf.validate(series()))
        assert again.attrs["provenance"] == {"seed": 2}
    sf.write_table(series("b"), "memory://more/b.csv")
    sf.write_table(series("c"), "memory://more/c.csv")
    assert set(sf.read_table("memory://more")["run"]) == {"b", "c"}
    assert set(sf.read_table("memory://more/*.csv")["run"]) == {"b", "c"}
    memory.rm("/tables", recursive=True)
    with pytest.raises(TableError, match="no such file"):
        sf.read_table("memory://tables/points.csv")
    with pytest.raises((TableError, MissingDependencyError), match="nowhere"):
        sf.read_table("nowhere://points.csv")


def test_numbers_survive_csv_exactly(tmp_path, series):
    ratio = np.nextafter(np.linspace(0.1, 0.2, 8), 1)
    series(activation_ratio=ratio).to_csv(tmp_path / "points.csv", index=False)
    assert sf.read_table(tmp_path / "points.csv")["activation_ratio"].tolist() == ratio.tolist()
