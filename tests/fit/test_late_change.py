"""The end of a run that leaves its curve, as where the learning rate decays."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit import laws
from sparsefit.estimation.late_change import late_change
from sparsefit.estimation.least_squares import fit_least_squares
from sparsefit.estimation.notes import kind_of
from sparsefit.estimation.points import Points
from sparsefit.fitting import run_data

Simulate = Callable[..., pd.DataFrame]

THETAS = {"eq4": (0.5, -2.2, 0.6, 0.07), "eq5": (0.5, 0.1, 0.39), "loss": (0.3, 0.8, 2.0)}


def found(law: str, points: Points):
    one = laws.get(law)
    return late_change(one, points, fit_least_squares(one, points).theta)


def with_decay(table: pd.DataFrame, response: str, change: float) -> pd.DataFrame:
    """The last tenth of the tokens moves the response, most of it at once."""
    share = table["tokens"] / table["tokens"].max()
    moved = change * np.sqrt(np.clip((share - 0.9) / 0.1, 0.0, None))
    return table.assign(**{response: table[response] + moved})


@pytest.mark.parametrize("law", ["eq4", "eq5"])
@pytest.mark.parametrize("change", [-0.01, 0.01])
def test_a_decay_is_found_where_it_begins(simulated_run: Simulate, law: str, change: float) -> None:
    table = simulated_run(law=law, theta=THETAS[law], n=40, last=4e11)
    assert not [note for note in sf.fit(table).notes if kind_of(note) == "late change"]
    fit = sf.fit(with_decay(table, "activation_ratio", change))
    (note,) = [note for note in fit.notes if kind_of(note) == "late change"]
    since = float(note.split("after ")[1].split("B")[0]) * 1e9
    assert 0.85 * 4e11 <= since <= 0.93 * 4e11
    assert f"--before {note.split('after ')[1].split(' ')[0]}" in note
    # It is what is wrong with the residuals.
    assert "pattern" not in [kind_of(note) for note in fit.notes]


def test_without_these_points_the_forecast_is_right(simulated_run: Simulate) -> None:
    table = simulated_run(law="eq5", theta=THETAS["eq5"], n=40, last=4e11)
    decayed = with_decay(table, "activation_ratio", -0.01)
    truth = 0.39 - 0.1 / np.sqrt(2000.0)
    kept = sf.fit(decayed[decayed["tokens"] < 3.6e11]).forecast([2e12])
    spoilt = sf.fit(decayed).forecast([2e12])
    assert kept["obs_lower"][0] <= truth <= kept["obs_upper"][0]
    assert abs(kept["median"][0] - truth) < 0.5 * abs(spoilt["median"][0] - truth)


@pytest.mark.parametrize("grid", [np.linspace, np.geomspace])
@pytest.mark.parametrize("law", ["eq4", "eq5"])
def test_correlated_residuals_are_hardly_ever_taken_for_a_change(law: str, grid) -> None:
    rng, alarms = np.random.default_rng(7), 0
    for n in (15, 30, 60):
        d = grid(2.0, 400.0, n)
        y = laws.get(law).value(d, np.array(THETAS[law]))
        for rho in (0.0, 0.8, 0.95):
            for _ in range(8):
                noise = rng.standard_normal(n)
                for i in range(1, n):
                    noise[i] = rho * noise[i - 1] + np.sqrt(1 - rho**2) * noise[i]
                alarms += found(law, Points(d, y + 6e-4 * noise, None)) is not None
    assert alarms <= 1


@pytest.mark.parametrize("name", ["reference_scales", "reference_scales_repeated"])
def test_runs_that_end_as_they_went_on_get_no_note(name: str) -> None:
    for _, rows in sf.datasets.load(name).groupby("run"):
        for response in ("activation_ratio", "loss"):
            data = run_data(rows, response)
            law = "loss" if response == "loss" else {"relu": "eq4", "silu": "eq5"}[data.activation]
            assert found(law, data.points) is None, data.run


def test_the_authors_runs_get_no_note(authors_table: pd.DataFrame) -> None:
    for _, rows in authors_table.groupby("run"):
        data = run_data(rows, "activation_ratio")
        assert found({"relu": "eq4", "silu": "eq5"}[data.activation], data.points) is None, data.run


def test_a_log_of_the_loss_with_thousands_of_steps() -> None:
    d = np.linspace(0.002, 40.0, 20_000)
    rng = np.random.default_rng(1)
    y = laws.get("loss").value(d, np.array(THETAS["loss"])) + 0.02 * rng.standard_normal(d.size)
    assert found("loss", Points(d, y, None)) is None
    y -= 0.05 * np.clip((d / 40.0 - 0.9) / 0.1, 0.0, None)
    change = found("loss", Points(d, y, None))
    assert change is not None
    assert 0.8 * 40.0 < change.first < 0.95 * 40.0
    assert change.shift == pytest.approx(-0.05, rel=0.3)


def test_points_on_a_curve_and_few_points_are_no_change() -> None:
    d = np.linspace(1.0, 30.0, 30)
    curve = laws.get("eq4").value(d, np.array(THETAS["eq4"]))
    assert found("eq4", Points(d, curve, None)) is None
    assert found("eq4", Points(d[:9], curve[:9], None)) is None
