from __future__ import annotations

import numpy as np
import pytest

import sparsefit as sf
from sparsefit.backtesting.simulate_scales import DEPARTURES, draw_family, simulate_family
from sparsefit.errors import ArgumentError


@pytest.mark.parametrize("rising", [False, True])
@pytest.mark.parametrize("departure", DEPARTURES)
def test_families_are_valid_tables_that_repeat(departure, rising):
    tables = []
    for _ in range(2):
        rng = np.random.default_rng(3)
        tables.append(simulate_family(draw_family(rising, departure, rng), "f", rng))
    assert tables[0].equals(tables[1])
    table = sf.validate(tables[0])
    assert table["run"].nunique() == 5 and table["n_params"].nunique() == 5
    ends = table.groupby("run", sort=False)["activation_ratio"].agg(["first", "last"])
    # Most runs move in the law's direction.
    assert np.mean((ends["last"] > ends["first"]) == rising) > 0.5


def test_runs_scatter_about_their_trend_as_much_as_the_family_says():
    rng = np.random.default_rng(0)
    near = [draw_family(False, "none", rng).scatter for _ in range(200)]
    assert 0.05 <= min(near) < 0.1 and 0.3 < max(near) <= 0.6


def test_an_unknown_departure_is_named():
    with pytest.raises(ArgumentError, match="departure: one of none"):
        draw_family(False, "sideways", np.random.default_rng(0))
