"""New observations: the law's mean plus correlated residuals continued past the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.blocks import blocks
from sparsefit.estimation.draws import Draws
from sparsefit.estimation.noise import NoiseModel
from sparsefit.estimation.points import Points
from sparsefit.estimation.whitening import Whitener
from sparsefit.laws import Law

Array = NDArray[np.float64]


def observations(
    law: Law,
    points: Points,
    noises: tuple[NoiseModel, ...],
    draws: Draws,
    d: Array,
    rng: np.random.Generator,
    errors: Array | None = None,
) -> Array:
    """Draws of new measurements at D, given the residuals seen.

    Parameters
    ----------
    law, points, noises, draws
        The fit.
    d : ndarray, shape (q,)
        Billions of tokens; may repeat points of the run.
    rng : numpy.random.Generator
        Source of randomness.
    errors : ndarray, shape (n,), optional
        Known standard errors of the points seen, on top of the draws' noise: they say nothing about
        new measurements.

    Returns
    -------
    ndarray, shape (draws, q)
        Not confined to the law's physical range.
    """
    out = draws.curve(law, d)
    new_se = np.ones_like(d) if points.relative_se is not None else None
    for j in np.unique(draws.noise):
        noise = noises[j]
        members = np.flatnonzero(draws.noise == j)
        scale = noise.scale(d, points.d[-1], new_se)
        normal = rng.standard_normal((members.size, d.size))
        if noise.kind == "student_t":
            # A Student-t is a normal whose variance is itself random.
            mixing = rng.chisquare(noise.rho, normal.shape) / noise.rho
            out[members] += normal / np.sqrt(mixing) * scale * draws.sigma[members, None]
            continue
        if noise.kind in ("white", "transient"):
            # A fading start has nothing left at the end of the run.
            out[members] += normal * scale * draws.sigma[members, None]
            continue
        prior = noise.correlation(d, d, points) * np.outer(scale, scale)
        load, _, _ = noise.parts(points)
        cross = noise.correlation(points.d, d, points) * np.outer(load, scale)
        white = np.sqrt(noise.white_share) * scale
        if errors is None:
            whitener = Whitener.of(points, noise)
        for k in np.unique(draws.drop[members]):
            inside = draws.drop[members] == k
            chosen = members[inside]
            if errors is not None:
                known = errors / float(np.median(draws.sigma[chosen]))
                whitener = Whitener.of(points, noise, known)
            # In reversed order, the points after the warm-up are the leading ones.
            kept = slice(0, len(points) - int(k))
            gain = whitener.whiten(cross[::-1])[kept]
            left = prior - gain.T @ gain
            # Positive semi-definite up to rounding: an eigendecomposition never fails on it.
            values, vectors = np.linalg.eigh(left)
            root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
            shake = normal[inside] @ root.T
            shake = shake + rng.standard_normal(shake.shape) * white
            out[chosen] += shake * draws.sigma[chosen, None]
            for block in blocks(len(points), chosen.size):
                curves = draws.curve_of(law, points.d, chosen[block])
                residual = whitener.whiten((points.y - curves).T[::-1])
                out[chosen[block]] += residual[kept].T @ gain
    return out
