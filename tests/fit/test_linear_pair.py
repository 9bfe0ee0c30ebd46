"""Draws of (limit, amplitude) where a shape hardly differs from a constant."""

import numpy as np
import pytest

import sparsefit as sf
from sparsefit.estimation.draws import linear_pair
from sparsefit.estimation.evidence import Conditional


def collinear(correlation: float, sign: float, m: int = 4000) -> Conditional:
    """Information matrix with unit diagonal; the limit is hardly known."""
    full = np.full
    return Conditional(
        log_evidence=np.zeros(m),
        limit=full(m, 0.25),
        amplitude=full(m, 0.02),
        ssr=np.ones(m),
        dof=full(m, 10.0),
        s_oo=full(m, 1.0),
        s_og=full(m, sign * correlation),
        s_gg=full(m, 1.0),
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("correlation", [0.0, 0.9, 0.999999])
def test_pairs_follow_the_truncated_normal(correlation: float, sign: float) -> None:
    found = collinear(correlation, sign)
    sigma = np.full(len(found.limit), 0.02)
    limit, amplitude = linear_pair(found, sigma, (0.0, 1.0), np.random.default_rng(1))
    assert np.all((limit >= 0) & (limit <= 1) & (amplitude >= 0))
    # Against plain rejection from the unconstrained normal.
    rng = np.random.default_rng(2)
    covariance = 0.02**2 * np.linalg.inv([[1, sign * correlation], [sign * correlation, 1]])
    plain = rng.multivariate_normal([0.25, 0.02], covariance, size=400_000)
    plain = plain[(plain[:, 0] >= 0) & (plain[:, 0] <= 1) & (plain[:, 1] >= 0)]
    for ours, theirs in zip((limit, amplitude), plain.T, strict=True):
        wanted = np.quantile(theirs, [0.05, 0.5, 0.95])
        np.testing.assert_allclose(
            np.quantile(ours, [0.05, 0.5, 0.95]), wanted, atol=0.08 * np.ptp(wanted)
        )


def test_a_flat_end_bounds_the_forecast() -> None:
    """A run that has been level at .249 since a third of its tokens is not forecast at .42."""
    table = sf.datasets.load("reference_width_depth")
    fit = sf.fit(table[table["run"] == "depth01_relu_s0"])
    band = fit.forecast([4 * fit.tokens[-1]]).iloc[0]
    assert band["obs_upper"] < 0.26
    assert band["obs_lower"] > 0.23
