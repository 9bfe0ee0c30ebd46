from __future__ import annotations

import json

import numpy as np
import pytest

import sparsefit as sf
from sparsefit.cli import main


def test_json_holds_the_librarys_numbers(document, folder):
    status, answer = document(
        "forecast", folder / "two.csv", "--at", "80B", "--at", "2e12",
        "--target-activation", "0.075", "--level", "0.8",
    )  # fmt: skip
    assert status == 0
    fits = sf.fit(sf.read_table(folder / "two.csv"))
    assert [run["run"] for run in answer["runs"]] == list(fits)
    for run in answer["runs"]:
        fit = fits[run["run"]]
        limit = fit.limit(0.8)
        assert run["limit"]["lower"] == pytest.approx(limit.lower)
        assert run["limit"]["upper"] == pytest.approx(limit.upper)
        assert run["limit"]["identified"] == limit.identified
        assert run["limit_sparsity"]["lower"] == pytest.approx(1 - limit.upper)
        table = fit.forecast([8e10, 2e12], level=0.8)
        for row, (_, expected) in zip(run["forecast"], table.iterrows(), strict=True):
            assert row == pytest.approx(expected.to_dict())
        budget = fit.tokens_to(activation_ratio=0.075, level=0.8)
        assert run["budgets"][0]["status"] == budget.status


def test_infinite_budgets_are_null(document, folder):
    status, answer = document(
        "forecast", folder / "two.csv", "--run", "falling_sim", "--target-sparsity", "0.99"
    )
    assert status == 0
    (budget,) = answer["runs"][0]["budgets"]
    assert budget["status"] == "unreachable"
    assert budget["estimate"] is None and budget["upper"] is None
    assert "out of reach" in budget["sentence"]
    assert budget["asked"] == "sparsity 0.99"


def test_tokens_within_a_share_of_the_limit(document, folder):
    options = ["--run", "falling_sim", "--within", "0.01", "--target-sparsity", "0.9"]
    status, answer = document("forecast", folder / "two.csv", *options)
    assert status == 0
    _, near = answer["runs"][0]["budgets"]
    expected = sf.fit(sf.read_table(folder / "two.csv"))["falling_sim"].tokens_within(0.01)
    assert near["asked"] == expected.asked == "a distance of 1% from the limit"
    assert near["estimate"] == pytest.approx(expected.estimate)


def test_a_law_that_does_not_describe_the_run_answers_nothing(command, document, folder, tmp_path):
    wrong = sf.read_table(folder / "two.csv")
    wrong = wrong[wrong["run"] == "rising_sim"].assign(activation="relu")
    sf.write_table(wrong, tmp_path / "wrong.csv")
    words = ["forecast", tmp_path / "wrong.csv", "--target-activation", "0.3"]
    status, answer = document(*words)
    assert status == 0
    (run,) = answer["runs"]
    assert run["misfit"] is True
    assert run["limit"]["identified"] == "no"
    (budget,) = run["budgets"]
    assert (budget["status"], budget["misfit"], budget["upper"]) == ("undetermined", True, None)
    _, text, _ = command(*words)
    assert "0.3: no answer, as the law does not describe this run." in text
    assert "Do not use these forecasts" in text
    _, good = document("forecast", folder / "two.csv")
    assert [run["misfit"] for run in good["runs"]] == [False, False]


def test_a_sparsity_that_a_rising_run_left_behind_is_not_reached(document, folder):
    _, answer = document(
        "forecast", folder / "two.csv", "--run", "rising_sim", "--target-sparsity", "0.93"
    )
    (budget,) = answer["runs"][0]["budgets"]
    assert budget["status"] == "unreachable"


def test_without_at_the_multiples_are_said(command, folder):
    status, out, _ = command("forecast", folder / "two.csv", "--run", "falling_sim")
    assert status == 0
    assert out.startswith("No --at given: forecasts at 2, 4 and 10 times the tokens")
    for words in ("80B    (2x)", "160B    (4x)", "400B   (10x)"):
        assert words in out


def test_text_says_limit_budget_and_identification(command, folder):
    status, out, _ = command(
        "forecast", folder / "two.csv", "--at", "2T", "--target-activation", "0.0705"
    )
    assert status == 0
    assert out.count("Identified: yes.") == 2
    assert "Activation ratio 0.0705 is reached at" in out
    assert "2T" in out and "sparsity" in out
    limit = sf.fit(sf.read_table(folder / "two.csv"))["falling_sim"].limit()
    places = limit.decimals
    assert f"{limit.lower:.{places}f} to {limit.upper:.{places}f}" in out


def test_a_short_run_does_not_stop_the_others(command, document, folder):
    status, out, err = command("forecast", folder / "short.csv", "--at", "1e12")
    assert status == 3
    assert "falling_sim" in out
    assert "short_sim" in err and "needs at least 6" in err
    status, answer = document("forecast", folder / "short.csv", "--at", "1e12")
    assert status == 3
    assert list(answer["failed"]) == ["short_sim"]


def test_a_bad_file_lists_its_faults_and_exits_with_1(command, folder):
    status, out, err = command("forecast", folder / "percent.csv")
    assert (status, out) == (1, "")
    assert "activation_ratio" in err and "percent" in err and "row" in err
    status, _, err = command("forecast", folder / "absent.csv")
    assert status == 1
    assert "absent.csv" in err


@pytest.mark.parametrize(
    "words",
    [
        ["--at", "soon"],
        ["--at", "-5"],
        ["--target-sparsity", "93"],
        ["--level", "90"],
        ["--warmup", "some"],
        ["--seed", "x"],
    ],
)
def test_wrong_words_are_wrong_usage(command, folder, words):
    status, _, err = command("forecast", folder / "two.csv", *words)
    assert status == 2
    assert words[1] in err


def test_wrong_choices_are_typed_errors(command, folder):
    table = folder / "two.csv"
    for words, said in (
        (["--run", "nobody"], "falling_sim"),
        (["--law", "eq9"], "eq4"),
        (["--out", "nowhere/figure.png"], "nowhere"),
        (["--out", "figure.docx"], ".png"),
        (["--target-loss", "2"], "--response loss"),
    ):
        status, _, err = command("forecast", table, *words)
        assert status == 1
        assert said in err


def test_run_names_a_file_without_that_column(document, folder):
    status, answer = document("forecast", folder / "unnamed.csv", "--run", "mine")
    assert status == 0
    assert [run["run"] for run in answer["runs"]] == ["mine"]


def test_figure_and_saved_fits(command, folder, tmp_path):
    figure, saved = tmp_path / "f.svg", tmp_path / "fits.json"
    status, _, err = command(
        "forecast", folder / "two.csv", "--at", "1e12", "--out", figure, "--save-json", saved
    )
    assert status == 0
    assert "<svg" in figure.read_text(encoding="utf-8")
    fits = sf.load_fit(saved)
    assert list(fits) == ["falling_sim", "rising_sim"]
    assert str(figure) in err and str(saved) in err


def test_warmup_takes_points_and_tokens(document, folder):
    counted = document("fit", folder / "two.csv", "--warmup", "3")[1]
    by_tokens = document("fit", folder / "two.csv", "--warmup", "0.9B")[1]
    none = document("fit", folder / "two.csv", "--warmup", "none")[1]
    assert [run["n_warmup"] for run in counted["runs"]] == [3, 3]
    assert [run["n_warmup"] for run in by_tokens["runs"]] == [3, 3]
    assert [run["n_warmup"] for run in none["runs"]] == [0, 0]


def test_the_same_seed_gives_the_same_document(document, folder):
    words = ("forecast", folder / "two.csv", "--seed", "4")
    assert document(*words) == document(*words)


def test_progress_shows_after_patience_and_on_standard_error(command, folder, monkeypatch):
    from sparsefit.cli import progress

    assert "fitting" not in command("fit", folder / "unnamed.csv", "--run", "mine")[2]
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    status, out, err = command("fit", folder / "two.csv")
    assert status == 0
    assert "fitting 1/2: falling_sim" in err and "fitting 2/2: rising_sim" in err
    assert "fitting" not in out


def test_what_only_a_later_panel_shows_is_in_a_legend():
    from matplotlib.figure import Figure

    from sparsefit.cli.figure import _name_the_rest

    panels = Figure().subplots(1, 2)
    panels[0].plot([1], [1], label="used")
    panels[1].plot([1], [1], label="used")
    panels[1].plot([2], [1], label="warm-up")
    _name_the_rest(panels)
    assert panels[0].get_legend() is None
    assert [text.get_text() for text in panels[1].get_legend().get_texts()] == ["warm-up"]


@pytest.mark.parametrize(("run", "way"), [("falling_sim", "rise"), ("rising_sim", "fall")])
def test_sparsities_given_for_activation_ratios_are_suspected(command, folder, tmp_path, run, way):
    table = sf.read_table(folder / "two.csv")
    table = table[table["run"] == run]
    table = table.assign(activation_ratio=1 - table["activation_ratio"])
    sf.write_table(table, tmp_path / "sparsity.csv")
    _, text, _ = command("forecast", tmp_path / "sparsity.csv")
    assert f"above 0.5 and {way}: are they sparsities" in text


def test_bayesian_methods_hold_the_librarys_numbers(document, folder, family_csv):
    status, answer = document("forecast", folder / "two.csv", "--method", "bayes", "--at", "80B")
    assert status == 0
    fits = sf.fit_bayes(sf.read_table(folder / "two.csv"))
    for run in answer["runs"]:
        assert run["method"] == "fit_bayes"
        expected = fits[run["run"]].forecast([8e10])
        assert run["forecast"][0]["median"] == pytest.approx(expected["median"][0])
        assert run["limit"]["upper"] == pytest.approx(fits[run["run"]].limit().upper)


def test_a_run_asked_for_learns_from_the_others(command, document, family_csv):
    words = ("forecast", family_csv, "--run", "large_sim", "--method", "pooled", "--at", "200B")
    status, answer = document(*words)
    assert status == 0
    (run,) = answer["runs"]
    assert any("pooled with 2 runs" in note for note in run["notes"])
    expected = sf.fit_bayes(sf.read_table(family_csv), pool="scale")["large_sim"]
    assert run["forecast"][0]["median"] == pytest.approx(expected.forecast([2e11])["median"][0])
    _, alone = document(*(word if word != "pooled" else "bayes" for word in words))
    width = [one["limit"]["upper"] - one["limit"]["lower"] for one in (run, alone["runs"][0])]
    assert width[0] < 0.8 * width[1]
    assert run["limit"]["identified"] == "yes" != alone["runs"][0]["limit"]["identified"]
    status, out, _ = command(*words)
    assert status == 0 and "small_sim:" not in out


def test_methods_that_cannot_work_are_typed_errors(
    command, folder, family_csv, tmp_path, monkeypatch
):
    status, _, err = command("fit", family_csv, "--method", "bayes", "--robust")
    assert status == 1 and "--robust works only with --method fit" in err
    sf.write_table(sf.read_table(family_csv).drop(columns="n_params"), tmp_path / "no_sizes.csv")
    monkeypatch.setattr("sparsefit.bayes.api.fit_run_bayes", lambda *_: pytest.fail("too late"))
    status, _, err = command("fit", tmp_path / "no_sizes.csv", "--method", "pooled")
    assert status == 1 and "n_params" in err and "add the column" in err


@pytest.mark.parametrize("end", ["90%", "3.6e10"])
def test_the_end_of_a_run_is_left_out_and_named(folder, tmp_path, capsys, end):
    table = sf.read_table(folder / "two.csv")
    tokens = np.unique(table["tokens"])
    kept = int((tokens < 3.6e10).sum())
    words = ["forecast", str(folder / "two.csv"), "--before", end, "--json", "--at", "80B"]
    assert main([*words, "--out", str(tmp_path / "f.png")]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert [run["n_points"] for run in document["runs"]] == [kept, kept]
    left = f"{tokens.size - kept} of {tokens.size} checkpoints of"
    assert f"left out by --before {end}: {left} falling_sim" in err and f"{left} rising_sim" in err
    alone = sf.fit(table[(table["run"] == "falling_sim") & (table["tokens"] < 3.6e10)])
    (found,) = (run for run in document["runs"] if run["run"] == "falling_sim")
    assert found["limit"]["estimate"] == alone.limit().estimate


def test_the_points_left_out_are_drawn_as_not_used(folder, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(sf.plots, "fit", lambda *_, held_out, **__: drawn.append(len(held_out)))
    monkeypatch.setattr("sparsefit.cli.figure.panels_of", lambda runs, draw, _: draw(runs[0], 0, 0))
    words = [str(folder / "two.csv"), "--before", "90%", "--out", str(tmp_path / "f.png")]
    for command in ("fit", "forecast"):
        assert main([command, *words]) == 0
    assert drawn == [2, 2]


@pytest.mark.parametrize("text", ["0%", "100%", "120%", "many%", "0.9", "-1"])
def test_an_end_that_is_none_is_wrong_usage(folder, capsys, text):
    with pytest.raises(SystemExit, match="2"):
        main(["forecast", str(folder / "two.csv"), f"--before={text}"])
    assert "a token count (such as 350B)" in capsys.readouterr().err or text == "-1"


def test_an_end_before_every_checkpoint_is_refused(folder, capsys):
    assert main(["forecast", str(folder / "two.csv"), "--before", "1M"]) == 1
    assert "no checkpoint is left; the first is at 500M" in capsys.readouterr().err
