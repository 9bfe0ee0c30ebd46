"""How much each prior matters: power scaling (Kallioinen, Paananen, Buerkner and Vehtari, 2024).

Each prior is raised to a power near 1, the draws are reweighted, and the distance between the old
and the new distribution of a quantity is measured per doubling of the power.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sparsefit.bayes.coordinates import from_coordinates, to_coordinates
from sparsefit.bayes.psis import smooth
from sparsefit.estimation.noise import spread_exponents

if TYPE_CHECKING:
    from sparsefit.bayes.result import BayesFit

Array = NDArray[np.float64]

SENSITIVE = 0.05
"""Distance per doubling above which a component matters (the paper's rule of thumb)."""

_POWERS = (0.8, 1.25)


def cumulative_distance(values: Array, weights: Array) -> float:
    """Cumulative Jensen-Shannon distance between a sample and its reweighting.

    Symmetrised over the sign of the values and scaled to [0, 1], as in the paper.

    Parameters
    ----------
    values : ndarray, shape (m,)
        Draws.
    weights : ndarray, shape (m,)
        New weights, summing to one.
    """
    return max(_one_sided(values, weights), _one_sided(-values, weights))


def _one_sided(values: Array, weights: Array) -> float:
    order = np.argsort(values, kind="stable")
    step = np.diff(values[order])
    p = np.arange(1, values.size) / values.size
    q = np.cumsum(weights[order])[:-1]
    total_p, total_q = float(p @ step), float(q @ step)
    if total_p + total_q <= 0:
        return 0.0
    middle = 0.5 * (p + q)

    def divergence(a: Array) -> float:
        with np.errstate(divide="ignore", invalid="ignore"):
            log = np.where(a > 0, a * np.log2(a / middle), 0.0)
        return float(log @ step)

    bound = total_p + total_q
    return float(np.sqrt(max(divergence(p) + divergence(q), 0.0) / bound))


def power_scaling(fit: BayesFit) -> pd.DataFrame:
    """Sensitivity of limit, alpha and the forecast at three times the data.

    Returns
    -------
    pandas.DataFrame
        One row per quantity and component: ``quantity``, ``prior`` (a prior's name, or
        ``likelihood``), ``distance`` (cumulative Jensen-Shannon distance per doubling of the
        power), ``khat`` of the reweighting, and ``verdict``: "prior matters" where the distance
        exceeds 0.05, "no" where not.
    """
    draws = fit.posterior.measured
    far = draws.curve(fit.law, np.array([3.0 * draws.span[1]]))[:, 0]
    quantities = {
        "limit": draws.limit,
        "alpha": draws.shape[:, 0],
        "forecast at 3 times the data": far,
    }
    model = fit.model
    spread = spread_exponents(model.likelihood.noises)[draws.noise]
    described = from_coordinates(fit.law, draws.span, to_coordinates(fit.law, draws))
    terms = model.log_prior(described, spread)
    terms.pop("jacobian", None)
    terms["likelihood"] = model.log_likelihood(draws)
    rows = []
    for name, values in quantities.items():
        for component, log in terms.items():
            found, khats = [], []
            for power in _POWERS:
                change = (power - 1.0) * log
                if np.ptp(change) < 1e-12:
                    found.append(0.0)
                    continue
                smoothed = smooth(change)
                khats.append(smoothed.khat)
                found.append(cumulative_distance(values, smoothed.weights) / abs(np.log2(power)))
            distance = float(np.mean(found))
            matters = component != "likelihood" and distance > SENSITIVE
            rows.append(
                {
                    "quantity": name,
                    "prior": component,
                    "distance": distance,
                    "khat": max(khats, default=-np.inf),
                    "verdict": "prior matters" if matters else "no",
                }
            )
    return pd.DataFrame(rows)
