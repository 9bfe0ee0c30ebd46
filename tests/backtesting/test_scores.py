from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from sparsefit.backtesting import scores
from sparsefit.backtesting.aggregate import cluster_interval, sign_flip_p


def test_crps_matches_the_closed_form_of_a_normal():
    levels = (np.arange(20_000) + 0.5) / 20_000
    sample = norm.ppf(levels)[:, None] * np.array([1.0, 2.0]) + np.array([0.0, 1.0])
    observed = np.array([0.7, -1.5])
    z = (observed - np.array([0.0, 1.0])) / np.array([1.0, 2.0])
    exact = np.array([1.0, 2.0]) * (
        z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi)
    )
    np.testing.assert_allclose(scores.crps(sample, observed), exact, rtol=1e-3)


@given(
    st.lists(st.floats(-5, 5), min_size=2, max_size=12),
    st.floats(-5, 5),
)
def test_crps_equals_its_definition_by_pairs(draws, observed):
    x = np.array(draws)
    pairs = np.abs(x[:, None] - x[None, :]).mean()
    expected = np.abs(x - observed).mean() - pairs / 2
    assert scores.crps(x[:, None], np.array([observed]))[0] == pytest.approx(expected, abs=1e-9)


def test_winkler_charges_misses_by_distance():
    lower, upper = np.zeros(3), np.ones(3)
    got = scores.winkler(lower, upper, np.array([0.5, -0.1, 1.2]), 0.9)
    np.testing.assert_allclose(got, [1.0, 1.0 + 20 * 0.1, 1.0 + 20 * 0.2])


def test_probability_integral_counts_ties_half():
    sample = np.array([[0.0], [1.0], [1.0], [2.0]])
    assert scores.probability_integral(sample, np.array([1.0]))[0] == 0.5


@settings(max_examples=60)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=15), st.booleans())
def test_isotonic_is_monotone_keeps_the_mean_and_beats_other_monotone_fits(values, increasing):
    y = np.array(values)
    fitted = scores.isotonic(y, increasing)
    steps = np.diff(fitted) * (1 if increasing else -1)
    assert (steps >= -1e-12).all()
    assert fitted.mean() == pytest.approx(y.mean(), abs=1e-9)
    rival = np.sort(y) if increasing else np.sort(y)[::-1]
    assert ((fitted - y) ** 2).sum() <= ((rival - y) ** 2).sum() + 1e-12


def test_first_crossing_interpolates_in_log_tokens_and_refuses_to_extrapolate():
    tokens = np.array([1.0, 10.0, 100.0])
    curve = np.array([0.3, 0.2, 0.1])
    assert scores.first_crossing(tokens, curve, 0.15) == pytest.approx(10**1.5)
    assert scores.first_crossing(tokens, curve, 0.1) == pytest.approx(100.0)
    assert np.isnan(scores.first_crossing(tokens, curve, 0.05))
    assert np.isnan(scores.first_crossing(tokens, curve, 0.4))


def test_cluster_interval_holds_the_mean_and_needs_two_series():
    values = np.array([0.1, 0.2, 0.6])
    lower, upper = cluster_interval(values, np.random.default_rng(0))
    assert lower < values.mean() < upper
    assert values.min() <= lower and upper <= values.max()
    assert np.isnan(cluster_interval(values[:1], np.random.default_rng(0))).all()


def test_sign_flip_p_is_exact_for_few_series():
    rng = np.random.default_rng(0)
    # All of one sign: only the two extreme patterns reach the observed sum.
    assert sign_flip_p(np.array([1.0, 2.0, 3.0]), rng) == pytest.approx(2 / 8)
    assert sign_flip_p(np.array([1.0, -1.0]), rng) == pytest.approx(1.0)
    assert np.isnan(sign_flip_p(np.array([1.0]), rng))
