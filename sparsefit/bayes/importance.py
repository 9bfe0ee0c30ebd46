"""The default engine: importance sampling from the exact flat-prior posterior.

Two proposals, one with Gaussian noise and one whose grid down-weights outliers (for Student-t
noise), are weighed against the full model. A Pareto fit of the largest weights decides whether the
result can be trusted; if not, more draws are taken, and what still fails is said so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.likelihood import Likelihood
from sparsefit.bayes.priors import Priors, log_prior, shape_prior
from sparsefit.bayes.proposal import Proposal, propose
from sparsefit.bayes.psis import KHAT_LIMIT, Smoothed, smooth
from sparsefit.estimation.draws import Draws
from sparsefit.estimation.points import Points
from sparsefit.estimation.quadrature import Cells, Problem, integrate
from sparsefit.estimation.robust import robust_inflation
from sparsefit.laws import Law

Array = NDArray[np.float64]

ESS_WANTED = 2000.0

_PILOT = 500
_FIRST = 6000
_ROUNDS = 3


@dataclass(frozen=True)
class Model:
    """Everything that defines the posterior of one run.

    Attributes
    ----------
    law : Law
        Law.
    points : Points
        Usable points.
    drops : ndarray of int
        Warm-up choices, equally likely beforehand.
    priors : Priors
        Priors of the law's parameters and the noise scale.
    likelihood : Likelihood
        Noise models and measured errors.
    """

    law: Law
    points: Points
    drops: NDArray[np.intp]
    priors: Priors
    likelihood: Likelihood

    def log_joint(self, draws: Draws) -> Array:
        """Log of prior times likelihood over (log shape, amplitude, limit, log sigma, models)."""
        prior = log_prior(
            self.law,
            self.priors,
            draws.span,
            draws.shape,
            draws.amplitude,
            draws.limit,
            draws.sigma,
        )
        models = np.log([model.prior for model in self.likelihood.noises])
        found = prior + models[draws.noise] - np.log(self.drops.size)
        possible = np.isfinite(found)
        found[possible] += self.likelihood.of(take(draws, np.flatnonzero(possible)))
        return found


@dataclass(frozen=True)
class Weighted:
    """Draws with weights.

    Attributes
    ----------
    draws : Draws
        Proposals.
    smoothed : Smoothed
        Pareto-smoothed weights, k-hat and effective sample size.
    log_evidence : float
        Log of the probability density of the data under the model.
    rounds : int
        Times that the sample was enlarged, plus one.
    flat : Flat
        The flat-prior posterior behind the first proposal.
    """

    draws: Draws
    smoothed: Smoothed
    log_evidence: float
    rounds: int
    flat: Flat

    @property
    def reliable(self) -> bool:
        """Whether the Pareto shape of the weights says that averages over them can be trusted."""
        return self.smoothed.khat <= KHAT_LIMIT


def take(draws: Draws, index: NDArray[np.intp]) -> Draws:
    """Selected draws."""
    names = ("shape", "amplitude", "limit", "sigma", "noise", "drop")
    return Draws(**{name: getattr(draws, name)[index] for name in names}, span=draws.span)


def join(parts: list[Draws]) -> Draws:
    """Draws one after the other."""
    names = ("shape", "amplitude", "limit", "sigma", "noise", "drop")
    return Draws(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
        span=parts[0].span,
    )


def resample(weighted: Weighted, size: int, rng: np.random.Generator) -> Draws:
    """Equally weighted draws by systematic resampling, in random order."""
    cumulative = np.cumsum(weighted.smoothed.weights)
    at = (np.arange(size) + rng.random()) / size * cumulative[-1]
    index = np.minimum(np.searchsorted(cumulative, at), cumulative.size - 1)
    return take(weighted.draws, rng.permutation(index))


@dataclass(frozen=True)
class Flat:
    """A flat-prior posterior to propose from, of some of the noise models.

    Attributes
    ----------
    problem, cells : Problem, Cells
        Result of `quadrature.integrate`.
    index : ndarray of int
        Positions of its noise models in the full list.
    known : float
        Typical measured standard error, 0 for none.
    """

    problem: Problem
    cells: Cells
    index: NDArray[np.intp]
    known: float

    def propose(self, size: int, rng: np.random.Generator) -> Proposal:
        """Draws with their density."""
        found = propose(self.problem, self.cells, size, rng, self.known)
        return replace(found, draws=replace(found.draws, noise=self.index[found.draws.noise]))


def flat_posteriors(model: Model) -> list[Flat]:
    """Proposals for the Gaussian and for the Student-t noise models, whichever there are."""
    noises = model.likelihood.noises
    heavy = np.array([noise.kind == "student_t" for noise in noises])
    measure = shape_prior(model.law, model.priors)
    se = model.likelihood.se
    known = 0.0 if se is None else float(np.median(se))
    sources = []
    for chosen, tails in ((~heavy, False), (heavy, True)):
        if not chosen.any():
            continue
        index = np.flatnonzero(chosen)
        points = Points(model.points.d, model.points.y)
        if tails:
            points = replace(points, robust_inflation=robust_inflation(model.law, points))
        problem = Problem.of(
            model.law, points, tuple(noises[i] for i in index), model.drops, measure
        )
        sources.append(Flat(problem, integrate(problem), index, known))
    return sources


def sample_posterior(
    model: Model, rng: np.random.Generator, wanted: float = ESS_WANTED, first: int = _FIRST
) -> Weighted:
    """Weighted draws from the posterior, enlarged until they can be trusted or three rounds passed.

    Parameters
    ----------
    model : Model
        The posterior.
    rng : numpy.random.Generator
        Source of randomness.
    wanted : float
        Effective sample size to reach.
    first : int
        Proposals of the first round; each further round takes three times as many.
    """
    sources = flat_posteriors(model)
    draws: list[list[Draws]] = [[] for _ in sources]
    ratios: list[list[Array]] = [[] for _ in sources]

    def extend(i: int, size: int) -> None:
        proposal = sources[i].propose(size, rng)
        draws[i].append(proposal.draws)
        ratios[i].append(model.log_joint(proposal.draws) - proposal.log_density)

    for i in range(len(sources)):
        extend(i, _PILOT if len(sources) > 1 else first)
    size = first
    rounds = 1
    while True:
        if len(sources) > 1:
            # As many draws for each part as its share of the posterior deserves, none starved.
            part = np.array([np.logaddexp.reduce(r[-1]) - np.log(r[-1].size) for r in ratios])
            share = np.clip(np.exp(part - np.logaddexp.reduce(part)), 0.1, 0.9)
            for i in range(len(sources)):
                extend(i, int(np.ceil(size * share[i] / share.sum())))
        elif rounds > 1:
            extend(0, size)
        log_weights = np.concatenate([np.concatenate(r) - np.log(sum(map(len, r))) for r in ratios])
        smoothed = smooth(log_weights)
        enough = smoothed.khat <= KHAT_LIMIT and smoothed.ess >= wanted
        if enough or rounds == _ROUNDS:
            break
        rounds += 1
        size *= 3
    joined = join([part for parts in draws for part in parts])
    return Weighted(joined, smoothed, float(np.logaddexp.reduce(log_weights)), rounds, sources[0])
