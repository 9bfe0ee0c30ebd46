from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit import datasets
from sparsefit.errors import DatasetError

CARDS = sorted(
    path.name.removesuffix(".card.json") for path in datasets.folder().glob("*.card.json")
)
# The one cell of Table 1 that contradicts Table 4; the card says so.
MISPRINT = ("paper_table4", "0.8B", "relu", 10.0)
SCALES = ["0.1B", "0.2B", "0.4B", "0.8B", "1.2B"]


def test_every_table_has_a_card_and_is_listed():
    listed = datasets.list()
    assert sorted(listed["name"]) == CARDS
    assert list(listed.columns) == ["name", "title", "kind", "rows", "source"]
    ignored = (".provenance.json", ".card.json", ".md", ".py")
    for path in datasets.folder().iterdir():
        if path.is_file() and not path.name.endswith(ignored):
            assert path.name.split(".")[0] in CARDS, f"{path.name} has no card"
    assert {f"paper_table{number}" for number in range(1, 7)} <= set(CARDS)


@pytest.mark.parametrize("name", CARDS)
def test_table_and_card_agree(name):
    table = datasets.load(name)
    card = table.attrs["card"]
    assert table.attrs["dataset"] == name
    assert len(table) == card["rows"]
    assert (card["kind"] == "reconstruction") == ("reconstruction" in name)
    if card["kind"] == "paper-table":
        assert card["paper_version"]
        assert "2411.02335, Table" in card["source"]
        assert all(column["meaning"] for column in card["columns"].values())
        numeric = [key for key, column in card["columns"].items() if column["type"] != "text"]
        assert all(card["columns"][key]["unit"] for key in numeric)
    if card.get("schema") == "measurement-table":
        pd.testing.assert_frame_equal(sf.validate(table, min_points=0), table)
        assert table.attrs["provenance"]


@pytest.mark.parametrize(
    ("name", "benchmarks"), [("paper_table4", 5), ("paper_table5", 4), ("paper_table6", 6)]
)
def test_printed_averages(name, benchmarks):
    table = datasets.load(name)
    keys = ["parameter_scale", "activation", "setting", "p_percent"]
    average = table[table["benchmark"] == "average"].set_index(keys)["score_percent"]
    single = table[table["benchmark"] != "average"].groupby(keys)["score_percent"]
    assert len(average) == 5 * 2 * 4
    assert set(single.size()) == {benchmarks}
    # Each printed score is rounded to .1: their mean is off by .05 at most, and so is the average.
    assert (single.mean() - average).abs().max() <= 0.1 + 1e-9
    assert (single.mean() - average).abs().mean() < 0.035


def test_differences_of_table_1_follow_from_tables_4_and_5():
    table = datasets.load("paper_table1")
    cells = table[table["parameter_scale"] != "average"]
    for group, name in [
        ("commonsense_reasoning", "paper_table4"),
        ("reading_comprehension", "paper_table5"),
    ]:
        source = datasets.load(name)
        source = source[source["benchmark"] == "average"]
        scores = source.set_index(["parameter_scale", "activation", "p_percent"])["score_percent"]
        part = cells[cells["task_group"] == group]
        assert len(part) == 40
        for row in part.itertuples():
            dense = scores[row.parameter_scale, row.activation, 0.0]
            here = scores[row.parameter_scale, row.activation, row.p_percent]
            expected = dense if row.quantity == "score" else here - dense
            place = (row.parameter_scale, row.activation, row.p_percent)
            if (name, *place) == MISPRINT:
                assert (row.value, round(expected, 1)) == (-0.2, -1.2)
            else:
                assert row.value == pytest.approx(expected, abs=1e-9), row
            assert (row.quantity == "score") == (row.setting == "dense") == (row.p_percent == 0)


def test_averages_of_table_1():
    table = datasets.load("paper_table1")
    keys = ["task_group", "p_percent"]
    average = table[table["parameter_scale"] == "average"].set_index(keys)["value"]
    mean = table[table["parameter_scale"] != "average"].groupby(keys)["value"].mean()
    assert len(average) == 8
    assert (mean - average).abs().max() <= 0.055


def test_known_values():
    assert datasets.load("paper_table3")["n_params"].tolist() == [
        108_000_000,
        241_000_000,
        452_000_000,
        760_000_000,
        1_180_000_000,
        2_440_000_000,
    ]
    assert datasets.load("paper_table3")["batch_size_tokens"].tolist() == [
        327_000,
        590_000,
        786_000,
        1_180_000,
        1_570_000,
        2_100_000,
    ]
    table = datasets.load("paper_table2").set_index(["activation", "parameter_scale"])
    assert table.loc[("relu", "1.2B"), ["alpha", "b", "c", "A0"]].tolist() == [
        1.33,
        -3.89,
        9.03e-4,
        0.0782,
    ]
    assert table.loc[("silu", "0.8B"), ["alpha", "c", "A0"]].tolist() == [0.995, 0.562, 0.383]
    assert table["b"].isna().groupby("activation").all().to_dict() == {"relu": False, "silu": True}
    assert [scale for activation, scale in table.index if activation == "relu"] == [*SCALES, "2.4B"]
    assert [scale for activation, scale in table.index if activation == "silu"] == SCALES


def test_reconstruction_follows_the_laws():
    table = datasets.load("paper_reconstruction")
    assert table["run"].str.endswith("_reconstruction").all()
    assert table.groupby("run").size().tolist() == [40] * 11
    ratio = table["tokens"] / table["n_params"]
    assert sorted(set(ratio)) == list(range(10, 401, 10))
    runs = dict(list(table.groupby("run")))
    relu, silu = runs["1.2b_relu_reconstruction"], runs["1.2b_silu_reconstruction"]
    assert (relu["activation_ratio"].diff().dropna() < 0).all()
    assert (silu["activation_ratio"].diff().dropna() > 0).all()
    # At 472 billion tokens.
    assert silu["activation_ratio"].iloc[-1] == pytest.approx(0.382 - 0.538 / 472**0.967, rel=1e-12)
    assert relu["activation_ratio"].iloc[-1] == pytest.approx(
        np.exp(-9.03e-4 * 472**1.33 - 3.89) + 0.0782, rel=1e-12
    )


def test_unknown_name():
    with pytest.raises(DatasetError, match="Did you mean paper_table2"):
        datasets.load("paper_tabel2")
    with pytest.raises(KeyError, match="Known: "):
        datasets.load("nothing like it")
    with pytest.raises(DatasetError, match="Known: "):
        datasets.load(["paper_table2"])


def test_new_files_are_picked_up(tmp_path, monkeypatch, series):
    monkeypatch.setattr(datasets, "folder", lambda: tmp_path)
    sf.write_table(series(points=3), tmp_path / "own_runs.csv", provenance={"seed": 1})
    card = {
        "title": "t",
        "kind": "measured",
        "source": "s",
        "rows": 3,
        "notes": [],
        "schema": "measurement-table",
    }
    (tmp_path / "own_runs.card.json").write_text(json.dumps(card))
    assert datasets.list()["name"].tolist() == ["own_runs"]
    table = datasets.load("own_runs")
    assert len(table) == 3
    assert table.attrs["provenance"] == {"seed": 1}
    free = {**card, "columns": {"layer": {"type": "integer"}, "name": {"type": "text"}}}
    del free["schema"]
    (tmp_path / "layers.card.json").write_text(json.dumps(free))
    with pytest.raises(DatasetError, match=r"layers\.csv"):
        datasets.load("layers")
    (tmp_path / "layers.csv").write_text("layer,name\n0,01\n1,02\n2,03\n")
    assert datasets.load("layers").to_dict("list") == {
        "layer": [0, 1, 2],
        "name": ["01", "02", "03"],
    }
    (tmp_path / "layers.csv").write_text("layer,label\n0,01\n")
    with pytest.raises(DatasetError, match="columns of its card"):
        datasets.load("layers")
    (tmp_path / "bare.card.json").write_text('{"title": "t"}')
    with pytest.raises(DatasetError, match=r"bare\.card\.json"):
        datasets.list()
