"""From one run to its posterior: the model, an engine, its checks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.coordinates import to_coordinates
from sparsefit.bayes.importance import Flat, Model, flat_posterior, resample, sample_posterior
from sparsefit.bayes.likelihood import Likelihood, likelihood_models
from sparsefit.bayes.population import Located
from sparsefit.bayes.posterior import Sampling
from sparsefit.bayes.priors import Priors
from sparsefit.checks import check_choice
from sparsefit.errors import MissingDependencyError
from sparsefit.estimation.draws import Draws
from sparsefit.estimation.engine import Averaged
from sparsefit.estimation.limit_likelihood import limit_likelihood
from sparsefit.estimation.noise import NoiseModel
from sparsefit.estimation.points import Points
from sparsefit.laws import Law

Array = NDArray[np.float64]

ENGINES = ("auto", "importance", "nuts")
DRAWS = 4000

_ESS_TO_START = 200.0


@dataclass(frozen=True)
class Sampled:
    """Equally weighted posterior draws of one model, and its flat-prior posterior."""

    model: Model
    draws: Draws
    sampling: Sampling
    log_evidence: float
    flat: Flat


def build_model(
    law: Law,
    points: Points,
    drops: NDArray[np.intp],
    likelihood: str,
    priors: Priors,
    se: Array | None,
) -> Model:
    """Model of one run; `se` are known standard errors.

    With one choice of warm-up it is the model of the points that stay: priors of the value at the
    last point and of the change are about those.
    """
    return posterior_model(law, points, drops, likelihood_models(likelihood), priors, se)


def posterior_model(
    law: Law,
    points: Points,
    drops: NDArray[np.intp],
    noises: tuple[NoiseModel, ...],
    priors: Priors,
    se: Array | None,
    population: Located | None = None,
) -> Model:
    """The model with given noise models, see `build_model`."""
    first = int(drops[0]) if drops.size == 1 else 0
    plain = Points(points.d[first:], points.y[first:])
    likelihood = Likelihood(law, plain, noises, None if se is None else se[first:])
    return Model(law, plain, drops - first, priors, likelihood, population, first)


def sample_model(model: Model, engine: str, rng: np.random.Generator, size: int = DRAWS) -> Sampled:
    """Draw from a posterior.

    Parameters
    ----------
    model : Model
        The posterior.
    engine : {"auto", "importance", "nuts"}
        ``"auto"`` takes importance sampling and, where its checks fail and PyMC is there, NUTS.
    rng : numpy.random.Generator
        Source of randomness.
    size : int
        Number of draws.
    """
    check_choice("engine", engine, ENGINES)
    flat = flat_posterior(model, rng)
    weighted = sample_posterior(model, flat, rng)
    sampling = Sampling(
        "importance",
        weighted.smoothed.ess,
        khat=weighted.smoothed.khat,
        evaluated=len(weighted.draws),
    )
    draws = resample(weighted, size, rng)
    found = Sampled(model, draws, sampling, weighted.log_evidence, flat)
    if engine == "importance" or (engine == "auto" and sampling.reliable):
        return found
    # Importance draws give the sampler's coordinates, unless hardly any of them has a weight.
    start = draws
    if sampling.ess < _ESS_TO_START:
        u = to_coordinates(model.law, flat.sample.draws)
        _, noise, drop = model.log_target(u, rng)
        start = model.draws(u, noise, drop)
    try:
        from sparsefit.bayes.nuts import sample_nuts

        draws, sampling = sample_nuts(model, start, rng, size)
    except MissingDependencyError:
        if engine == "nuts":
            raise
        return found
    return replace(found, draws=draws, sampling=sampling)


def averaged(sampled: Sampled, shifted: Draws) -> Averaged:
    """The part of a `Fit` that its verbs draw on."""
    model, measured = sampled.model, sampled.draws
    noises = model.likelihood.noises
    size = len(measured)
    share = np.bincount(measured.noise, minlength=len(noises)) / size
    drops = model.drops + model.left_out
    drop = np.array([np.mean(measured.drop == k) for k in drops])
    # Which bounds of the limit the data exclude, whatever the prior.
    flat = sampled.flat
    return Averaged(
        draws=shifted,
        noises=noises,
        likelihood=limit_likelihood(flat.problem, flat.cells, flat.sample),
        drops=drops,
        drop_weight=drop,
        noise_weight=share,
        log_evidence=sampled.log_evidence,
        ess=sampled.sampling.ess,
        prior_text="; ".join(model.priors.text(model.law)),
    )
