from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError, TableError
from sparsefit.table import usable_rows


def test_sorted_normalised_copy(series):
    table = pd.concat([series("b"), series("a")[::-1]], ignore_index=True)
    table["tokens"] = table["tokens"].astype(float)
    table["activation"] = "ReLU"
    table["note"] = [f"row {row}" for row in range(len(table))]
    table.attrs["provenance"] = {"seed": 3}
    before = table.copy()
    checked = sf.validate(table)
    pd.testing.assert_frame_equal(table, before)
    assert list(checked["run"]) == ["a"] * 8 + ["b"] * 8
    assert checked["tokens"].dtype == np.int64
    assert (checked.groupby("run")["tokens"].diff().dropna() > 0).all()
    assert list(checked.index) == list(range(16))
    assert set(checked["activation"]) == {"relu"}
    assert sorted(checked["note"]) == sorted(table["note"])
    assert checked.attrs == {"provenance": {"seed": 3}}
    pd.testing.assert_frame_equal(sf.validate(checked), checked)


def test_all_faults_at_once(faults_of):
    table = pd.DataFrame(
        {
            "run": ["a"] * 7 + [None],
            "tokens": [1e9, 2e9, 2e9, -4e9, np.inf, np.nan, 7e9, 8e9],
            "activation_ratio": [9.5, 0.0, 0.1, np.nan, 0.1, 0.1, np.inf, 0.1],
            "se": [-0.1, 0.01, np.inf, 0.01, 0.01, 0.01, 0.01, 0.01],
            "n_params": [1e8, 2e8, 1e8, 1e8, 1e8, 1e8, 0.0, 1e8],
            "status": ["ok"] * 6 + ["lost", "ok"],
        }
    )
    assert set(faults_of(table)) == {
        (7, "run"),
        *[(row, "tokens") for row in (2, 3, 4, 5)],
        *[(row, "activation_ratio") for row in (0, 1, 3, 6)],
        *[(row, "se") for row in (0, 2)],
        *[(row, "n_params") for row in (1, 6)],
        (6, "status"),
    }


@pytest.mark.parametrize("missing", ["run", "tokens", "activation_ratio"])
def test_missing_column(series, faults_of, missing):
    assert (None, missing) in faults_of(series().drop(columns=missing))


@pytest.mark.parametrize(
    ("rename", "hint"),
    [
        ({"tokens": "token_passed"}, "'token_passed'"),
        ({"tokens": "Tokens"}, "'Tokens'"),
        ({"activation_ratio": "activation_ratios"}, "'activation_ratios'"),
        ({"activation_ratio": "sparsity"}, "1 - sparsity"),
        ({"run": "model"}, "'model'"),
        ({"activation_ratio": "eval/sparsity"}, "as 1 - 'eval/sparsity', as a fraction"),
        ({"activation_ratio": "a 1 - Sparsity"}, "as 1 - 'a 1 - Sparsity', as a fraction"),
    ],
)
def test_remedy_names_the_likely_column(series, rename, hint):
    with pytest.raises(TableError, match=hint):
        sf.validate(series().rename(columns=rename))


def test_an_export_of_sparsity_in_percent(series):
    table = series()
    table["eval/sparsity"] = 100 * (1 - table.pop("activation_ratio"))
    table["eval/sparsity__MIN"] = table["eval/sparsity__MAX"] = table["eval/sparsity"]
    table["activation"] = "relu"
    with pytest.raises(TableError, match="Add it as 1 - 'eval/sparsity' / 100, as a fraction"):
        sf.validate(table)
    wide = table.rename(columns={"eval/sparsity__MIN": "sparsity of b"})
    with pytest.raises(TableError, match="put the runs below one another"):
        sf.validate(wide)


def test_an_export_of_activation_in_percent_beside_the_trackers_own_columns(series):
    table = series().drop(columns="run")
    table["eval/ffn_active_neurons (%)"] = 100 * table.pop("activation_ratio")
    table = table.assign(_step=1, _runtime=2.0, _timestamp=3.0, lr=1e-4)
    with pytest.raises(TableError) as caught:
        sf.validate(table)
    said = str(caught.value)
    assert "If 'eval/ffn_active_neurons (%)' holds it, rename that column to" in said
    assert "'activation_ratio' and divide it by 100" in said
    assert "table.assign(run='name')" in said
    with pytest.raises(TableError, match=r"\(relu a, relu b\)"):
        sf.validate(table[["tokens", "_step"]].assign(**{"relu a": 0.1, "relu b": 0.2}))


def test_steps_given_for_tokens_are_suspected_by_the_parameters(series, tmp_path):
    table = series(tokens=np.arange(1, 9) * 50_000_000_000, n_params=7e9)
    steps = table.assign(tokens=table["tokens"] // 4_194_304)
    assert float(steps["tokens"].max()) < 7e6
    (note,) = sf.validate(steps).attrs["notes"]
    assert "7B parameters: if 'tokens' counts optimiser steps" in note
    sf.write_table(steps, tmp_path / "steps.csv")
    assert sf.read_table(tmp_path / "steps.csv", min_points=0).attrs["notes"] == [note]
    assert "notes" not in sf.validate(table).attrs
    # Small models see few tokens in earnest.
    assert "notes" not in sf.validate(steps.assign(n_params=3e4)).attrs


def test_column_in_the_index(series):
    with pytest.raises(TableError, match=r"reset_index"):
        sf.validate(series().set_index("run"))


def test_empty_table(series, faults_of):
    assert faults_of(series()[:0]) == [(None, None)]
    assert {column for _, column in faults_of(pd.DataFrame())} >= {"run", "tokens"}


@pytest.mark.parametrize("table", [None, [], {"run": ["a"]}, pd.Series([1.0]), "points.csv"])
def test_not_a_frame(table):
    with pytest.raises(TableError, match="not a pandas DataFrame"):
        sf.validate(table)


def test_tables_of_other_libraries_are_named_with_what_to_do(series):
    import pyarrow as pa

    with pytest.raises(TableError, match=r"a Table of pyarrow is .* its method to_pandas\(\)"):
        sf.validate(pa.Table.from_pandas(series()))
    with pytest.raises(TableError, match=r"a dict is .* pandas\.DataFrame\(\.\.\.\) of it"):
        sf.validate(series().to_dict("list"))


def test_bad_column_names(series):
    with pytest.raises(TableError, match="several columns have this name"):
        sf.validate(pd.concat([series(), series()[["tokens"]]], axis=1))
    with pytest.raises(TableError, match="is not text"):
        sf.validate(series().rename(columns={"tokens": 0}))
    levels = series()
    levels.columns = pd.MultiIndex.from_product([["x"], levels.columns])
    with pytest.raises(TableError, match="several levels"):
        sf.validate(levels)


@pytest.mark.parametrize(
    "cells",
    [
        [True] * 8,
        pd.date_range("2025-01-01", periods=8),
        pd.to_timedelta(np.arange(8), unit="D"),
        np.ones(8) * (0.1 + 0j),
    ],
)
@pytest.mark.parametrize("column", ["tokens", "activation_ratio", "se", "loss"])
def test_wrong_type_of_column(series, faults_of, column, cells):
    assert (None, column) in faults_of(series(**{column: cells}))


@pytest.mark.parametrize(
    "cell",
    ["0.1", "8.5%", "x", True, 1j, datetime.date(2025, 1, 1), pd.Timestamp(0), [0.1], b"0.1", {}],
)
def test_wrong_type_of_cell(series, faults_of, cell):
    column = pd.Series([0.1, 0.2, 0.3, cell, 0.4, 0.5, 0.6, 0.7], dtype=object)
    assert faults_of(series(activation_ratio=column)) == [(3, "activation_ratio")]


@pytest.mark.parametrize(
    "cells",
    [
        pd.array([0.1] * 7 + [0.2], dtype="Float64"),
        np.full(8, 0.1, dtype=np.float32),
        [Decimal("0.1")] * 8,
        np.ones(8, dtype=np.int8),
        pd.Categorical([0.1] * 8),
    ],
)
def test_any_real_number_is_taken(series, cells):
    checked = sf.validate(series(activation_ratio=cells))
    assert checked["activation_ratio"].dtype == np.float64
    assert list(checked["activation_ratio"]) == [float(cell) for cell in cells]


def test_run_may_be_a_whole_number_or_a_category(series):
    assert set(sf.validate(series(run=7))["run"]) == {"7"}
    assert set(sf.validate(series().astype({"run": "category"}))["run"]) == {"a"}
    with pytest.raises(TableError, match="text is needed"):
        sf.validate(series(run=1.5))


@pytest.mark.parametrize(
    ("value", "sound"), [(1e-300, True), (1.0, True), (0.0, False), (1.0001, False), (-0.1, False)]
)
def test_activation_ratio_range(series, faults_of, value, sound):
    places = faults_of(series(activation_ratio=[0.1] * 7 + [value]))
    assert places == ([] if sound else [(7, "activation_ratio")])


def test_percent_is_named(series):
    with pytest.raises(TableError, match="looks like percent"):
        sf.validate(series(activation_ratio=9.5))


@pytest.mark.parametrize(
    "tokens",
    [
        np.geomspace(1e4, 1e6, 8),
        np.linspace(1e4, 1e6, 8),
        np.array([16, 32, 64, 128, 256, 512, 1024, 2048]),
        np.array([500, 12_345, 20_000, 30_000, 50_000, 100_000, 500_000, 999_999]),
        np.geomspace(1e9, 4.2e10, 8),
        np.arange(1, 9) * 2**40,
    ],
)
def test_short_and_long_runs_are_not_billions(series, tokens):
    checked = sf.validate(series(tokens=tokens))
    assert list(checked["tokens"]) == list(tokens)


@pytest.mark.parametrize(
    "tokens",
    [
        np.arange(1, 9),
        np.linspace(0.8, 41.6, 8),
        np.array([1, 2, 5, 10, 50, 100, 300, 800]),
        np.array([0.8, 300.0, 600.0, 900.0, 1200.0, 1500.0, 1800.0, 2100.0]),
    ],
)
def test_billions(series, tokens):
    with pytest.raises(TableError, match=r"looks like billions.*trillions by 1e12"):
        sf.validate(series(tokens=tokens))


def test_tokens_scaled_twice(series):
    with pytest.raises(TableError, match="too large"):
        sf.validate(series(tokens=np.arange(1, 9) * 1e18))


def test_duplicates_name_both_rows(series):
    table = pd.concat([series(), series()[2:3]], ignore_index=True)
    with pytest.raises(TableError, match=r"row 8, column 'tokens'.*row 2 already"):
        sf.validate(table)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("n_params", [1e8, 2e8]),
        ("activation", ["relu", "silu"]),
        ("n_layers", [12, 13]),
        ("hidden_size", [64, 65]),
        ("metric", ["cett", "topk"]),
        ("p_percent", [1.0, 5.0]),
    ],
)
def test_constant_within_a_run(series, faults_of, column, values):
    first, second = values
    assert faults_of(series(**{column: [first] * 5 + [second] + [first] * 2})) == [(5, column)]
    two = pd.concat([series("a", **{column: first}), series("b", **{column: second})])
    assert faults_of(two) == []
    assert faults_of(series(**{column: [None] * 5 + [first] * 3})) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("se", -1e-3),
        ("se", np.inf),
        ("se", 2.0),
        ("se_shared", -1e-3),
        ("se_shared", -np.inf),
        ("n_layers", 0),
        ("n_layers", 2.5),
        ("hidden_size", -64),
        ("n_params", 0.108),
        ("d_ff", np.inf),
        ("step", -1),
        ("loss", 0.0),
        ("cett", 1.5),
        ("ppl_ratio", 0),
        ("metric", "cet"),
        ("status", "fail"),
        ("cett_scope", "all"),
        ("message", 404),
    ],
)
def test_optional_columns(series, faults_of, column, value):
    assert (0, column) in faults_of(series(**{column: value}))


def test_standard_errors_for_all_or_none_of_a_run(series, faults_of):
    assert faults_of(series(se=[0.01] * 7 + [np.nan])) == [(7, "se")]
    assert faults_of(series(se=[0.01] * 7 + [0.0])) == [(7, "se")]
    assert faults_of(series(se=np.nan)) == []
    assert faults_of(series(se=0.0)) == []
    assert faults_of(pd.concat([series("a", se=0.01), series("b")])) == []


def test_failed_rows_stay(series):
    ratio = [0.1] * 7 + [np.nan]
    checked = sf.validate(series(activation_ratio=ratio, status=[None] * 7 + ["failed"]))
    assert list(checked["status"]) == ["ok"] * 7 + ["failed"]
    assert usable_rows(checked).tolist() == [True] * 7 + [False]
    with pytest.raises(TableError, match="set its status to 'failed'"):
        sf.validate(series(activation_ratio=ratio))


@pytest.mark.parametrize(
    ("options", "least"), [({}, 5), ({"law_params": 4}, 6), ({"min_points": 2}, 2)]
)
def test_number_of_points(series, faults_of, options, least):
    assert faults_of(series(points=least), **options) == []
    assert faults_of(series(points=least - 1), **options) == [(0, "run")]


def test_failed_rows_are_no_points(series, faults_of):
    status = ["ok"] * 4 + ["failed"] * 4
    assert faults_of(series(status=status)) == [(0, "run")]
    assert faults_of(series(status=status), min_points=0) == []


def test_response_loss(series):
    table = series(loss=np.linspace(4, 3, 8)).drop(columns="activation_ratio")
    with pytest.raises(TableError, match="response='loss'"):
        sf.validate(table)
    assert len(sf.validate(table, response="loss")) == 8
    with pytest.raises(TableError, match="'loss'"):
        sf.validate(series(), response="loss")


@pytest.mark.parametrize(
    "options", [{"response": "accuracy"}, {"law_params": -1}, {"min_points": 2.5}]
)
def test_arguments(series, options):
    with pytest.raises(ArgumentError, match=next(iter(options))):
        sf.validate(series(), **options)


def test_many_faults_are_all_named_in_a_short_message(series):
    table = series(points=300, activation_ratio=9.5)
    with pytest.raises(TableError) as caught:
        sf.validate(table)
    assert [fault.row for fault in caught.value.faults] == list(range(300))
    assert "rows 5-299" in str(caught.value)
    assert len(str(caught.value).splitlines()) < 10
