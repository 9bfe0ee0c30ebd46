"""Options that several commands have: the same words mean the same everywhere."""

from __future__ import annotations

import pytest

import sparsefit as sf
from sparsefit.cli import COMMANDS, build_parser

FITTED = ("fit", "forecast", "compare", "report")


def parsed(command, *words):
    return build_parser(command).parse_args([command, *words])


@pytest.mark.parametrize("command", [*FITTED, "backtest"])
def test_runs_are_named_alike(command):
    words = ("t.csv", "--run", "a", "--runs", "b", "c", "--run", "d")
    assert parsed(command, *words).run == ["a", "b", "c", "d"]
    assert parsed(command, "--run", "a", "t.csv").files == ["t.csv"]


@pytest.mark.parametrize("command", FITTED)
@pytest.mark.parametrize(
    ("text", "rule"), [("auto", "auto"), ("none", None), ("3", 3.0), ("2M", 2e6), ("0", 0)]
)
def test_warmups_are_written_alike(command, text, rule):
    found = parsed(command, "t.csv", "--warmup", text).warmup
    if command == "compare":  # keeps the text, as a name of the fit
        from sparsefit.cli.values import warmup_rule

        assert found == [text]
        found = warmup_rule(found[0])
    assert found == rule


@pytest.mark.parametrize("command", [*FITTED, "backtest", "demo", "width-depth"])
def test_seeds_are_checked_alike(command, capsys):
    files = [] if command == "demo" else ["t.csv"]
    assert parsed(command, *files, "--seed", "3").seed == 3
    for text in ("-1", "1.5", "x"):
        with pytest.raises(SystemExit) as stop:
            parsed(command, *files, f"--seed={text}")
        assert stop.value.code == 2
        assert "not a whole number >= 0" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["fit", "forecast", "report", "demo", "width-depth"])
def test_levels_are_checked_alike(command, capsys):
    files = [] if command == "demo" else ["t.csv"]
    assert parsed(command, *files, "--level", ".8").level == 0.8
    # Percent, and the tail in place of the level.
    for text in ("90", "0.1", "1"):
        with pytest.raises(SystemExit) as stop:
            parsed(command, *files, "--level", text)
        assert stop.value.code == 2
        assert f"{text!r}" in capsys.readouterr().err


def test_a_measurement_is_written_to_out_as_everything_else():
    assert parsed("measure", "run", "--text", "t.txt", "--out", "a.csv").output == "a.csv"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command):
    (actions,) = [a for a in build_parser(command)._actions if a.dest == "command"]
    silent = [a.dest for a in actions.choices[command]._actions if not a.help]
    assert silent == []


def test_compare_takes_a_warmup_in_tokens_and_one_run(document, folder):
    words = ("--laws", "eq4", "--warmup", "none", "0.9B", "--run", "falling_sim", "--no-future")
    status, answer = document("compare", folder / "two.csv", *words)
    assert status == 0
    found = {one["fit"]: (one["run"], one["n_warmup"]) for one in answer["fits"]}
    assert found == {
        "eq4, warm-up none": ("falling_sim", 0),
        "eq4, warm-up 0.9B": ("falling_sim", 3),
    }


def test_a_run_that_is_not_there_is_named(command, folder):
    for name in FITTED:
        status, _, err = command(name, folder / "two.csv", "--run", "nobody")
        assert status == 1
        assert "--run nobody: no such run; runs: falling_sim, rising_sim" in err


def test_report_takes_runs_and_targets_as_forecast_does(document, command, folder, tmp_path):
    page = tmp_path / "page.html"
    status, answer = document(
        "report", folder / "two.csv", "-o", page, "--run", "rising_sim",
        "--target-sparsity", "0.63", "--target-activation", "0.38", "--target", "0.385",
    )  # fmt: skip
    assert status == 0
    assert list(answer["limits"]) == ["rising_sim"]
    text = page.read_text(encoding="utf-8")
    for asked in ("sparsity 0.63", "0.38", "0.385"):
        assert f"{asked}</" in text
    for words, said in (
        (["--target-loss", "2"], "--target-loss needs --response loss"),
        (["--target", "38"], "--target 38: a fraction between 0 and 1"),
    ):
        status, _, err = command("report", folder / "two.csv", "-o", page, *words)
        assert status == 1
        assert said in err


def test_a_fit_takes_the_warmup_that_it_shows(folder):
    table = sf.read_table(folder / "two.csv")
    run = table[table["run"] == "falling_sim"]
    for rule in ("none", None, "auto"):
        fit = sf.fit(run, warmup=rule)
        assert sf.fit(run, warmup=fit.warmup).limit() == fit.limit()
