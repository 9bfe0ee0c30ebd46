"""Seeded small part of the coverage study in scripts/simulate_width_depth.py."""

from __future__ import annotations

import numpy as np
import pytest

from sparsefit.width_depth import fit_segmented


@pytest.mark.parametrize("slope", [0.0, 3e-4])
def test_the_test_of_no_break_keeps_its_level(slope: float) -> None:
    x = np.geomspace(16, 512, 9)
    rng = np.random.default_rng(5)
    p = [
        fit_segmented(
            x, slope * x + 1e-3 * rng.standard_normal(9), model="line_plateau", draws=99, rng=i
        )
        .break_test()
        .p_value
        for i in range(400)
    ]
    # Exact test: 20 of 400 expected, standard deviation 4.4.
    assert 8 <= np.sum(np.array(p) <= 0.05) <= 33
    # Uniform beyond the 5% point too: 200 expected, standard deviation 10.
    assert 160 <= np.sum(np.array(p) <= 0.5) <= 240


@pytest.mark.slow
@pytest.mark.parametrize("n", [7, 9])
def test_intervals_cover(n: int) -> None:
    x = np.geomspace(16, 512, n)
    rng = np.random.default_rng(n)
    truth = {"breakpoint": 114.0, "slope": 3e-4, "plateau": 0.0792}
    hits = dict.fromkeys(truth, 0)
    runs = 100
    for i in range(runs):
        y = 0.045 + 3e-4 * np.minimum(x, 114.0) + 1e-3 * rng.standard_normal(n)
        fit = fit_segmented(x, y, model="line_plateau", draws=99, rng=i)
        if not fit.located:
            continue
        table = fit.conf_int(0.9)
        for name, value in truth.items():
            hits[name] += bool(table.loc[name, "lower"] <= value <= table.loc[name, "upper"])
    # 90 expected, standard deviation 3: a broken interval fails, chance rarely does.
    for name, count in hits.items():
        assert 80 <= count <= 98, (name, count)
