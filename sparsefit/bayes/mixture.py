"""Mixtures of multivariate Student-t distributions: fitted to draws, drawn from, evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import gammaln

Array = NDArray[np.float64]


@dataclass(frozen=True)
class StudentMixture:
    """Mixture of Student-t distributions.

    Attributes
    ----------
    log_share : ndarray, shape (c,)
        Log of each component's share.
    mean : ndarray, shape (c, p)
        Centres.
    root : ndarray, shape (c, p, p)
        Cholesky factors of the scale matrices.
    dof : float
        Degrees of freedom.
    """

    log_share: Array
    mean: Array
    root: Array
    dof: float

    def draw(self, size: int, rng: np.random.Generator) -> Array:
        """Draws, stratified over components, shape (size, p)."""
        cumulative = np.cumsum(np.exp(self.log_share))
        at = (np.arange(size) + rng.random()) / size * cumulative[-1]
        component = np.minimum(np.searchsorted(cumulative, at), cumulative.size - 1)
        normal = rng.standard_normal((size, self.mean.shape[1]))
        normal /= np.sqrt(rng.chisquare(self.dof, size) / self.dof)[:, None]
        out = np.empty_like(normal)
        for c in np.unique(component):
            own = component == c
            out[own] = self.mean[c] + normal[own] @ self.root[c].T
        return out

    def joined(self, other: StudentMixture, share: float) -> StudentMixture:
        """Both mixtures as one, `share` of it from the other; degrees of freedom are this one's."""
        return StudentMixture(
            np.concatenate([self.log_share + np.log1p(-share), other.log_share + np.log(share)]),
            np.concatenate([self.mean, other.mean]),
            np.concatenate([self.root, other.root]),
            self.dof,
        )

    def log_density(self, x: Array) -> Array:
        """Log density at x of shape (m, p), shape (m,)."""
        p, dof = x.shape[1], self.dof
        constant = gammaln((dof + p) / 2) - gammaln(dof / 2) - p / 2 * np.log(np.pi * dof)
        parts = []
        for share, mean, root in zip(self.log_share, self.mean, self.root, strict=True):
            z = solve_triangular(root, (x - mean).T, lower=True, check_finite=False)
            log_det = np.log(np.diag(root)).sum()
            distance = np.log1p((z * z).sum(axis=0) / dof)
            parts.append(share + constant - log_det - (dof + p) / 2 * distance)
        return np.asarray(np.logaddexp.reduce(parts, axis=0))


def fit_mixture(
    x: Array,
    weights: Array,
    components: int,
    rng: np.random.Generator,
    dof: float = 5.0,
    widen: float = 1.15,
    iterations: int = 12,
) -> StudentMixture:
    """Fit a mixture to weighted draws by expectation maximisation of a Gaussian mixture.

    Parameters
    ----------
    x : ndarray, shape (m, p)
        Draws.
    weights : ndarray, shape (m,)
        Their weights, summing to one.
    components : int
        Number of components; fewer where draws are few.
    rng : numpy.random.Generator
        Chooses the starting centres.
    dof : float
        Degrees of freedom of the result.
    widen : float
        Factor on the scales of the result: a proposal must not be narrower than its target.
    iterations : int
        Steps of expectation maximisation.
    """
    p = x.shape[1]
    ess = 1.0 / float((weights**2).sum())
    components = int(np.clip(ess // (6 * p), 1, components))
    centre, covariance = _moments(x, weights)
    floor = np.diag(1e-6 * np.diag(covariance) + 1e-18)
    root = np.linalg.cholesky(covariance + floor)
    white = solve_triangular(root, (x - centre).T, lower=True).T
    mean = white[_spread_out(white, weights, components, rng)]
    scale = np.repeat(np.eye(p)[None] / components ** (2 / p), components, axis=0)
    log_share = np.full(components, -np.log(components))
    for _ in range(iterations if components > 1 else 1):
        responsibility = _responsibility(white, log_share, mean, scale) * weights[:, None]
        total = responsibility.sum(axis=0)
        for c in range(components):
            if total[c] * ess < 2 * p:
                # Too few draws to move by: a broad component in its place.
                scale[c] = np.eye(p)
                continue
            mean[c], scale[c] = _moments(white, responsibility[:, c] / total[c])
        scale += 1e-3 / components * np.eye(p)
        log_share = np.log(np.maximum(total / total.sum(), 0.5 / len(total) / 10))
        log_share -= np.logaddexp.reduce(log_share)
    roots = np.stack([root @ np.linalg.cholesky(s) * widen for s in scale])
    return StudentMixture(log_share, centre + mean @ root.T, roots, dof)


def _moments(x: Array, weights: Array) -> tuple[Array, Array]:
    mean = weights @ x
    centred = x - mean
    return mean, (centred * weights[:, None]).T @ centred


def _spread_out(x: Array, weights: Array, count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of draws far from each other, picked by weight and squared distance."""
    chosen = [int(rng.choice(x.shape[0], p=weights / weights.sum()))]
    distance = ((x - x[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < count:
        chance = weights * distance
        chosen.append(int(rng.choice(x.shape[0], p=chance / chance.sum())))
        distance = np.minimum(distance, ((x - x[chosen[-1]]) ** 2).sum(axis=1))
    return np.array(chosen)


def _responsibility(x: Array, log_share: Array, mean: Array, scale: Array) -> Array:
    parts = []
    for share, centre, matrix in zip(log_share, mean, scale, strict=True):
        root = np.linalg.cholesky(matrix)
        z = solve_triangular(root, (x - centre).T, lower=True, check_finite=False)
        parts.append(share - np.log(np.diag(root)).sum() - 0.5 * (z * z).sum(axis=0))
    log = np.stack(parts, axis=1)
    log -= np.logaddexp.reduce(log, axis=1, keepdims=True)
    return np.asarray(np.exp(log))
