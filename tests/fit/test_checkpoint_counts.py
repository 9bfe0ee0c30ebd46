"""AR(1) residuals count checkpoints: what that means on schedules of every kind."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sparsefit as sf
from sparsefit.estimation.noise import NoiseModel
from sparsefit.estimation.points import Points

AR = NoiseModel("ar1", 0.7, 0.0, 0.0, 1.0)


def _points(d: list[float] | np.ndarray) -> Points:
    at = np.asarray(d, dtype=float)
    return Points(at, np.zeros_like(at))


def test_even_checkpoints_count_as_before() -> None:
    """On even checkpoints, also beyond the data, the count is the distance in tokens."""
    points = _points(np.linspace(3.0, 90.0, 30))
    a, b = points.d, np.array([1.0, 4.5, 50.0, 99.0, 270.0])
    by_tokens = 0.7 ** (np.abs(a[:, None] - b[None, :]) / 3.0)
    np.testing.assert_allclose(AR.correlation(a, b, points), by_tokens, rtol=1e-9)
    np.testing.assert_allclose(AR.covariance(points)[0, :4], 0.7 ** np.arange(4.0))


@pytest.mark.parametrize(
    "d",
    [
        np.geomspace(1.0, 100.0, 25),
        np.array([1.0, 2, 4, 8, 16, 32, 64, 1000, 2000, 3000, 4000, 5000]),
        np.cumsum(np.arange(1.0, 12.0)),
    ],
    ids=["log", "powers of two, then even", "gaps that grow"],
)
def test_where_gaps_grow_each_checkpoint_is_one_step(d: np.ndarray) -> None:
    np.testing.assert_allclose(_points(d).counts, np.arange(d.size), atol=1e-9)


def test_a_missing_checkpoint_counts() -> None:
    d = np.delete(np.arange(1.0, 13.0), 5)
    np.testing.assert_allclose(_points(d).counts, d - 1.0)


def test_a_checkpoint_in_between_counts_as_less() -> None:
    d = np.sort(np.append(np.arange(1.0, 13.0), 6.5))
    np.testing.assert_allclose(_points(d).counts, d - 1.0)


def test_a_last_checkpoint_off_the_schedule_does_not_speed_up_the_count_beyond_it() -> None:
    points = _points([*np.arange(1.0, 11.0), 10.05])
    beyond = points.count(np.array([10.05, 12.05]))
    assert np.diff(beyond)[0] == pytest.approx(2.0)


# Wider ranges than a factor of 1e7 are lost to rounding.
@given(st.lists(st.floats(1e-4, 1e3), min_size=1, max_size=40))
def test_counts_ascend_and_covariances_are_positive_definite(gaps: list[float]) -> None:
    points = _points(np.cumsum([1e-3, *gaps]))
    assert np.all(np.diff(points.counts) > 0)
    grid = np.linspace(points.d[0] / 2, 3 * points.d[-1], 50)
    assert np.all(np.diff(points.count(grid)) >= 0)
    np.testing.assert_allclose(points.count(points.d), points.counts, atol=1e-9)
    assert np.linalg.eigvalsh(AR.covariance(points)).min() > -1e-12


def test_a_fading_start_counts_checkpoints() -> None:
    fading = NoiseModel("transient", 2.0, 0.0, 0.0, 1.0)
    even, log = _points(np.linspace(1.0, 30.0, 12)), _points(np.geomspace(1.0, 1000.0, 12))
    np.testing.assert_allclose(fading.transient_covariance(even), fading.transient_covariance(log))


def test_the_script_that_compares_distances_changes_them() -> None:
    """It once overrode the count of other points only, and every difference was 0."""
    script = Path(__file__).resolve().parents[2] / "scripts" / "noise_distance.py"
    table = sf.datasets.load("reference_scales")
    found = runpy.run_path(str(script))["evidences"](table[table["run"] == "0.11m_relu_s0"])
    assert len({round(value, 6) for value in found.values()}) == 3
