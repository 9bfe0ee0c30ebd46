"""The recommended ratio."""

from __future__ import annotations

import json

import numpy as np
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError, TableError
from sparsefit.width_depth.advice import excess_intervals


@pytest.fixture
def law(simulated):
    return sf.fit_width_depth(simulated(), draws=99)


def test_smallest_ratio_of_the_basin_is_recommended(law, simulated_loss) -> None:
    advice = law.recommend(simulated_loss)
    assert advice.ratio == 74.0
    low, high = advice.zone
    assert 52 < low < 74
    assert 282 < high < 400
    assert advice.ratio_safe is None
    assert any("no standard errors" in note for note in advice.notes)
    assert advice.activation_ratio.estimate == pytest.approx(law.predict(74.0))
    assert advice.saving.estimate == pytest.approx(law.plateau - law.predict(74.0))
    assert advice.sparsity.lower == pytest.approx(1 - advice.activation_ratio.upper)
    json.dumps(advice.to_dict(), allow_nan=False)


def test_wider_tolerance_reaches_further_down(law, simulated_loss) -> None:
    assert law.recommend(simulated_loss, tolerance=0.025).ratio == 36.0
    assert law.recommend(simulated_loss, tolerance=0.0).ratio == 74.0


def test_standard_errors_open_verdicts(law, simulated_loss) -> None:
    sharp = law.recommend(simulated_loss.assign(se=1e-4))
    assert set(sharp.table["verdict"]) == {"within", "outside"}
    assert sharp.ratio_safe == 74.0
    assert sharp.zone_widest == (52.0, 400.0)
    vague = law.recommend(simulated_loss.assign(se=0.02))
    assert "within" not in set(vague.table["verdict"])
    assert vague.ratio_safe is None
    assert vague.zone_widest[0] < 52.0
    assert any("leave open" in note for note in vague.notes)


def test_unstable_runs_end_the_zone(law, simulated_loss) -> None:
    stable = simulated_loss["width_depth_ratio"] > 80
    table = simulated_loss.assign(stable=stable)
    table.loc[~stable, "loss"] = np.nan  # a diverged run has no loss
    advice = law.recommend(table)
    assert advice.ratio == 114.0
    assert advice.zone[0] == 114.0
    assert (advice.table["verdict"] == "unstable").sum() == 4


def test_excess_intervals_cover_jointly() -> None:
    true = np.array([0.03, 0.01, 0.0, 0.0, 0.004, 0.02])
    se = np.array([3, 1, 1, 2, 1, 4]) * 1e-3
    rng = np.random.default_rng(0)
    hits = 0
    for i in range(200):
        lower, upper = excess_intervals(true + se * rng.standard_normal(6), se, 0.9, i)
        hits += bool(np.all(lower <= true) and np.all(true <= upper))
    assert hits >= 0.86 * 200


def test_law_without_a_break_is_said_in_the_advice(simulated, simulated_loss) -> None:
    line = simulated().assign(limit=lambda t: 0.05 + 5e-5 * t["width_depth_ratio"])
    line["limit"] += 5e-4 * np.random.default_rng(2).standard_normal(9)
    advice = sf.fit_width_depth(line).recommend(simulated_loss)
    assert not advice.located
    assert any(note.startswith("no break can be placed") for note in advice.notes)


def test_faulty_losses_are_refused(law, simulated_loss) -> None:
    with pytest.raises(TableError, match="row 2, column 'loss'"):
        law.recommend(simulated_loss.assign(loss=[3, 3, np.nan, 3, 3, 3, 3, 3, 3]))
    with pytest.raises(TableError, match="column 'stable'"):
        law.recommend(simulated_loss.assign(stable="yes"))
    with pytest.raises(ArgumentError, match="stable"):
        law.recommend(simulated_loss.assign(stable=False))
    with pytest.raises(ArgumentError, match="tolerance"):
        law.recommend(simulated_loss, tolerance=-1.0)
    with pytest.raises(ArgumentError, match="loss_points"):
        law.recommend([3.0, 3.1])


def test_a_measurement_table_is_to_be_fitted_first(law) -> None:
    shipped = sf.datasets.load("reference_width_depth")
    with pytest.raises(TableError, match=r"one row per checkpoint.*sf\.fit\(table\)"):
        sf.fit_width_depth(shipped)
    with pytest.raises(TableError, match=r"last_losses\(table\)"):
        law.recommend(shipped)
    with pytest.raises(ArgumentError, match="with the columns loss and width_depth_ratio"):
        law.recommend({96: 3.1})
