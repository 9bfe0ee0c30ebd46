from __future__ import annotations

import pytest

import sparsefit as sf


def test_coefficients_are_those_of_tidy(document, folder):
    status, answer = document("fit", folder / "two.csv")
    assert status == 0
    fits = sf.fit(sf.read_table(folder / "two.csv"))
    for run in answer["runs"]:
        table = fits[run["run"]].tidy()
        for row, expected in zip(run["coefficients"], table.itertuples(), strict=True):
            assert row["term"] == expected.term
            assert row["estimate"] == pytest.approx(expected.estimate)
            assert row["lower"] == pytest.approx(expected.lower)


def test_text_holds_each_coefficient_and_the_limit(command, folder):
    status, out, _ = command("fit", folder / "two.csv")
    assert status == 0
    for words in ("alpha", "A0", "exp(-c D^alpha + b) + A0", "-c / D^alpha + A0", "Identified"):
        assert words in out


def test_law_and_robust_reach_the_fit(document, folder):
    _, answer = document("fit", folder / "two.csv", "--run", "falling_sim", "--law", "eq5",
                         "--robust")  # fmt: skip
    (run,) = answer["runs"]
    assert run["law"] == "vanilla_power"
    fit = sf.fit(
        sf.read_table(folder / "two.csv").query("run == 'falling_sim'"), law="eq5", robust=True
    )
    assert run["limit"]["upper"] == pytest.approx(fit.limit().upper)
    assert run["notes"], "a falling run under the rising law must be noted"
