from __future__ import annotations

import gzip
import json
import math
import os

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sparsefit as sf
from sparsefit.errors import ArgumentError, TableError
from sparsefit.table import read_file, write_frame

SUFFIXES = [".csv", ".csv.gz", ".parquet"]

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=8
)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    points = draw(st.integers(5, 9))

    def column(cells: st.SearchStrategy[object]) -> list[object]:
        return draw(st.lists(cells, min_size=points, max_size=points))

    data: dict[str, object] = {
        "run": draw(TEXT),
        "tokens": draw(
            st.lists(st.integers(10_000, 10**14), min_size=points, max_size=points, unique=True)
        ),
        "activation_ratio": column(st.floats(5e-324, 1.0)),
    }
    optional: dict[str, st.SearchStrategy[object]] = {
        "activation": st.just("relu"),
        "n_params": st.just(draw(st.floats(1e3, 1e12))),
        "loss": st.floats(1e-9, 1e9),
        "step": st.integers(0, 10**12),
        "se_shared": st.floats(0, 1),
        "message": st.one_of(st.none(), TEXT),
        "note": TEXT,
        "score": st.floats(allow_nan=False),
        "part": st.integers(-(2**62), 2**62),
        "kept": st.booleans(),
    }
    for name in draw(st.lists(st.sampled_from(sorted(optional)), unique=True)):
        data[name] = column(optional[name])
    return sf.validate(pd.DataFrame(data))


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(table=tables())
def test_round_trip_is_exact(tmp_path, suffix: str, table: pd.DataFrame) -> None:
    table.attrs["provenance"] = {"seed": 1, "note": 'ü, "quoted"\n'}
    path = tmp_path / f"points{suffix}"
    sf.write_table(table, path)
    again = sf.read_table(path)
    pd.testing.assert_frame_equal(again, table, check_exact=True)
    assert again.attrs["provenance"] == table.attrs["provenance"]
    assert again.attrs["notes"] == table.attrs.get("notes", [])


def test_plain_pandas_reads_the_csv(tmp_path, series):
    table = sf.validate(series(activation_ratio=np.linspace(1 / 3, 1 / 7, 8)))
    sf.write_table(table, tmp_path / "points.csv")
    plain = pd.read_csv(tmp_path / "points.csv")
    assert plain["tokens"].tolist() == table["tokens"].tolist()
    # Older pandas rounds the last bit by default.
    np.testing.assert_allclose(plain["activation_ratio"], table["activation_ratio"], rtol=1e-15)


def test_provenance_is_made_where_there_is_none(tmp_path, series):
    for suffix in SUFFIXES:
        sf.write_table(series(), tmp_path / f"points{suffix}")
        stored = sf.read_table(tmp_path / f"points{suffix}").attrs["provenance"]
        assert stored["sparsefit"] == sf.__version__
        assert "numpy" in stored["packages"]
        assert str(tmp_path) not in json.dumps(stored)


def test_changed_and_damaged_sidecars_are_noticed(tmp_path, series):
    path = tmp_path / "points.csv"
    sf.write_table(series(), path, provenance={"seed": 1})
    path.write_text(path.read_text() + "a,99000000000,0.05\n")
    table = sf.read_table(path)
    assert table.attrs["provenance"] == {"seed": 1}
    assert "has changed since" in table.attrs["notes"][0]
    (tmp_path / "points.csv.provenance.json").write_text("[1")
    table = sf.read_table(path)
    assert table.attrs["provenance"] == {}
    assert "damaged" in table.attrs["notes"][0]


def test_nothing_is_left_of_a_failed_write(tmp_path, series, monkeypatch):
    path = tmp_path / "points.csv"
    sf.write_table(series(), path)
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(TableError, match="No space left"):
        sf.write_table(series(points=9), path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "points.csv",
        "points.csv.provenance.json",
    ]


def test_refusals_of_write_table(tmp_path, series):
    with pytest.raises(ArgumentError, match=r"\.parquet"):
        sf.write_table(series(), tmp_path / "points.xlsx")
    with pytest.raises(ArgumentError, match="None is not a path"):
        sf.write_table(series(), None)
    with pytest.raises(TableError, match="looks like percent"):
        sf.write_table(series(activation_ratio=9.5), tmp_path / "points.csv")
    with pytest.raises(TableError, match="cannot be written"):
        sf.write_table(series(), tmp_path / "no" / "points.csv")
    with pytest.raises(TableError, match=r"'mixed'.*Parquet cannot hold"):
        sf.write_table(series(mixed=[1, "a", None, {}, 2, 3, 4, 5]), tmp_path / "points.parquet")
    assert list(tmp_path.iterdir()) == []


def test_short_and_loss_only_tables_can_be_written(tmp_path, series):
    sf.write_table(series(points=2), tmp_path / "short.csv")
    with pytest.raises(TableError, match="2 usable points of 5"):
        sf.read_table(tmp_path / "short.csv")
    assert len(sf.read_table(tmp_path / "short.csv", min_points=0)) == 2
    loss = series(loss=np.linspace(4, 3, 8)).drop(columns="activation_ratio")
    sf.write_table(loss, tmp_path / "loss.csv")
    assert len(sf.read_table(tmp_path / "loss.csv", response="loss")) == 8


def test_other_tidy_tables(tmp_path):
    frame = pd.DataFrame({"run": ["1", "2"], "layer": [0, 1], "cett": [math.pi, math.e]})
    for suffix in SUFFIXES:
        path = str(tmp_path / f"layers{suffix}")
        write_frame(frame, path, {"seed": 0})
        file = read_file(path)
        assert file.provenance == {"seed": 0}
        assert file.frame.to_dict("list") == frame.to_dict("list")


def write(path, text: str):
    path.write_text(text, encoding="utf-8")
    return path


BODY = "".join(f"a,{tokens}e9,0.1\n" for tokens in range(1, 7))


def test_lines_of_the_file_are_named(tmp_path):
    text = f'run,tokens,activation_ratio\n\n"b\nb",1e9,x\n\n{BODY}a,7e9\na,8e9,5%,1\n'
    with pytest.raises(TableError) as caught:
        sf.read_table(write(tmp_path / "points.csv", text))
    places = {(fault.line, fault.row, fault.column) for fault in caught.value.faults}
    assert {(3, 0, "activation_ratio"), (12, 7, None), (13, 8, None)} <= places
    assert (13, 8, "activation_ratio") in places
    assert "line 12, row 7" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("run,tokens,activation_ratio\n", "no rows"),
        ("run;tokens;activation_ratio\na;1e9;0.1\n", "semicolons"),
        ("run\ttokens\na\t1e9\n", "tabs"),
        (",run,tokens,activation_ratio\n0,a,1e9,0.1\n", "has no name"),
        ("run,tokens,tokens,activation_ratio\n" + "a,1e9,1,0.1\n", "several columns"),
        ("run,tokens,activation_ratio\n" + BODY + 'a,"7,000,000,000",0.1\n', "7,000,000,000"),
        ("run,tokens,activation_ratio\n" + BODY + "a,1_0e9,0.1\n", "1_0e9"),
        ("run,tokens,activation_ratio\n" + BODY + "a,7e9,\n", "missing"),
        ("run,tokens,activation_ratio\n" + BODY + ",7e9,0.1\n", "missing"),
        ("tokens,activation_ratio\n1e9,0.1\n", r"read_table\(path, run='name'\)"),
    ],
)
def test_faulty_csv(tmp_path, text, message):
    with pytest.raises(TableError, match=message):
        sf.read_table(write(tmp_path / "points.csv", text))


def test_csv_details(tmp_path):
    text = "\ufeffrun,tokens,activation_ratio,activation,seed,tag\n" + "".join(
        f"001,{tokens}e9,.1, ReLU ,007,NA\n" for tokens in range(1, 7)
    )
    table = sf.read_table(write(tmp_path / "points.csv", text))
    assert set(table["run"]) == {"001"}
    assert set(table["activation"]) == {"relu"}
    assert set(table["seed"]) == {"007"}
    assert set(table["tag"]) == {"NA"}
    assert table["tokens"].tolist() == [tokens * 10**9 for tokens in range(1, 7)]


def test_named_index_of_a_parquet_file_is_a_column(tmp_path, series):
    series().set_index(["run", "tokens"]).to_parquet(tmp_path / "points.parquet")
    pd.testing.assert_frame_equal(sf.read_table(tmp_path / "points.parquet"), sf.validate(series()))


def test_other_damage(tmp_path):
    (tmp_path / "latin.csv").write_bytes("run,tokens\né,1\n".encode("latin-1"))
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"run,tokens\n")[:-6])
    (tmp_path / "text.parquet").write_bytes(b"PAR1 no PAR1")
    (tmp_path / "points.xlsx").write_bytes(b"PK")
    (tmp_path / "points.tsv").write_text("run\ttokens\n")
    for name, message in [
        ("latin.csv", "not UTF-8"),
        ("cut.csv.gz", "not a gzip file"),
        ("text.parquet", "not a readable Parquet"),
        ("none.csv", "no such file"),
        ("none", "no such file"),
        ("points.xlsx", "suffix is not known. Save the sheet as CSV"),
        ("points.tsv", "suffix is not known. Separate the cells by commas"),
    ]:
        with pytest.raises(TableError, match=message):
            sf.read_table(tmp_path / name)


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ('"1,299,680"', "Write numbers without separators"),
        ('"12,345"', "Write numbers without separators"),
        ("1 299 680", "Write numbers without separators"),
        ("0.20M", "Write numbers out"),
        ("1.5B", "Write numbers out: 1.5B is 1500000000"),
        ('"0,26"', "Write decimals with a point"),
        ('"0,118"', "Write decimals with a point"),
        ("#DIV/0!", "error of a spreadsheet"),
        ("many", "Give a plain number"),
    ],
)
def test_numbers_as_people_write_them(tmp_path, cell, remedy):
    path = write(tmp_path / "points.csv", f"run,tokens,activation_ratio\na,{cell},.2\n")
    with pytest.raises(TableError, match=rf"line 2, row 0, column 'tokens': .*{remedy}"):
        sf.read_table(path)


@pytest.mark.parametrize("unit", ["B", ",5", "%"])
def test_a_column_of_numbers_as_people_write_them_is_one_kind_of_fault(tmp_path, unit):
    rows = "".join(f'a,"{n}{unit}",.2\n' for n in range(10, 60))
    path = write(tmp_path / "points.csv", f"run,tokens,activation_ratio\n{rows}")
    with pytest.raises(TableError, match="50 faults") as caught:
        sf.read_table(path, min_points=0)
    assert len(str(caught.value).splitlines()) == 7
    assert "rows 5-49, column 'tokens': the same kind of fault" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("run;tokens;activation_ratio\na;1;0,2\n", r"read_csv\(path, sep=';', decimal=','\)"),
        ("run,Step,activation_ratio\na,1,.2\n", "tokens are Step times the tokens of a batch"),
        ("tokens,relu,silu\n1,.2,.3\n", r"has a column of its own \(relu, silu\)"),
        (
            "Step,train/tokens_seen,train/tokens_seen__MIN,train/tokens_per_sec,a - eval/sparsity,"
            "a - eval/sparsity__MAX,b - eval/sparsity\n1,2e9,2e9,7,.8,.8,.9\n",
            r"(?s)If 'train/tokens_seen' holds it, .*Add it as 1 - sparsity; where each run has a "
            r"column of its own \(a - eval/sparsity, b - eval/sparsity\)",
        ),
    ],
)
def test_tables_as_people_export_them(tmp_path, text, remedy):
    path = write(tmp_path / "points.csv", text)
    with pytest.raises(TableError, match=remedy):
        sf.read_table(path)
