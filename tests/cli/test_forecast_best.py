"""`sparsefit forecast --method best`."""

from __future__ import annotations

import pandas as pd
import pytest

import sparsefit as sf

BEST = ("--method", "best")


def test_json_holds_the_librarys_numbers(document, folder):
    status, answer = document(
        "forecast", folder / "two.csv", *BEST, "--at", "80B", "--at", "2e12", "--level", "0.8",
        "--target-activation", "0.0705", "--target-sparsity", "0.63",
    )  # fmt: skip
    assert status == 0
    best = sf.forecast_best(sf.read_table(folder / "two.csv"))
    assert answer["leader"] == best.method and answer["why"] == best.why
    assert {one["method"]: one["weight"] for one in answer["weights"]} == pytest.approx(
        dict(best.weights)
    )
    assert [run["run"] for run in answer["runs"]] == list(best.runs)
    table = best.forecast([8e10, 2e12], level=0.8).set_index("run")
    for run in answer["runs"]:
        for row, (_, expected) in zip(
            run["forecast"], table.loc[run["run"]].iterrows(), strict=True
        ):
            assert row == pytest.approx(expected.to_dict())
        # Budgets are looked for as far as the furthest --at.
        for asked, found in zip(
            ({"sparsity": 0.63}, {"activation_ratio": 0.0705}), run["budgets"], strict=True
        ):
            expected = best.tokens_to(**asked, level=0.8, run=run["run"], until=2e12)
            assert found["status"] == expected.status and found["until"] == 2e12
            assert found["sentence"] == expected.sentence
        assert run["notes"] == list(best.predictive([8e10, 2e12], run["run"]).notes)


def test_text_says_who_leads_and_why_and_that_there_is_no_limit(command, folder):
    words = ("forecast", folder / "two.csv", *BEST, "--run", "falling_sim")
    status, out, _ = command(*words, "--target-activation", "0.0705")
    assert status == 0
    best = sf.forecast_best(sf.read_table(folder / "two.csv"))
    assert out.startswith(best.why)
    for name in best.weights.index:
        assert name in out
    assert "No limits: methods without a law take part. --method fit" in out
    assert "No --at given: forecasts at 2, 4 and 10 times" in out
    assert "80B    (2x)" in out and "400B   (10x)" in out
    assert "falling_sim: 20 checkpoints" in out and "rising_sim:" not in out
    assert "Activation ratio 0.0705" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--law", "eq4"], "--law does not go with --method best"),
        (["--warmup", "3"], "--warmup does not go with --method best"),
        (["--warmup", "none"], "--warmup does not go with --method best"),
        (["--robust"], "--robust does not go with --method best"),
        (["--within", "0.01"], "it has no limit to come near to; use --method fit"),
        (["--response", "loss"], "it forecasts activation ratios only"),
        (["--target-loss", "2"], "use --method fit --response loss"),
        (["--save-json", "absent/best.json"], "--save-json absent/best.json: there is no folder"),
        (["--out", "figure.docx"], ".png"),
        (["--run", "nobody"], "no such run; runs: falling_sim, rising_sim"),
    ],
)
def test_options_that_mean_nothing_are_refused(command, folder, words, said):
    status, out, err = command("forecast", folder / "two.csv", *BEST, *words)
    assert (status, out) == (1, "")
    assert said in err


@pytest.mark.parametrize("name", ["fit", "report"])
def test_commands_about_a_law_do_not_offer_it(command, folder, name):
    status, _, err = command(name, folder / "two.csv", *BEST)
    assert status == 2 and "invalid choice: 'best'" in err


def test_progress_is_said_on_standard_error(command, folder, monkeypatch):
    from sparsefit.backtesting import memo
    from sparsefit.cli import progress

    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    memo._kept.clear()
    status, out, err = command("forecast", folder / "two.csv", *BEST, "--at", "80B")
    assert status == 0
    assert "choosing by a backtest, forecasts: 1 of 32" in err
    assert "forecasting 1/2: falling_sim" in err and "forecasting 2/2: rising_sim" in err
    assert "--jobs" not in err and "forecasting" not in out.replace("forecasting the later", "")


def test_a_run_that_cannot_be_forecast_does_not_stop_the_others(
    document, command, tmp_path, folder
):
    table = sf.read_table(folder / "two.csv")
    two = table[table["run"] == "rising_sim"].head(2).assign(run="begun_sim")
    path = tmp_path / "begun.csv"
    pd.concat([table[table["run"] == "falling_sim"], two]).to_csv(path, index=False)
    status, answer = document("forecast", path, *BEST, "--at", "80B")
    assert status == 3
    assert [run["run"] for run in answer["runs"]] == ["falling_sim"]
    assert list(answer["failed"]) == ["begun_sim"]
    status, _, err = command("forecast", path, *BEST, "--at", "80B", "--run", "begun_sim")
    assert status == 1 and "'begun_sim'" in err


def test_the_figure_has_a_panel_for_each_run(command, folder, tmp_path):
    figure = tmp_path / "best.svg"
    status, _, err = command("forecast", folder / "two.csv", *BEST, "--at", "200B", "--out", figure)
    assert status == 0 and f"figure written to {figure}" in err
    assert "<svg" in figure.read_text(encoding="utf-8")


def test_the_forecast_is_saved_whole_and_can_be_asked_further(command, folder, tmp_path):
    path = tmp_path / "best.json"
    words = ("forecast", folder / "two.csv", *BEST, "--run", "falling_sim", "--at", "80B")
    status, _, err = command(*words, "--save-json", path)
    assert status == 0 and f"forecast written to {path}" in err
    best = sf.forecast_best(sf.read_table(folder / "two.csv"))
    back = sf.load_fit(path)
    assert back.summary() == best.summary()
    # Also for the run that was not printed.
    pd.testing.assert_frame_equal(back.forecast([8e10]), best.forecast([8e10]), check_exact=True)
