"""The filter against the Cholesky factor of the whole covariance."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import solve_triangular

import sparsefit as sf
from sparsefit.estimation import blocks
from sparsefit.estimation.draws import Draws
from sparsefit.estimation.noise import NoiseModel, noise_grid
from sparsefit.estimation.points import Points
from sparsefit.estimation.predictive import observations
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


def test_known_errors_are_variance_on_top() -> None:
    points, known = _points(), np.linspace(0.1, 2.0, 25)
    for noise in noise_grid(se_known=True):
        covariance = noise.covariance(points) + np.diag(known**2)
        columns = np.random.default_rng(2).standard_normal((len(points), 2))
        factor = np.linalg.cholesky(covariance[::-1, ::-1])
        found = Whitener.of(points, noise, known).whiten(columns)
        expected = solve_triangular(factor, columns, lower=True)
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["ar1", "ou"])
def test_new_measurements_are_those_of_the_joint_normal(kind: str) -> None:
    points, law, k, size = _points(), sf.laws.get("vanilla_power"), 3, 40_000
    noise = NoiseModel(kind, 0.8, 0.5, 1.0, 1.0)
    one = np.ones(size)
    nothing, left_out = np.zeros(size, dtype=int), np.full(size, k)
    # The same curve and scale in all draws, so that only the residual is random.
    draws = Draws(one[:, None], one, 0.3 * one, 2.0 * one, nothing, left_out, points.span)
    new = points.d[-1] * np.array([0.5, 1.02, 1.3])
    known = np.linspace(0.1, 1.0, len(points))
    found = observations(law, points, (noise,), draws, new, np.random.default_rng(3), known)

    scale = noise.scale(new, points.d[-1], np.ones(new.size))
    own = noise.scale(points.d, points.d[-1], points.relative_se) * points.inflation
    seen = 4.0 * noise.covariance(points)[k:, k:] + np.diag(known[k:] ** 2)
    cross = 4.0 * noise.correlation(new, points.d[k:], points) * np.outer(scale, own[k:])
    alone = 4.0 * (
        noise.correlation(new, new, points) * np.outer(scale, scale)
        + noise.white_share * np.diag(scale**2)
    )
    gain = np.linalg.solve(seen, cross.T).T
    curve = draws.curve(law, points.d)[0], draws.curve(law, new)[0]
    mean = curve[1] + gain @ (points.y - curve[0])[k:]
    spread = alone - gain @ cross.T
    np.testing.assert_allclose(found.mean(0), mean, atol=5 * np.sqrt(spread.max() / size))
    np.testing.assert_allclose(np.cov(found.T), spread, atol=0.03 * spread.max())


def test_blocks_of_shapes_and_draws_change_nothing(
    simulated_run: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = simulated_run(n=24)
    whole = sf.fit(run)
    ahead = whole.points.d[-1] * 1e9 * np.array([1.1, 3.0])
    monkeypatch.setattr(blocks, "VALUES", 1000)
    pieces = sf.fit(run)
    assert pieces.limit().lower == pytest.approx(whole.limit().lower, rel=1e-12)
    assert pieces.limit().upper == pytest.approx(whole.limit().upper, rel=1e-12)
    pd.testing.assert_frame_equal(pieces.forecast(ahead), whole.forecast(ahead), rtol=1e-12)


@pytest.mark.parametrize("verb", [sf.fit, sf.fit_bayes])
def test_a_fit_holds_no_matrix_of_all_pairs_of_points(
    verb: Callable[..., sf.Fit], simulated_run: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("time and memory that grow with the square of the points")

    for name in ("covariance", "transient_covariance"):
        monkeypatch.setattr(NoiseModel, name, refuse)
    fit = verb(simulated_run(n=30))
    assert fit.limit().identified == "yes"
    assert np.isfinite(fit.forecast([2e9 * fit.points.d[-1]]).to_numpy(dtype=float)).all()
