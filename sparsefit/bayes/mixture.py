"""Mixtures of multivariate Student-t distributions: fitted to draws, drawn from, evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from sparsefit.estimation.draws import stratified

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
        component = stratified(np.exp(self.log_share), size, rng.random())
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
        distance, log_det = _distances(x, self.mean, self.root)
        distance /= dof
        np.log1p(distance, out=distance)
        distance *= -(dof + p) / 2
        distance += (self.log_share + constant - log_det)[:, None]
        return log_sum_exp(distance)


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
    # Draws that together hold a ten-thousandth of the weight move nothing and cost time.
    counts = weights > 1e-4 / weights.size
    x, weights = x[counts], weights[counts] / weights[counts].sum()
    components = int(np.clip(ess // (6 * p), 1, components))
    centre, covariance = _moments(x, weights)
    floor = np.diag(1e-6 * np.diag(covariance) + 1e-18)
    root = np.linalg.cholesky(covariance + floor)
    white = (x - centre) @ np.linalg.inv(root).T
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
    log, log_det = _distances(x, mean, np.asarray(np.linalg.cholesky(scale), dtype=np.float64))
    log *= -0.5
    log += (log_share - log_det)[:, None]
    log -= log.max(axis=0)
    np.exp(log, out=log)
    log /= log.sum(axis=0)
    return log.T


def _distances(x: Array, mean: Array, root: Array) -> tuple[Array, Array]:
    """Squared Mahalanobis distances to each component, shape (c, m), and log determinants (c,)."""
    c, p = mean.shape
    inverse = np.linalg.inv(root)
    # All components in one product; draws lie along the last axis, where sums are fast.
    z = inverse.reshape(c * p, p) @ x.T
    z -= np.einsum("cij,cj->ci", inverse, mean).reshape(c * p, 1)
    z *= z
    log_det = np.log(np.einsum("cii->ci", root)).sum(axis=1)
    return z.reshape(c, p, -1).sum(axis=1), log_det


def log_sum_exp(log: Array) -> Array:
    """Log of the sum of exponentials over the first axis; much faster than logaddexp."""
    top = log.max(axis=0)
    top = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore"):
        return np.asarray(top + np.log(np.exp(log - top).sum(axis=0)))
