"""Ends of profile intervals have the sum of squares of the cut-off, by other routes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import f as f_distribution

import sparsefit as sf
from sparsefit import laws
from sparsefit.estimation.condense import NOTHING, condense
from sparsefit.estimation.least_squares import fit_least_squares, scan
from sparsefit.estimation.points import Points
from sparsefit.estimation.profile import profile_intervals


def _cut(ssr: float, n: int, p: int, level: float) -> float:
    return ssr * float(1 + f_distribution.ppf(level, 1, n - p) / (n - p))


def test_limit_of_eq5() -> None:
    rng = np.random.default_rng(5)
    d = np.linspace(1, 30, 25)
    law = laws.get("eq5")
    points = Points(d, law.value(d, [0.7, 0.08, 0.39]) + 1e-3 * rng.standard_normal(25))
    best = fit_least_squares(law, points)
    alphas = np.geomspace(0.01, 6, 20000)[:, None]
    basis = law.sign * law.basis(d, alphas, points.span)
    for end in profile_intervals(law, points, best, 0.9)[-1]:
        amplitude = (basis @ (points.y - end)) / (basis**2).sum(1)
        ssr = ((points.y - end - amplitude[:, None] * basis) ** 2).sum(1).min()
        assert ssr == pytest.approx(_cut(best.ssr, 25, 3, 0.9), rel=1e-4)
    assert scan(law, points, best.shape[None, :]).ssr[0] == pytest.approx(best.ssr, rel=1e-6)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("run", ["0.06m_relu_s0", "0.11m_relu_s0", "0.26m_relu_s0"])
def test_thin_ridges_of_eq4(run: str, level: float) -> None:
    """Regions of alpha and kappa that are oblique and thin in log scale."""
    table = sf.datasets.load("reference_scales")
    one = table[table["run"] == run]
    law = laws.get("eq4")
    points = Points(one["tokens"].to_numpy() / 1e9, one["activation_ratio"].to_numpy()).since(2)
    best = fit_least_squares(law, points)
    cut = _cut(best.ssr, len(points), 4, level)
    intervals = profile_intervals(law, points, best, level)
    bounds = np.log([[axis[0], axis[-1]] for axis in law.shape_grid(points.span, 2)])

    def with_limit(log_shape: np.ndarray, limit: float) -> float:
        basis = law.basis(points.d, np.exp(log_shape)[None, :], points.span)[0]
        amplitude = max(0.0, basis @ (points.y - limit) / (basis @ basis))
        return float(np.sum((points.y - limit - amplitude * basis) ** 2))

    for end in intervals[-1]:
        lowest = min(
            minimize(
                with_limit,
                start,
                args=(end,),
                method="Nelder-Mead",
                bounds=bounds,
                options={"xatol": 1e-6, "fatol": 1e-16, "maxfev": 2000},
            ).fun
            for start in [np.log(best.shape), *np.random.default_rng(0).uniform(*bounds.T, (8, 2))]
        )
        # Where the region reaches a physical bound, that is the end.
        rise = (lowest - best.ssr) / (cut - best.ssr)
        assert rise < 1.02 if end in law.limit_bounds else rise == pytest.approx(1.0, abs=0.02)
    for end in intervals[0]:
        kappas = np.exp(np.linspace(*bounds[1], 40_000))
        shapes = np.stack([np.full(kappas.size, end), kappas], axis=-1)
        lowest = float(scan(law, points, shapes).ssr.min())
        on_bound = np.isclose(end, law.alpha_bounds, rtol=1e-6).any()
        rise = (lowest - best.ssr) / (cut - best.ssr)
        assert rise < 1.05 if on_bound else rise == pytest.approx(1.0, abs=0.05)


def test_bins_of_a_long_run_give_the_intervals_of_its_points() -> None:
    rng = np.random.default_rng(3)
    d = np.linspace(0.1, 120, 1200)
    law = laws.get("eq5")
    values = law.value(d, [0.7, 0.08, 0.39]) + 2e-3 * rng.standard_normal(d.size)
    points = Points(d, values, rng.uniform(0.5, 2.0, d.size))
    condensed, within = condense(points)
    assert len(condensed) <= 501 and len(condensed) + within.points == d.size
    assert condense(points.since(300))[1] == NOTHING
    best, close = fit_least_squares(law, points), fit_least_squares(law, condensed)
    expected = profile_intervals(law, points, best, 0.9)
    found = profile_intervals(law, condensed, close, 0.9, within)
    width = np.diff(expected, axis=1)
    assert (np.abs(found - expected) < 0.01 * width).all()
