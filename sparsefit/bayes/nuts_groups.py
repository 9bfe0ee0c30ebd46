"""Groups of noise models that NUTS samples in one set of coordinates, each through its own map.

Posteriors under different noise models lie apart, mostly in the noise scale, and a sampler that has
to travel between them moves slowly. Here each group of models has a map T_g of its own from the
sampled coordinates z, and the density of z is the sum over groups

    sum_g  p_g(T_g(z)) |dT_g / dz|,

where p_g is the posterior with the models of group g summed out. Each T_g makes its p_g nearly
standard normal, so the sum is one hump instead of several. A group drawn for z in proportion to its
term, and T_g(z), are then a draw from the posterior: z and g have the joint density of the term.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.importance import Model
from sparsefit.bayes.likelihood import Likelihood
from sparsefit.bayes.likelihood_op import pack
from sparsefit.bayes.nuts_map import Map, fit_map

Array = NDArray[np.float64]
Index = NDArray[np.intp]

MOST = 3
"""Groups at most: each costs as much as the curve and its map, and three were enough."""

# With fewer rough draws than this nobody knows where a model lies, or how a group is shaped.
_LEAST_OF_MODEL, _LEAST_OF_GROUP = 20, 50


@dataclass(frozen=True)
class Group:
    """Noise models that share a map.

    Attributes
    ----------
    models : ndarray of int
        Indices of the posterior's noise models.
    part : Model
        The posterior with these models only; densities of groups add up to that of all.
    coordinates : Map
        From sampled coordinates to those of `nuts_coordinates`.
    """

    models: Index
    part: Model
    coordinates: Map

    def choices(self, u: Array, rng: np.random.Generator) -> tuple[Index, Index]:
        """A noise model of the group and a warm-up choice for each draw, given the rest."""
        _, noise, drop = self.part.log_target(u, rng)
        return self.models[noise], drop


def fit_groups(model: Model, x: Array, noise: Index, tail_most: float) -> tuple[Group, ...]:
    """Group noise models, and fit a map to each group.

    Independent noise makes one group: it leaves the curve least freedom, and alone in a wider group
    it would be a needle. Correlated noise is divided in two by where its rough draws lie.

    Parameters
    ----------
    model : Model
        The posterior.
    x : ndarray, shape (m, p)
        Rough draws, see `nuts_coordinates.encode`.
    noise : ndarray of int, shape (m,)
        Their noise models.
    tail_most : float
        See `nuts_map.fit_map`.
    """
    likelihood = model.likelihood
    independent = np.array([one.kind in ("white", "student_t") for one in likelihood.noises])
    found = (np.flatnonzero(independent), *_divided(x, noise, np.flatnonzero(~independent)))
    groups = []
    for models in found:
        if models.size:
            inside = np.isin(noise, models)
            drawn = x[inside] if inside.sum() >= _LEAST_OF_GROUP else x
            noises = tuple(likelihood.noises[j] for j in models)
            part = Likelihood(likelihood.law, likelihood.points, noises, likelihood.se)
            part_of_all = replace(model, likelihood=part)
            groups.append(Group(models, part_of_all, fit_map(drawn, tail_most)))
    return tuple(groups)


def _divided(x: Array, noise: Index, models: Index) -> tuple[Index, ...]:
    """Models in two parts whose means differ most, or in one where too few have rough draws.

    Means are compared along the line on which they vary most, in units of all draws' spread.
    """
    count = np.array([np.sum(noise == j) for j in models])
    seen, rest = models[count >= _LEAST_OF_MODEL], models[count < _LEAST_OF_MODEL]
    if seen.size < 2:
        return (models,)
    weight = count[count >= _LEAST_OF_MODEL] / count.sum()
    mean = np.array([x[noise == j].mean(axis=0) for j in seen])
    mean -= np.average(mean, axis=0, weights=weight)
    mean /= np.maximum(x.std(axis=0), 1e-300)  # a coordinate may be at its bound in all draws
    at = mean @ np.linalg.eigh((mean * weight[:, None]).T @ mean)[1][:, -1]
    order = np.argsort(at)
    below = np.cumsum(weight[order])[:-1]
    # Sum of squares between the two parts, for each place to divide.
    between = np.cumsum((weight * at)[order])[:-1] ** 2 / (below * (weight.sum() - below))
    parts = np.split(order, [int(np.argmax(between)) + 1])
    largest, other = sorted(parts, key=lambda part: -weight[part].sum())
    return np.append(seen[largest], rest), seen[other]


def pack_groups(groups: tuple[Group, ...]) -> Array:
    """Data of all groups: where each begins (-1 where there is none), then `pack` of each."""
    packed = [pack(group.part, group.coordinates) for group in groups]
    begin = MOST + np.cumsum([0] + [part.size for part in packed[:-1]])
    return np.concatenate([begin, np.full(MOST - len(packed), -1.0), *packed])
