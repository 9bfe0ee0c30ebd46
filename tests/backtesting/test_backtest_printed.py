"""A backtest as it is printed, by the command and in Python."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.backtesting import MethodForecast
from sparsefit.errors import NothingToForecastError

FAST = ["last_value", "log_linear"]


def test_views_agree_and_json_is_strict(two_runs):
    result = sf.backtest(two_runs, FAST)
    text = json.dumps(result.to_dict(), allow_nan=False)
    document = json.loads(text)
    assert {row["method"] for row in document["by_overall"]} == set(FAST)
    assert set(result.table("series")["series"]) == {"falling", "rising"}
    tidy = result.tidy().query("by == 'overall' and score == 'mae'").set_index("method")["value"]
    table = result.table().set_index("method")["mae"]
    pd.testing.assert_series_equal(tidy.loc[FAST], table.loc[FAST], check_names=False)
    assert "<table>" in result._repr_html_() and "2 methods, 2 series" in repr(result)


def test_command_prints_a_table_or_one_json_document(tmp_path, two_runs, capsys):
    from sparsefit.cli import main

    path = tmp_path / "runs.csv"
    two_runs.to_csv(path, index=False)
    words = ["backtest", str(path), "--methods", *FAST, "--cuts", "0.5"]
    assert main(words) == 0
    assert "cover 90%" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cuts"] == [0.5]
    assert main(["backtest", "--list-methods"]) == 0
    assert "lm_multistart" in capsys.readouterr().out
    assert main(["backtest"]) == 1
    assert main(["backtest", str(path), "--methods", "nonsense"]) == 1


def test_command_skips_a_run_that_has_hardly_begun(tmp_path, make_run, capsys):
    from sparsefit.cli import main

    path = tmp_path / "points.csv"
    begun = make_run("begun", points=4)
    pd.concat([make_run("long"), begun]).to_csv(path, index=False)
    assert main(["backtest", str(path), "--methods", "last_value", "--cuts", "0.5"]) == 0
    assert "skipped: begun at 0.5: 2 points seen" in capsys.readouterr().out


def test_a_cut_at_which_every_run_is_too_short_is_shown_without_scores(make_run):
    """The default cuts leave runs of 14 points with 4 at the first."""
    run = make_run(points=14)
    found = sf.backtest(run, FAST)
    assert {one.cut for one in found.skipped} == {0.3}
    header, _, *rows = found.summary().split("\n\n")[1].splitlines()
    assert header.split()[:3] == ["method", "MAE", "30%"]
    for row in rows[:2]:
        assert row.split()[1] == "-" and float(row.split()[2]) > 0
    assert "skipped: simulated at 0.3: 4 points seen, fewer than 6" in found.summary()
    assert "MAE 30%" in found._repr_html_()
    assert [row["cut"] for row in found.to_dict()["by_cut"]] == [0.5, 0.7, 0.5, 0.7]


def test_rows_without_a_value_are_told_without_a_cut(make_run):
    table = make_run("short", points=8).assign(status="ok")
    table.loc[3, ["activation_ratio", "status"]] = [np.nan, "failed"]
    with pytest.raises(NothingToForecastError, match=r"\(short: 1 row without a usable"):
        sf.backtest(table, FAST, cuts=[0.3])
    longer = make_run("long", points=20).assign(status="ok")
    longer.loc[3, ["activation_ratio", "status"]] = [np.nan, "failed"]
    assert "skipped: long: 1 row without a usable" in sf.backtest(longer, FAST).summary()
    remarks = sf.compare([sf.fit(longer, law=law) for law in ("eq4", "eq5")]).remarks
    assert "leave-future-out, skipped: long: 1 row without a usable measurement" in remarks
    assert not any("nan" in remark for remark in remarks)


def test_a_huge_score_does_not_spread_the_table(make_run):
    def endless(seen, tokens, rng):
        return MethodForecast.from_draws(tokens, 1e9 * rng.normal(size=(100, len(tokens))))

    line = sf.backtest(make_run(), [endless], [0.5]).summary().splitlines()[6]
    assert line.startswith("endless") and "e+10" in line
