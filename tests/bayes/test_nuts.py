"""The two engines sample one posterior. Compiling takes a minute: run with --run-long."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf

Run = Callable[..., pd.DataFrame]


@pytest.mark.long
@pytest.mark.parametrize(
    ("law", "theta"),
    [("logspace_power", (0.6, -2.8, 0.25, 0.07)), ("vanilla_power", (0.5, 0.05, 0.42))],
)
def test_engines_agree(run_table: Run, law: str, theta: tuple[float, ...]) -> None:
    pytest.importorskip("pymc")
    table = run_table(law=law, theta=theta)
    ours = sf.fit_bayes(table, engine="importance", rng=0)
    nuts = sf.fit_bayes(table, engine="nuts", rng=0, draws=8000)
    sampling = nuts.posterior.sampling
    assert sampling.engine == "nuts" and sampling.divergences == 0
    assert sampling.rhat is not None and sampling.rhat < 1.02
    for a, b in (
        (ours.averaged.draws.limit, nuts.averaged.draws.limit),
        (ours.averaged.draws.shape[:, 0], nuts.averaged.draws.shape[:, 0]),
        (ours.averaged.draws.sigma, nuts.averaged.draws.sigma),
    ):
        assert abs(np.median(a) - np.median(b)) < 0.2 * b.std()
    np.testing.assert_allclose(ours.averaged.noise_weight, nuts.averaged.noise_weight, atol=0.06)
    np.testing.assert_allclose(ours.averaged.drop_weight, nuts.averaged.drop_weight, atol=0.06)
    assert nuts.to_arviz().posterior.sizes["chain"] == 4


@pytest.mark.long
def test_bands_next_to_a_bound_agree(run_table: Run) -> None:
    pytest.importorskip("pymc")
    # Hardly bent in log D: the limit may be anything up to 1.
    table = run_table(law="vanilla_power", theta=(0.05, 0.5, 0.9), noise=1e-3, n=14)
    ours = sf.fit_bayes(table, engine="importance", rng=0)
    nuts = sf.fit_bayes(table, engine="nuts", rng=0)
    assert nuts.posterior.sampling.engine == "nuts"
    tokens = np.array([1.2e11, 6e11])
    bands = []
    for fit in (ours, nuts):
        assert fit.limit().upper == 1.0
        shown, drawn = fit.forecast(tokens), fit.simulate(tokens, "curve")
        assert (shown["curve_upper"] > np.quantile(drawn, 0.95, axis=0)).all()
        bands.append(shown[["curve_lower", "curve_upper", "obs_lower", "obs_upper"]].to_numpy())
    width = bands[1][:, [1]] - bands[1][:, [0]]
    assert (np.abs(bands[0] - bands[1]) < 0.12 * width).all()
