"""Whatever a table holds: a typed error that names places, or every row accounted for."""

from __future__ import annotations

import datetime
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import sparsefit as sf
from sparsefit.errors import TableError
from sparsefit.table import COLUMNS

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(),
    st.integers(),
    st.text(max_size=6),
    st.complex_numbers(),
    st.dates(),
    st.sampled_from(
        ["8.5%", "1,000", "nan", "", "ok", "failed", b"x", math.inf, -1, 0, 1e9, 0.1, 10**400]
    ),
    st.lists(st.integers(), max_size=2),
    st.just(pd.NaT),
    st.just(pd.NA),
    st.just(datetime.datetime(2025, 1, 1)),
    st.floats().map(np.float64),
    st.sampled_from([np.float32(0.1), np.int64(3), np.str_("ok"), np.bool_(True)]),
)


@st.composite
def sound_tables(draw: st.DrawFn) -> pd.DataFrame:
    runs = draw(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=3, unique=True))
    frames = []
    for run in runs:
        points = draw(st.integers(5, 12))
        start = draw(st.sampled_from([1e4, 1e6, 1e9, 1e11]))
        ratio = draw(
            st.lists(st.floats(1e-6, 1.0), min_size=points, max_size=points).map(np.asarray)
        )
        tokens = start * np.arange(1, points + 1)
        frames.append(pd.DataFrame({"run": run, "tokens": tokens, "activation_ratio": ratio}))
    return pd.concat(frames, ignore_index=True)


@st.composite
def damaged_tables(draw: st.DrawFn) -> pd.DataFrame:
    table = draw(sound_tables())
    for _ in range(draw(st.integers(1, 4))):
        action = draw(
            st.sampled_from(["cell", "column", "drop", "percent", "billions", "repeat", "short"])
        )
        names = [name for name in table.columns if isinstance(name, str)]
        if action == "cell" and len(table) and names:
            name = draw(st.sampled_from(names))
            cells = table[name].astype(object).tolist()
            cells[draw(st.integers(0, len(cells) - 1))] = draw(ODD)
            table[name] = pd.Series(cells, index=table.index, dtype=object)
        elif action == "column":
            name = draw(st.sampled_from(sorted(COLUMNS)))
            size = len(table)
            same = draw(st.booleans())
            cells = draw(st.lists(ODD, min_size=1 if same else size, max_size=1 if same else size))
            cells = cells * size if same else cells
            table[name] = pd.Series(cells, index=table.index, dtype=object)
        elif action == "drop" and names:
            table = table.drop(columns=draw(st.sampled_from(names)))
        elif action in ("percent", "billions"):
            name, factor = ("activation_ratio", 100) if action == "percent" else ("tokens", 1e-9)
            if name in table and table[name].dtype != object:
                table[name] = table[name] * factor
        elif action == "repeat":
            table = pd.concat([table, table[-1:]], ignore_index=bool(draw(st.booleans())))
        elif action == "short":
            table = table[: draw(st.integers(0, 4))]
    return table


def accounted_for(table: pd.DataFrame) -> None:
    """Either a typed error whose places exist, or a copy with the same rows and sound values."""
    before = table.copy()
    try:
        checked = sf.validate(table)
    except TableError as error:
        assert error.faults
        assert not re.search(r"\bnp\.\w+\(", str(error))
        for fault in error.faults:
            assert fault.row is None or 0 <= fault.row < len(table)
            assert fault.problem
            assert fault.remedy
            assert str(fault) in str(error) or fault.row is not None
        return
    finally:
        pd.testing.assert_frame_equal(table, before)
    assert len(checked) == len(table)
    assert set(checked.columns) == set(table.columns)
    assert sorted(checked["tokens"]) == sorted(float(cell) for cell in table["tokens"])
    ratio = checked["activation_ratio"].dropna()
    assert ((ratio > 0) & (ratio <= 1)).all()
    assert np.isfinite(checked["tokens"]).all()
    assert (checked["tokens"] > 0).all()
    assert not checked.duplicated(["run", "tokens"]).any()
    pd.testing.assert_frame_equal(sf.validate(checked), checked)


COMMON = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
}


@settings(max_examples=200, **COMMON)  # type: ignore[arg-type]
@given(sound_tables())
def test_sound_tables_pass(table: pd.DataFrame) -> None:
    checked = sf.validate(table)
    assert len(checked) == len(table)


@settings(max_examples=600, **COMMON)  # type: ignore[arg-type]
@given(damaged_tables())
def test_damaged_tables(table: pd.DataFrame) -> None:
    accounted_for(table)


NAMES = st.one_of(st.sampled_from(sorted(COLUMNS)), st.text(max_size=4), st.integers(0, 3))


@pytest.mark.parametrize("name", ["activation", "sparsity", "eval/sparsity"])
def test_integers_beyond_floats_in_any_column(name: str) -> None:
    accounted_for(pd.DataFrame({"cett": [None] * 3, name: [None, None, 10**400]}))


@settings(max_examples=300, **COMMON)  # type: ignore[arg-type]
@example({"activation": [None, None, 0j]})
@given(st.dictionaries(NAMES, st.lists(ODD, min_size=3, max_size=3), max_size=6))
def test_arbitrary_tables(columns: dict[object, list[object]]) -> None:
    accounted_for(
        pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})
    )


@settings(max_examples=300, **COMMON)  # type: ignore[arg-type]
@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)),
    st.sampled_from([".csv", ".json", ".parquet", ".csv.gz"]),
)
def test_arbitrary_files(tmp_path_factory, content: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"arbitrary{suffix}"
    path.write_bytes(content)
    try:
        sf.read_table(path)
    except TableError as error:
        assert error.faults
