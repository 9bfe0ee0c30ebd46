"""Adaptive grid over shapes, noise models and warm-up choices.

The grid is narrowed to where the evidence is, row by row, so that a sharp ridge in (alpha, kappa)
is resolved as well as a flat one. Deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.blocks import blocks
from sparsefit.estimation.evidence import Conditional, conditional, cumulative_sums, reversed_basis
from sparsefit.estimation.noise import NoiseModel
from sparsefit.estimation.points import Points
from sparsefit.estimation.priors import ShapePrior
from sparsefit.estimation.warmup import log_warmup_width
from sparsefit.estimation.whitening import Whitener
from sparsefit.laws import Law

Array = NDArray[np.float64]

_ROWS = {1: 240, 2: 40}
_COLUMNS = 28
_PASSES = {1: 2, 2: 4}
# Cells this many nats below the best carry no visible weight.
_DEPTH = 9.0
# Share of a cell's weight that is proposed in each neighbour.
_SHARED = 0.05
# A region that the reference measure makes light but the data do not rule out must stay: the
# likelihood of the limit is read off there. 99% intervals end 3.3 nats below the best.
_LIKELY = 5.0
# Where the limit is only unbounded as alpha -> 0, the grid must come close to it.
_ALPHA_FLOOR = 1e-4


@dataclass(frozen=True)
class Cells:
    """Cells of the final grid.

    Attributes
    ----------
    log_weight : ndarray, shape (noise models, warm-up choices, shapes)
        Log evidence times prior times cell size.
    log_measure : ndarray, shape (shapes,)
        The part of it that is measure, not data.
    centre : ndarray, shape (shapes, n_shape)
        Log shape at the centre of each cell.
    half : ndarray, shape (shapes, n_shape)
        Half the size of each cell in log shape.
    """

    log_weight: Array
    log_measure: Array
    centre: Array
    half: Array

    @cached_property
    def weight(self) -> Array:
        """Normalised weights, same shape as `log_weight`."""
        weight = np.exp(self.log_weight - self.log_weight.max())
        return np.asarray(weight / weight.sum())

    def proposal(self) -> Array:
        """Weights to draw cells with, same shape as `log_weight`: those of neighbours count too.

        Where the noise is small, the ridge crosses corners of cells whose centres lie far below it.
        Drawn by their own weight alone, one draw there would outweigh thousands.
        """
        weight = self.weight
        out = (1.0 - 2.0 * _SHARED * len(self.steps)) * weight
        for step in self.steps:
            out[..., step:] += _SHARED * weight[..., :-step]
            out[..., :-step] += _SHARED * weight[..., step:]
        return out

    @property
    def steps(self) -> tuple[int, ...]:
        """Distances in the flat order of cells at which neighbours are."""
        return (1,) if self.centre.shape[1] == 1 else (1, _COLUMNS)

    def heaviest(self, size: int) -> NDArray[np.intp]:
        """Flat indices of the cells that matter, at most `size`: by weight or by likelihood."""
        rank = (self.log_weight - 0.5 * self.log_measure).ravel()
        size = min(size, rank.size)
        top = np.argpartition(rank, rank.size - size)[rank.size - size :]
        return top[np.isfinite(rank[top])]

    @property
    def log_evidence(self) -> float:
        """Log of the sum of all weights."""
        top = float(self.log_weight.max())
        return top + float(np.log(np.exp(self.log_weight - top).sum()))


@dataclass(frozen=True)
class Problem:
    """Everything that the evidence of a cell depends on.

    Attributes
    ----------
    law : Law
        Law fitted.
    points : Points
        All points of the run, warm-up included.
    noises : tuple of NoiseModel
        Noise models averaged over.
    drops : ndarray of int
        Warm-up choices averaged over: numbers of first points left out, ascending from 0.
    prior : ShapePrior
        Measure over shapes.
    log_width : float
        See `warmup.log_warmup_width`.
    whiteners : tuple of Whitener
        One for each noise model.
    """

    law: Law
    points: Points
    noises: tuple[NoiseModel, ...]
    drops: NDArray[np.intp]
    prior: ShapePrior
    log_width: float
    whiteners: tuple[Whitener, ...]

    @classmethod
    def of(
        cls,
        law: Law,
        points: Points,
        noises: tuple[NoiseModel, ...],
        drops: NDArray[np.intp],
        prior: ShapePrior,
    ) -> Problem:
        """Factorise each noise model once."""
        whiteners = tuple(Whitener.of(points, noise) for noise in noises)
        log_width = log_warmup_width(law, points, drops)
        return cls(law, points, noises, drops, prior, log_width, whiteners)

    def log_measure(self, log_shape: Array, log_size: Array) -> Array:
        """Log of the measure of cells, shape (shapes,)."""
        # Density over d(shape) -> density over d(log shape).
        density = self.prior.log_density(np.exp(log_shape), self.points.span)
        return np.asarray(density + log_shape.sum(1) + log_size)

    def log_evidence(self, log_shape: Array, subset: tuple[int, ...]) -> Array:
        """Log evidence times prior of noise model and warm-up choice.

        Returns
        -------
        ndarray, shape (noise models, warm-up choices, shapes)
        """
        n = len(self.points)
        out = np.full((len(self.noises), self.drops.size, log_shape.shape[0]), -np.inf)
        for block in blocks(n, log_shape.shape[0]):
            basis = reversed_basis(self.law, self.points, np.exp(log_shape[block]))
            for j in subset:
                drops = self.drops_of(j)
                kept = (n - drops)[:, None]
                sums = cumulative_sums(self.points, self.whiteners[j], basis, kept[::-1, 0])
                found = self.conditional(tuple(values[::-1] for values in sums), kept, j)
                prior = np.log(self.noises[j].prior) - np.log(drops.size)
                out[j, : drops.size, block] = found.log_evidence + prior
        return out

    def conditional(self, sums: tuple[Array, ...], kept: NDArray[np.intp], j: int) -> Conditional:
        """`evidence.conditional` of noise model `j` from sums over the points kept."""
        return conditional(
            sums,
            kept,
            len(self.points) - kept,
            self.whiteners[j].log_det[kept - 1],
            self.law.limit_bounds,
            self.points.range,
            self.log_width,
        )

    def drops_of(self, j: int) -> NDArray[np.intp]:
        """Warm-up choices of noise model `j`: a fading start replaces leaving points out."""
        return self.drops[:1] if self.noises[j].kind == "transient" else self.drops


def _edges_to_cells(low: Array, high: Array, rows: Array) -> tuple[Array, Array]:
    """Centres and half sizes of the cells of all rows, each of shape (rows * columns, 2)."""
    row_centre, row_half = (rows[1:] + rows[:-1]) / 2, np.diff(rows) / 2
    fraction = np.linspace(0, 1, _COLUMNS + 1)
    edges = low[:, None] + (high - low)[:, None] * fraction
    column_centre, column_half = (edges[:, 1:] + edges[:, :-1]) / 2, np.diff(edges, axis=1) / 2
    repeat = np.repeat(row_centre, _COLUMNS), np.repeat(row_half, _COLUMNS)
    return (
        np.stack([repeat[0], column_centre.ravel()], axis=-1),
        np.stack([repeat[1], column_half.ravel()], axis=-1),
    )


def _narrow_columns(margin: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Shrink each row's range of kappa to where that row matters (margin: rows x columns)."""
    near = margin >= np.minimum(0.0, margin.max(axis=1, keepdims=True) - _DEPTH)
    first = np.maximum(near.argmax(axis=1) - 1, 0)
    last = np.minimum(_COLUMNS - near[:, ::-1].argmax(axis=1) + 1, _COLUMNS)
    width = (high - low) / _COLUMNS
    return low + first * width, low + last * width


def _finer_rows(edges: Array, mass: Array, size: int) -> Array:
    """`size` edges in the range of `edges`: half of the rows go where the mass is, half are even.

    Rows that only the likelihood keeps can span far more than the posterior, whose ridge an even
    grid would then cross in a single row.
    """
    # A row stands for its neighbours too: its mass is known at its centre only.
    beside = np.pad(mass, 1)
    mass = mass + 0.5 * (beside[:-2] + beside[2:])
    share = 0.5 * np.diff(edges) / np.ptp(edges) + 0.5 * mass / mass.sum()
    cumulative = np.concatenate([[0.0], np.cumsum(share)])
    return np.interp(np.linspace(0.0, cumulative[-1], size), cumulative, edges)


def integrate(problem: Problem) -> Cells:
    """Evaluate the evidence on a grid that adapts to it."""
    n_shape = problem.law.n_shape
    everything = tuple(range(len(problem.noises)))
    # The rough passes only locate the weight: a few contrasting noise models do.
    rough = everything[:: max(1, len(everything) // 9)]
    axes = problem.law.shape_grid(problem.points.span, 2)
    floor = axes[0][0] if problem.law.edge_has_limit else min(axes[0][0], _ALPHA_FLOOR)
    rows = np.linspace(np.log(floor), np.log(axes[0][-1]), _ROWS[n_shape] + 1)
    low = high = np.empty(0)
    if n_shape == 2:
        low = np.full(_ROWS[2], np.log(axes[1][0]))
        high = np.full(_ROWS[2], np.log(axes[1][-1]))
    for left in range(_PASSES[n_shape] - 1, -1, -1):
        if n_shape == 2:
            centre, half = _edges_to_cells(low, high, rows)
        else:
            centre, half = (rows[1:] + rows[:-1])[:, None] / 2, np.diff(rows)[:, None] / 2
        evidence = problem.log_evidence(centre, rough if left else everything)
        measure = problem.log_measure(centre, np.log(2 * half).sum(1))
        if not left:
            return Cells(evidence + measure, measure, centre, half)
        likely = evidence.max(axis=(0, 1))
        weighty = likely + measure
        # How far a cell is inside what must be kept, by weight or by likelihood; >= 0 stays.
        margin = np.maximum(
            weighty - weighty.max() + _DEPTH, likely - likely.max() + _LIKELY
        ).reshape(rows.size - 1, -1)
        heavy = np.flatnonzero(margin.max(axis=1) >= 0)
        kept = slice(max(heavy[0] - 1, 0), min(heavy[-1] + 2, rows.size - 1))
        mass = np.exp(weighty - weighty.max()).reshape(rows.size - 1, -1).sum(axis=1)
        finer = _finer_rows(rows[kept.start : kept.stop + 1], mass[kept], rows.size)
        if n_shape == 2:
            new_low, new_high = _narrow_columns(margin, low, high)
            # The ridge is oblique: take the union of a row's and its neighbours' ranges.
            inside = np.searchsorted(rows, (finer[1:] + finer[:-1]) / 2) - 1
            around = np.clip(inside + np.array([[-1], [0], [1]]), 0, rows.size - 2)
            low, high = new_low[around].min(axis=0), new_high[around].max(axis=0)
        rows = finer
    raise AssertionError("unreachable")
