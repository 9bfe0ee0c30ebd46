"""From points to the averaged fit: shapes, noise models and warm-up choices weighed by evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.draws import Draws, sample
from sparsefit.estimation.limit_likelihood import LimitLikelihood, limit_likelihood
from sparsefit.estimation.noise import NoiseModel, noise_grid
from sparsefit.estimation.outliers import suspects, with_outliers
from sparsefit.estimation.points import Points
from sparsefit.estimation.priors import ShapePrior, log_normaliser, reference_prior
from sparsefit.estimation.quadrature import Problem, integrate
from sparsefit.laws import Law

Array = NDArray[np.float64]

DRAWS = 2000
"""Draws kept with every fit."""


@dataclass(frozen=True)
class Averaged:
    """A fit averaged over shapes, noise models and warm-up choices.

    Attributes
    ----------
    draws : Draws
        Equally weighted draws.
    noises : tuple of NoiseModel
        Models that `draws.noise` refers to.
    likelihood : LimitLikelihood
        Integrated likelihood of the limit.
    drops : ndarray of int, shape (q,)
        Warm-up choices considered.
    drop_weight : ndarray, shape (q,)
        Weight of each choice, among models without a fading start.
    white_drop : int
        Best choice under independent residuals, the one that least squares goes with.
    noise_weight : ndarray, shape (number of noise models,)
        Weight of each noise model.
    log_evidence : float
        Log evidence of the law (comparable between laws for the same points).
    ess : float
        Effective sample size behind the draws.
    prior_text : str
        The reference measure in words.
    transient_weight : float
        Weight of the models with a fading start.
    log_warmup_width : float
        See `warmup.log_warmup_width`.
    """

    draws: Draws
    noises: tuple[NoiseModel, ...]
    likelihood: LimitLikelihood
    drops: NDArray[np.intp]
    drop_weight: Array
    noise_weight: Array
    log_evidence: float
    ess: float
    prior_text: str
    transient_weight: float = 0.0
    white_drop: int = 0
    log_warmup_width: float = 0.0


def average(
    law: Law,
    points: Points,
    drops: NDArray[np.intp],
    rng: np.random.Generator,
    prior: ShapePrior | None = None,
    size: int = DRAWS,
) -> Averaged:
    """Fit a law, averaged over everything that the points leave open.

    Parameters
    ----------
    law : Law
        Law to fit.
    points : Points
        All points of the run.
    drops : ndarray of int
        Warm-up choices, see `warmup.warmup_choices`.
    rng : numpy.random.Generator
        Source of randomness for the draws.
    prior : ShapePrior, optional
        Measure over shapes; the reference measure by default.
    size : int
        Number of draws.

    Notes
    -----
    With one choice of warm-up the measure is that of the points which stay: the fit is that of the
    run without the others, of which only the numbers in `Averaged.drops` remind.
    """
    if drops.size == 1 and drops[0] > 0:
        alone = average(law, points.since(int(drops[0])), drops - drops, rng, prior, size)
        draws = replace(alone.draws, drop=alone.draws.drop + drops[0])
        noises = tuple(noise.later(int(drops[0])) for noise in alone.noises)
        return replace(alone, draws=draws, noises=noises, drops=drops, white_drop=int(drops[0]))
    prior = prior or reference_prior(law)
    noises = noise_grid(points.relative_se is not None, transient=drops.size > 1)
    if points.robust_inflation is None:
        noises = with_outliers(noises, suspects(points), len(points))
    problem = Problem.of(law, points, noises, drops, prior)
    cells = integrate(problem)
    found = sample(problem, cells, size, rng)
    weight = cells.weight
    fading = np.array([noise.kind == "transient" for noise in noises])
    white = np.array([noise.kind == "white" for noise in noises])
    return Averaged(
        draws=found.draws,
        noises=noises,
        likelihood=limit_likelihood(problem, cells, found),
        drops=drops,
        drop_weight=weight[~fading].sum(axis=(0, 2)) / max(weight[~fading].sum(), 1e-300),
        transient_weight=float(weight[fading].sum()),
        white_drop=int(drops[np.argmax(weight[white].sum(axis=(0, 2)))]),
        noise_weight=weight.sum(axis=(1, 2)),
        # Normalised, so that evidences of laws compare.
        log_evidence=cells.log_evidence - log_normaliser(law, points.range, float(points.y[-1])),
        ess=found.ess,
        prior_text=prior.text,
        log_warmup_width=problem.log_width,
    )
