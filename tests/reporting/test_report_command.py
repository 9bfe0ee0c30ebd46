"""`sparsefit report`: the page, its sections, and runs that cannot be fitted."""

from __future__ import annotations

import html
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import sparsefit.backtesting
from sparsefit.backtesting import METHODS, target_of
from sparsefit.cli import main
from sparsefit.errors import FitError


def test_command_writes_page_and_figures(simulated_table: pd.DataFrame, tmp_path: Path) -> None:
    run = simulated_table[simulated_table["activation"] == "silu"]
    run.to_csv(tmp_path / "silu.csv", index=False)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sparsefit", "report", "silu.csv", "-o", "page.html"),
            *("--figures", "figures", "--formats", "svg", "--json"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(done.stdout)
    assert document["report"] == "page.html"
    assert (tmp_path / "page.html").stat().st_size > 50_000
    assert all((tmp_path / name).is_file() for name in document["figures"])


def test_runs_that_cannot_be_fitted_are_named(
    simulated_table: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    relu = simulated_table[simulated_table["run"] == "simulated_relu"]
    table = pd.concat([relu, relu.iloc[:3].assign(run="three_simulated_points")])
    table.to_csv(tmp_path / "points.csv", index=False)
    page = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "points.csv"), "-o", str(page)]) == 3
    said = "run 'three_simulated_points' has 3 usable points"
    assert said in capsys.readouterr().err
    assert f"Not on this page: {said}" in html.unescape(page.read_text(encoding="utf-8"))


def test_a_run_too_short_for_one_of_the_laws_does_not_stop_the_comparison(
    simulated_table: pd.DataFrame, tmp_path: Path
) -> None:
    relu = simulated_table[simulated_table["run"] == "simulated_relu"]
    # Five points are enough for its own law, and one too few for Eq. 4.
    five = simulated_table[simulated_table["activation"] == "silu"].head(5).assign(run="five")
    pd.concat([relu, five]).to_csv(tmp_path / "points.csv", index=False)
    page = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "points.csv"), "-o", str(page), "--compare"]) == 0
    text = html.unescape(page.read_text(encoding="utf-8"))
    assert "Comparison of fits" in text
    assert "Not compared: run 'five' has 5 usable points" in text


@pytest.mark.parametrize(
    ("points", "words", "said"),
    [
        (5, "--compare", "--compare: run 'simulated <silu"),
        (6, "--compare", "nothing to forecast"),
        (6, "--backtest", "nothing to forecast"),
    ],
)
def test_runs_too_short_for_a_section_name_its_option(
    simulated_table: pd.DataFrame,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    points: int,
    words: str,
    said: str,
) -> None:
    rising = simulated_table[simulated_table["activation"] == "silu"]
    rising.head(points).to_csv(tmp_path / "points.csv", index=False)
    page = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "points.csv"), "-o", str(page), words]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.startswith(f"sparsefit report: {words}: ")
    assert f"Leave {words} out for a page without the section" in told
    assert not page.exists()


def test_the_stacked_forecast_learns_from_runs_that_are_not_on_the_page(
    simulated_table: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated_table.to_csv(tmp_path / "points.csv", index=False)
    page, seen = tmp_path / "report.html", []
    whole = sparsefit.backtesting.forecast_best

    def quick(table: pd.DataFrame, **options: Any) -> Any:
        seen.extend(table["run"].unique())
        return whole(table, ["log_linear"], **options)

    monkeypatch.setattr(sparsefit.backtesting, "forecast_best", quick)
    words = [str(tmp_path / "points.csv"), "--run", "simulated_relu", "--best", "-o", str(page)]
    assert main(["report", *words]) == 0
    assert len(seen) == 2
    text = page.read_text(encoding="utf-8")
    assert "Stacked forecast of simulated_relu" in text
    assert "simulated &lt;silu" not in text


def test_a_run_without_a_stacked_forecast_is_named(
    simulated_table: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    simulated_table.to_csv(tmp_path / "points.csv", index=False)
    whole = sparsefit.backtesting.forecast_best
    rising = simulated_table["run"].unique()[1]
    rows = (simulated_table["run"] == rising).sum()

    def falling_only(seen: pd.DataFrame, tokens: Any, rng: Any) -> Any:
        # Not in the backtest, in which every candidate but those that failed gets a weight.
        if len(seen) == rows and target_of(seen)["run"] == rising:
            raise FitError("falling runs only")
        return METHODS["log_linear"].function()(seen, tokens, rng)

    def quick(table: pd.DataFrame, **options: Any) -> Any:
        return whole(table, {"falling_only": falling_only}, **options)

    monkeypatch.setattr(sparsefit.backtesting, "forecast_best", quick)
    words = [str(tmp_path / "points.csv"), "--best", "-o", str(tmp_path / "report.html")]
    why = f"run {rising!r} has no forecast: falling_only: falling runs only"
    assert main(["report", *words]) == 3
    out, err = capsys.readouterr()
    assert f"{rising}: The limit" in out
    assert f"not forecast: {why}" in err and "not fitted" not in err
    assert main(["report", *words, "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["failed"] == {rising: why}


def test_a_file_of_ratios_is_read_before_anything_is_fitted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["report", "absent.csv", "-o", str(tmp_path / "r.html"), "--width-depth", "none.csv"]
    assert main(words) == 1
    assert "none.csv" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--response", "loss", "--compare"], "--compare is about the activation ratio"),
        (["--response", "loss", "--backtest"], "--backtest is about the activation ratio"),
        (["--response", "loss", "--best"], "--best is about the activation ratio"),
        (
            ["--method", "bayes", "--compare"],
            "--compare fits both laws by --method fit, not by bay",
        ),
    ],
)
def test_sections_about_something_else_than_the_page_are_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Before the table is looked for, so that no time is lost.
    page = tmp_path / "page.html"
    assert main(["report", str(tmp_path / "absent.csv"), "-o", str(page), *words]) == 1
    assert said in capsys.readouterr().err
    assert not page.exists()
