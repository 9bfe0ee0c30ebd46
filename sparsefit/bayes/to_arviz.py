"""A Bayesian fit in the form of ArviZ: `arviz.InferenceData`, or a tree of data sets (ArviZ 1)."""

from __future__ import annotations

import inspect
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.priors import draw_prior
from sparsefit.errors import MissingDependencyError
from sparsefit.estimation.draws import Draws

if TYPE_CHECKING:
    from sparsefit.bayes.result import BayesFit

Array = NDArray[np.float64]


def prior_draws(fit: BayesFit, size: int, rng: int) -> Draws:
    """Draws of the law from the prior of a run alone, with noise models and warm-up choices."""
    generator = np.random.default_rng([rng, 11])
    span = fit.posterior.measured.span
    shape, amplitude, limit, sigma = draw_prior(
        fit.law, fit.posterior.priors, span, size, generator
    )
    noises = fit.averaged.noises
    share = np.array([noise.prior for noise in noises])
    noise = generator.choice(len(noises), size=size, p=share / share.sum())
    drop = generator.choice(fit.averaged.drops, size=size)
    return Draws(shape, amplitude, limit, sigma, noise, drop, span)


def inference_data(fit: BayesFit) -> Any:
    """See `BayesFit.to_arviz`.

    Groups: ``posterior`` (coefficients, sigma, number of warm-up points, noise model),
    ``posterior_predictive`` and ``log_likelihood`` (of the whole run: its points are correlated),
    ``prior``, ``observed_data``, ``constant_data``.
    """
    try:
        with warnings.catch_warnings():
            # Its notices about its own future are not the caller's business.
            warnings.simplefilter("ignore")
            import arviz as az
    except ImportError:
        raise MissingDependencyError.for_extra("arviz", "bayes", "to_arviz()") from None
    sampling, draws = fit.posterior.sampling, fit.averaged.draws
    # Independent draws are split in four, so that ArviZ's checks between chains apply to them too.
    chains = sampling.chains if sampling.chains > 1 else (4 if len(draws) % 4 == 0 else 1)

    def chained(values: Array) -> Array:
        return values.reshape(chains, -1, *values.shape[1:])

    def variables(found: Draws) -> dict[str, Array]:
        named = dict(zip(fit.law.parameter_names, found.theta(fit.law).T, strict=True))
        return {
            **named,
            "sigma": found.sigma,
            "n_warmup": found.drop,
            "noise_model": found.noise,
        }

    predicted = fit.simulate(fit.tokens, "observation")
    model = fit.model
    log_likelihood = model.log_likelihood(fit.posterior.measured)
    prior = variables(prior_draws(fit, 1000, fit.seed))
    groups = {
        "posterior": {k: chained(v) for k, v in variables(draws).items()},
        "posterior_predictive": {fit.response: chained(predicted)},
        "log_likelihood": {"run": chained(log_likelihood)[..., None]},
        "prior": {k: v[None] for k, v in prior.items()},
        "observed_data": {fit.response: fit.points.y},
        "constant_data": {"tokens": fit.tokens},
    }
    named = {
        "coords": {"point": np.arange(len(fit.points))},
        "dims": {fit.response: ["point"], "tokens": ["point"]},
    }
    attributes = {"run": fit.run, "law": fit.law.name, "engine": sampling.engine}
    # ArviZ 1 takes the groups as one dictionary and makes a tree of them.
    if "data" in inspect.signature(az.from_dict).parameters:
        return az.from_dict(groups, **named, attrs={"/": attributes})
    return az.from_dict(**groups, **named, attrs=attributes)
