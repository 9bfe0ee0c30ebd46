"""Hyper-parameters of a population of runs, from draws of each run alone.

Two stages: each run was fitted alone under a wide prior; a draw of it then stands for the run with
a weight, the population's density over that prior. A Gibbs sampler alternates between picking one
draw a run, the straight lines given the picked draws (conjugate), and the spreads (on a grid).
Successive states are alike, so many chains run side by side and give a few draws each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SLOPE_SD = 0.5
"""Prior of a slope on log N: ten times the parameters change a quantity by up to a factor of ten
(95%)."""

SPREAD_SCALE = 0.35
"""Mode of the Rayleigh prior of the spread of runs about the line: two runs of one size agree
within a factor of about three. Its density is 0 at a spread of 0: few runs cannot exclude that
spread, and complete pooling would give each run the errors of all the others. Chosen on simulated
families of runs."""

_SPREADS = np.geomspace(0.005, 3.0, 80)
_CHAINS, _BURN, _KEEP, _THIN = 50, 60, 6, 12


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
    level: tuple[Array, Array],
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
    level : tuple of ndarray, shape (features,)
        Prior mean and standard deviation of the lines' level at the centre. Under a flat prior,
        what the runs do not identify would drift to its bound: limits of 0, exponents of 0.
    rng : numpy.random.Generator
        Source of randomness.
    """
    count, p = len(draws), design.shape[1]
    size = draws[0].shape[1]
    z, prior = _stacked(draws, log_prior)
    # Distances are multiplied out below: a common origin keeps the terms small.
    origin = z.mean(axis=(0, 1))
    squares = np.concatenate([(z - origin) ** 2, z - origin], axis=2)
    precision = np.zeros((size, p, p))
    precision[:, range(p), range(p)] = SLOPE_SD**-2
    precision[:, 0, 0] = level[1] ** -2
    pull = np.zeros((size, p))
    pull[:, 0] = level[0] * level[1] ** -2
    # Rayleigh density times the width of the grid's cells.
    log_spread_prior = -0.5 * (_SPREADS / SPREAD_SCALE) ** 2 + 2 * np.log(_SPREADS)
    run = np.arange(count)[:, None]
    picked = z[run, (rng.random((count, _CHAINS)) * [[len(own)] for own in draws]).astype(int)]
    spread = np.full((_CHAINS, size), SPREAD_SCALE)
    kept_c, kept_s, sizes = [], [], []
    for step in range(_BURN + _KEEP * _THIN):
        # Shapes: chains, features, coefficients; `picked` has runs, chains, features.
        weight = spread[:, :, None] ** -2.0
        matrix = precision + weight[..., None] * (design.T @ design)
        target = weight * np.einsum("rcf,rp->cfp", picked, design) + pull
        root = np.linalg.cholesky(matrix)
        noise = np.linalg.solve(np.swapaxes(root, -1, -2), rng.standard_normal((*target.shape, 1)))
        coefficients = (np.linalg.solve(matrix, target[..., None]) + noise)[..., 0]
        middle = np.einsum("rp,cfp->rcf", design, coefficients)
        off = ((picked - middle) ** 2).sum(axis=0)[..., None]
        log = log_spread_prior - count * np.log(_SPREADS) - off / 2 / _SPREADS**2
        spread = _SPREADS[_pick(log, rng)]
        factors = np.concatenate(
            [np.broadcast_to(-0.5 * spread**-2.0, middle.shape), (middle - origin) / spread**2],
            axis=2,
        )
        log = factors @ np.swapaxes(squares, 1, 2) - prior[:, None]
        picked = z[run, _pick(log, rng)]
        if step >= _BURN and (step - _BURN) % _THIN == 0:
            kept_c.append(coefficients)
            kept_s.append(spread)
            weights = np.exp(log - log.max(axis=2, keepdims=True))
            sizes.append(weights.sum(axis=2) ** 2 / (weights**2).sum(axis=2))
    ess = np.median(np.concatenate(sizes, axis=1), axis=1)
    return Hyper(np.concatenate(kept_c), np.concatenate(kept_s), ess)


def _stacked(draws: list[Array], log_prior: list[Array]) -> tuple[Array, Array]:
    """Draws of all runs in one array; what is missing of a run has no weight."""
    most = max(len(own) for own in draws)
    z = np.zeros((len(draws), most, draws[0].shape[1]))
    prior = np.full((len(draws), most), np.inf)
    for r, (own, log) in enumerate(zip(draws, log_prior, strict=True)):
        z[r, : len(own)], prior[r, : len(own)] = own, log
    return z, prior


def _pick(log: Array, rng: np.random.Generator) -> NDArray[np.intp]:
    """One index along the last axis, in proportion to exp(log)."""
    cumulative = np.cumsum(np.exp(log - log.max(axis=-1, keepdims=True)), axis=-1)
    at = rng.random((*log.shape[:-1], 1)) * cumulative[..., -1:]
    return np.asarray(np.minimum((cumulative < at).sum(axis=-1), log.shape[-1] - 1))
