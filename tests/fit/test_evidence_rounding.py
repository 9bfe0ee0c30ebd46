"""Power laws with alpha near 0 are nearly constant: their evidence must survive rounding."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import solve_triangular

import sparsefit as sf
from sparsefit import laws
from sparsefit.estimation.evidence import conditional, cumulative_sums, reversed_basis
from sparsefit.estimation.noise import noise_grid
from sparsefit.estimation.points import Points
from sparsefit.estimation.whitening import Whitener

D = np.linspace(3.0, 60.0, 20)
THETA = (0.5, 0.05, 0.42)


def _response(seed: int) -> np.ndarray:
    noise = 2e-4 * np.random.default_rng(seed).standard_normal(D.size)
    return laws.get("vanilla_power").value(D, THETA) + noise


@pytest.mark.parametrize("alpha", [1e-4, 1e-3, 1e-2, 0.5, 4.0])
def test_conditional_is_the_generalised_least_squares_solution(alpha: float) -> None:
    law, points, shape, drop = laws.get("vanilla_power"), Points(D, _response(0)), alpha, 6
    kept = D.size - drop
    basis = law.sign * law.basis(D, np.array([[shape]]), points.span)[0]
    for noise in noise_grid():
        whitener = Whitener.of(points, noise)
        white = reversed_basis(law, points, np.array([[shape]]))
        sums = tuple(v[0] for v in cumulative_sums(points, whitener, white, np.array([kept])))
        # A range of 0: without the noise that is always there.
        found = conditional(
            sums, np.array(kept), np.array(drop), whitener.log_det[kept - 1], (0.0, 1.0), 0.0, 0.0
        )
        # The same by an orthogonal factorisation, which does not square the condition number.
        columns = np.column_stack([np.ones(kept), basis[drop:] - basis[-1], points.y[drop:]])[::-1]
        columns[:, 2] -= points.y[-1]
        factor = np.linalg.cholesky(noise.covariance(points)[drop:, drop:][::-1, ::-1])
        white = solve_triangular(factor, columns, lower=True)
        pair, ssr, *_ = np.linalg.lstsq(white[:, :2], white[:, 2], rcond=None)
        assert found.ssr[0] == pytest.approx(ssr[0], rel=1e-6)
        assert found.amplitude[0] == pytest.approx(pair[1], rel=1e-6)
        assert found.limit[0] == pytest.approx(
            points.y[-1] + pair[0] - pair[1] * basis[-1], rel=1e-6
        )


@pytest.mark.parametrize("seed", range(4))
def test_limit_of_a_precise_rising_run(seed: int) -> None:
    table = pd.DataFrame(
        {
            "run": "run",
            "tokens": np.round(1e9 * D).astype(np.int64),
            "activation_ratio": _response(seed),
            "activation": "silu",
        }
    )
    fit = sf.fit(table, law="vanilla_power")
    limit = fit.limit()
    # Rounding once let alpha = 0 fit exactly: limits of 0.82 and 1, noise of 1e-8.
    assert limit.lower - 0.002 < THETA[2] < limit.upper + 0.002 < 0.43
    assert 5e-5 < float(np.median(fit.averaged.draws.sigma)) < 6e-4


def test_a_precise_run_of_many_points_is_fitted() -> None:
    d = np.linspace(1.0, 100.0, 400)
    noise = 2e-5 * np.random.default_rng(3).standard_normal(d.size)
    table = pd.DataFrame(
        {
            "run": "run",
            "tokens": np.round(1e9 * d).astype(np.int64),
            "activation_ratio": np.exp(-1.2 * d**0.4 - 2.0) + 0.07 + noise,
            "activation": "relu",
        }
    )
    # Its weight lies in one row or two of the grid's first pass, which ended in an error.
    limit = sf.fit(table).limit()
    assert 0.0699 < limit.lower < 0.07 < limit.upper < 0.0701
