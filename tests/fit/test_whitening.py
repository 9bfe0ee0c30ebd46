"""The filter against the Cholesky factor of the whole covariance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import solve_triangular

import sparsefit as sf
from sparsefit.estimation.noise import NoiseModel, noise_grid
from sparsefit.estimation.points import Points
from sparsefit.estimation.whitening import Whitener

Simulate = Callable[..., pd.DataFrame]


def _points(n: int = 25) -> Points:
    """Uneven points, two of them far apart, with standard errors and an outlier."""
    rng = np.random.default_rng(0)
    d = np.cumsum(rng.uniform(0.2, 2.0, n)) + np.where(np.arange(n) > 9, 30.0, 0.0)
    inflation = np.where(np.arange(n) == 4, 6.0, 1.0)
    return Points(d, rng.standard_normal(n), rng.uniform(0.3, 3.0, n), inflation)


@pytest.mark.parametrize("noise", noise_grid(se_known=True, transient=True), ids=repr)
def test_whitening_is_solving_with_the_cholesky_factor(noise: NoiseModel) -> None:
    points = _points()
    covariance = noise.covariance(points) + noise.transient_covariance(points)
    factor = np.linalg.cholesky(covariance[::-1, ::-1])
    columns = np.random.default_rng(1).standard_normal((len(points), 3))
    expected = solve_triangular(factor, columns, lower=True)
    whitener = Whitener.of(points, noise)
    before = columns.copy()
    np.testing.assert_allclose(whitener.whiten(columns), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(columns, before)
    log_det = 2.0 * np.cumsum(np.log(np.diag(factor)))
    np.testing.assert_allclose(whitener.log_det, log_det, rtol=1e-9, atol=1e-12)
    load, own, memory = noise.parts(points)
    np.testing.assert_allclose(load**2 * memory + own**2, np.diag(covariance), rtol=1e-12)


@pytest.mark.parametrize("verb", [sf.fit, sf.fit_bayes])
def test_a_fit_holds_no_matrix_of_all_pairs_of_points(
    verb: Callable[..., sf.Fit], simulated_run: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("time and memory that grow with the square of the points")

    for name in ("covariance", "transient_covariance", "correlation"):
        monkeypatch.setattr(NoiseModel, name, refuse)
    assert verb(simulated_run(n=30)).limit().identified == "yes"
