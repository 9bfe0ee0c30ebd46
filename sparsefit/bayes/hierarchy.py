"""Hyper-parameters of a population of runs, from draws of each run alone.

Two stages: each run was fitted alone under a wide prior; a draw of it then stands for the run with
a weight, the population's density over that prior. A Gibbs sampler alternates between picking one
draw a run, the straight lines given the picked draws (conjugate), and the spreads (on a grid).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SLOPE_SD = 0.5
"""Prior of a slope on log N: ten times the parameters change a quantity by up to a factor of ten
(95%)."""

SPREAD_SCALE = 0.5
"""Half-normal prior of the spread of runs about the line: two runs of one size agree within a
factor of about three."""

_INTERCEPT_SD = 10.0
_SPREADS = np.geomspace(0.005, 3.0, 80)
_BURN, _KEEP, _THIN = 300, 250, 3


@dataclass(frozen=True)
class Hyper:
    """Draws of the hyper-parameters.

    Attributes
    ----------
    coefficients : ndarray, shape (s, features, p)
        Intercepts and slopes.
    spread : ndarray, shape (s, features)
        Spreads of runs about the lines.
    ess : ndarray, shape (runs,)
        Median effective number of draws that stand for each run.
    """

    coefficients: Array
    spread: Array
    ess: Array


def sample_hyper(
    draws: list[Array],
    log_prior: list[Array],
    design: Array,
    rng: np.random.Generator,
) -> Hyper:
    """Sample lines and spreads.

    Parameters
    ----------
    draws : list of ndarray, shape (m, features)
        Features of each run's draws under its own prior.
    log_prior : list of ndarray, shape (m,)
        Log density of that prior over the features.
    design : ndarray, shape (runs, p)
        Rows (1, centred covariates).
    rng : numpy.random.Generator
        Source of randomness.
    """
    count, p = len(draws), design.shape[1]
    size = draws[0].shape[1]
    scale = np.full(size, SPREAD_SCALE)
    precision = np.diag([_INTERCEPT_SD**-2, *[SLOPE_SD**-2] * (p - 1)])
    # A flat prior over log spread on the grid's cells times the half-normal.
    log_spread_prior = -0.5 * (_SPREADS[:, None] / scale) ** 2 + np.log(_SPREADS[:, None])
    picked = np.stack([np.median(z, axis=0) for z in draws])
    spread = scale.copy()
    coefficients = np.zeros((size, p))
    kept_c, kept_s, sizes = [], [], []
    for step in range(_BURN + _KEEP * _THIN):
        for f in range(size):
            matrix = precision + design.T @ design / spread[f] ** 2
            root = np.linalg.cholesky(matrix)
            # The intercept's prior sits at the runs' own median: it only has to be wide.
            target = design.T @ picked[:, f] / spread[f] ** 2
            mean = np.linalg.solve(matrix, target)
            coefficients[f] = mean + np.linalg.solve(root.T, rng.standard_normal(p))
        off = ((picked - design @ coefficients.T) ** 2).sum(axis=0)
        log = (
            log_spread_prior - count * np.log(_SPREADS)[:, None] - off / 2 / _SPREADS[:, None] ** 2
        )
        cumulative = np.cumsum(np.exp(log - log.max(axis=0)), axis=0)
        at = (cumulative < rng.random(size) * cumulative[-1]).sum(axis=0)
        spread = _SPREADS[np.minimum(at, len(_SPREADS) - 1)]
        middle = design @ coefficients.T
        step_sizes = np.empty(count)
        for r, (z, prior) in enumerate(zip(draws, log_prior, strict=True)):
            log = -0.5 * (((z - middle[r]) / spread) ** 2).sum(axis=1) - prior
            weight = np.exp(log - log.max())
            cumulative = np.cumsum(weight)
            pick = int(np.searchsorted(cumulative, rng.random() * cumulative[-1]))
            picked[r] = z[min(pick, len(z) - 1)]
            step_sizes[r] = cumulative[-1] ** 2 / (weight @ weight)
        if step >= _BURN and (step - _BURN) % _THIN == 0:
            kept_c.append(coefficients.copy())
            kept_s.append(spread.copy())
            sizes.append(step_sizes)
    return Hyper(np.array(kept_c), np.array(kept_s), np.median(sizes, axis=0))
