"""Draws must be many: a band of two effective draws is no band."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit import laws

D = np.linspace(1.0, 30.0, 30)


@pytest.mark.parametrize(
    ("alpha", "kappa", "noise"),
    [
        (0.5, 2.5, 1e-4),  # quiet: the ridge crosses corners of cells, two draws of 2,000 counted
        (1.2, 4.0, 5e-4),  # near its limit: rows kept for their likelihood took most of the grid
    ],
)
def test_effective_draws_of_runs_whose_ridge_is_narrow(
    alpha: float, kappa: float, noise: float
) -> None:
    law = laws.get("logspace_power")
    theta = law.to_theta(np.array([alpha, kappa]), 0.04, 0.07, (1.0, 30.0))
    sizes = []
    for seed in range(8):
        response = law.value(D, theta)
        response = response + noise * np.random.default_rng(seed).standard_normal(D.size)
        table = pd.DataFrame(
            {
                "run": "run",
                "tokens": np.round(1e9 * D).astype(np.int64),
                "activation_ratio": response,
                "activation": "relu",
            }
        )
        sizes.append(sf.fit(table).averaged.ess)
    assert min(sizes) > 700
    assert np.median(sizes) > 1200
