"""The reference engine: No-U-Turn sampling with PyMC, by nutpie where it is installed."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.importance import Model
from sparsefit.bayes.likelihood_op import pack
from sparsefit.bayes.nuts_coordinates import decode, encode
from sparsefit.bayes.nuts_map import fit_map
from sparsefit.bayes.posterior import Sampling
from sparsefit.bayes.symbolic import build
from sparsefit.errors import ArgumentError, MissingDependencyError
from sparsefit.estimation.convergence import convergence
from sparsefit.estimation.draws import Draws

Array = NDArray[np.float64]

CHAINS = 4
_TUNE = 600


@dataclass(frozen=True)
class _Attempt:
    """How carefully to sample: acceptance aimed at, tails of the map, draws made for each kept."""

    target_accept: float
    tail_most: float
    thin: int


# If one diverges, moves slowly or has chains that disagree, the next, slower one follows.
_ATTEMPTS = (_Attempt(0.93, 0.7, 1), _Attempt(0.98, 0.25, 4), _Attempt(0.98, 0.25, 12))
_ESS_SHARE, _ESS_ENOUGH = 0.2, 1000.0

# Compiled models by law, priors and sampler: compiling takes most of a fit's time.
_COMPILED: dict[tuple[str, str, str], Any] = {}


def _key(model: Model, sampler: str) -> tuple[str, str, str]:
    return (model.law.name, repr(model.priors), sampler)


def sample_nuts(
    model: Model, start: Draws, rng: np.random.Generator, size: int
) -> tuple[Draws, Sampling]:
    """Sample a posterior with NUTS.

    Parameters
    ----------
    model : Model
        The posterior.
    start : Draws
        Rough draws, to which the sampler's coordinates are fitted.
    rng : numpy.random.Generator
        Source of randomness.
    size : int
        Number of draws, over four chains.

    Returns
    -------
    Draws, Sampling
        Draws with noise model and warm-up choice drawn given the rest, and the checks.

    Raises
    ------
    MissingDependencyError
        If PyMC is not installed.
    """
    if importlib.util.find_spec("pymc") is None:
        raise MissingDependencyError.for_extra("pymc", "bayes", "engine='nuts'")
    if model.population is not None:
        raise ArgumentError("engine='nuts' fits runs alone: use engine='importance' with pool")
    x = encode(model.law, model.priors, start)
    seeds = rng.integers(2**31, size=len(_ATTEMPTS))
    for attempt, seed in zip(_ATTEMPTS, seeds, strict=True):
        draws, sampling = _attempt(model, x, rng, -(-size // CHAINS), attempt, int(seed))
        if sampling.reliable and sampling.ess >= min(_ESS_SHARE * size, _ESS_ENOUGH):
            break
    return draws, sampling


def _attempt(
    model: Model, start: Array, rng: np.random.Generator, size: int, attempt: _Attempt, seed: int
) -> tuple[Draws, Sampling]:
    """Chains of `size` draws each, in coordinates fitted to rough draws `start`."""
    coordinates = fit_map(start, attempt.tail_most)
    run = pack(model, coordinates)
    v, divergences = _run(model, run, size * attempt.thin, attempt.target_accept, seed)
    chains = coordinates.forward(v[:, attempt.thin - 1 :: attempt.thin])
    flat = chains.reshape(-1, chains.shape[2])
    u = decode(model.law, model.priors, model.points.span, flat)
    _, noise, drop = model.log_target(u, rng)
    draws = model.draws(u, noise, drop)
    found = convergence(np.concatenate([chains, _per_chain(draws.limit)], axis=2))
    sampling = Sampling(
        "nuts",
        min(found.bulk, found.tail),
        rhat=found.rhat,
        divergences=divergences,
        evaluated=v.shape[0] * v.shape[1],
        chains=CHAINS,
    )
    return draws, sampling


def _per_chain(values: Array) -> Array:
    return values.reshape(CHAINS, -1, 1)


def _run(
    model: Model, run: Array, draws: int, target_accept: float, seed: int
) -> tuple[Array, int]:
    """Coordinates v of all chains, shape (chains, draws, p), and the number of divergences."""
    with warnings.catch_warnings():
        # Their own deprecations and progress notices are not the user's business.
        warnings.simplefilter("ignore")
        import pymc as pm

        if importlib.util.find_spec("nutpie") is not None:
            import nutpie

            key = _key(model, "nutpie")
            if key not in _COMPILED:
                _COMPILED[key] = nutpie.compile_pymc_model(build(model, run))
            trace = nutpie.sample(
                _COMPILED[key].with_data(run=run),
                draws=draws,
                tune=_TUNE,
                chains=CHAINS,
                cores=1,
                seed=seed,
                target_accept=target_accept,
                progress_bar=False,
            )
        else:
            key = _key(model, "pymc")
            if key not in _COMPILED:
                _COMPILED[key] = build(model, run)
            with _COMPILED[key]:
                pm.set_data({"run": run})
                trace = pm.sample(
                    draws,
                    tune=_TUNE,
                    chains=CHAINS,
                    cores=1,
                    random_seed=seed,
                    target_accept=target_accept,
                    progressbar=False,
                    compute_convergence_checks=False,
                )
    v = np.asarray(trace.posterior["v"].to_numpy(), dtype=float)
    return v, int(np.asarray(trace.sample_stats["diverging"]).sum())
