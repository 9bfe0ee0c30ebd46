from __future__ import annotations

import numpy as np
import pytest

from sparsefit.bayes.psis import fit_pareto, smooth


@pytest.mark.parametrize("shape", [0.1, 0.5, 0.9])
def test_pareto_shape_is_recovered(shape: float) -> None:
    u = np.random.default_rng(0).random(4000)
    excess = np.sort(2.0 * np.expm1(-shape * np.log1p(-u)) / shape)
    k, scale = fit_pareto(excess)
    assert k == pytest.approx(shape, abs=0.06)
    assert scale == pytest.approx(2.0, rel=0.1)


def test_equal_weights_need_no_smoothing() -> None:
    found = smooth(np.zeros(1000))
    assert found.khat == -np.inf
    assert found.ess == pytest.approx(1000)


def test_too_narrow_a_proposal_is_caught() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(4000)
    narrow = smooth(-0.5 * (x / 3) ** 2 + 0.5 * x**2)
    wide = smooth(-0.5 * (x * 1.3) ** 2 + 0.5 * x**2)
    assert narrow.khat > 0.7
    assert wide.khat < 0.3


def test_smoothed_weights_sum_to_one_and_impossible_draws_keep_none() -> None:
    rng = np.random.default_rng(2)
    log = 2 * rng.standard_normal(2000)
    log[:300] = -np.inf
    found = smooth(log)
    assert found.weights.sum() == pytest.approx(1.0)
    assert np.all(found.weights[:300] == 0)
    assert np.all(np.diff(found.weights[np.argsort(log, kind="stable")]) >= -1e-15)


def test_agrees_with_arviz() -> None:
    """Pareto k and smoothed log weights of arviz 0.23's psislw for these weights."""
    log = 1.5 * np.random.default_rng(3).standard_normal(3000)
    found = smooth(log)
    assert found.khat == pytest.approx(ARVIZ_KHAT, abs=1e-9)
    assert found.log_weights.max() == pytest.approx(ARVIZ_TOP, abs=1e-9)


ARVIZ_KHAT, ARVIZ_TOP = 0.5468794301329672, -3.4140796613339326
