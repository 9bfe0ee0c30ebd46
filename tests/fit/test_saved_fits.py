"""Fits saved as JSON and read back; what is no saved fit."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError

Simulate = Callable[..., pd.DataFrame]


def test_json_round_trip(fit: sf.Fit, tmp_path: Path) -> None:
    fit.to_json(tmp_path / "fit.json")
    again = sf.load_fit(tmp_path / "fit.json")
    assert isinstance(again, sf.Fit)
    pd.testing.assert_frame_equal(fit.forecast([1e10, 1e12]), again.forecast([1e10, 1e12]))
    pd.testing.assert_frame_equal(fit.points_table(), again.points_table(), check_dtype=False)
    assert fit.limit(0.8) == again.limit(0.8)
    assert fit.summary() == again.summary()
    assert list(tmp_path.iterdir()) == [tmp_path / "fit.json"]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    fit: sf.Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "fit.json"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        fit.to_json(path)
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("source", [None, 5, b"{}"])
def test_what_is_no_saved_fit_is_named(source: object) -> None:
    with pytest.raises(ArgumentError, match="a path or a JSON document is expected"):
        sf.load_fit(source)  # type: ignore[arg-type]


def test_a_file_that_is_no_text_is_no_saved_fit(tmp_path: Path) -> None:
    (tmp_path / "fit.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArgumentError, match="not UTF-8 text"):
        sf.load_fit(tmp_path / "fit.json")


def test_a_fit_is_not_saved_into_a_folder_that_is_not_there(
    simulated_run: Simulate, tmp_path: Path
) -> None:
    found = sf.fit(simulated_run())
    with pytest.raises(ArgumentError, match=r"fit\.json: there is no folder .*absent"):
        found.to_json(tmp_path / "absent" / "fit.json")
    with pytest.raises(ArgumentError, match="this is a folder"):
        found.to_json(tmp_path)
    with pytest.raises(ArgumentError, match="the name of a file is expected, got 5"):
        found.to_json(5)  # type: ignore[arg-type]


def test_the_rows_given_are_read_back_bit_by_bit(simulated_run: Simulate) -> None:
    run = simulated_run(
        se=1e-4 / 3,
        tiny=1e-13 / 3,
        measured=pd.date_range("2026-01-01", periods=30, tz="UTC"),
        counts=pd.array([None, *range(29)], dtype="Int64"),
        remark=["warm", None, *["fine"] * 28],
        open_end=float("inf"),
    )
    found = sf.fit(run)
    again = sf.load_fit(found.to_json())
    assert isinstance(again, sf.Fit)
    pd.testing.assert_frame_equal(again.frame, found.frame, check_exact=True)
