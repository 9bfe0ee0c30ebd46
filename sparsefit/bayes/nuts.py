"""The reference engine: No-U-Turn sampling with PyMC, by nutpie where it is installed."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.importance import Model
from sparsefit.bayes.nuts_coordinates import decode, encode
from sparsefit.bayes.nuts_groups import Group, fit_groups, pack_groups
from sparsefit.bayes.posterior import Sampling
from sparsefit.bayes.symbolic import build
from sparsefit.errors import ArgumentError, MissingDependencyError
from sparsefit.estimation.convergence import convergence
from sparsefit.estimation.draws import Draws

Array = NDArray[np.float64]

CHAINS = 4
_TUNE = 400


@dataclass(frozen=True)
class _Attempt:
    """How carefully to sample: acceptance aimed at, tails of the map, draws made for each kept."""

    target_accept: float
    tail_most: float
    thin: int


# If one diverges, moves slowly or has chains that disagree, the next, slower one follows.
_ATTEMPTS = (_Attempt(0.95, 0.45, 1), _Attempt(0.98, 0.25, 2), _Attempt(0.98, 0.25, 12))
_ESS_SHARE, _ESS_ENOUGH = 0.2, 1000.0
# Trajectories of at most 2 ** this many steps: where maps fit, 4 to 32 steps are taken, and where
# they do not (points that no model describes), longer ones take minutes and do not help.
_DEPTH = 7
# Chains that lie this far apart after a second attempt will not meet in a longer one.
_APART = 1.2

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
    for number, (attempt, seed) in enumerate(zip(_ATTEMPTS, seeds, strict=True), 1):
        groups = fit_groups(model, x, start.noise, attempt.tail_most)
        draws, sampling = _attempt(model, groups, rng, -(-size // CHAINS), attempt, int(seed))
        if sampling.reliable and sampling.ess >= min(_ESS_SHARE * size, _ESS_ENOUGH):
            break
        if number > 1 and sampling.rhat is not None and not sampling.rhat < _APART:
            break
    return draws, sampling


def _attempt(
    model: Model,
    groups: tuple[Group, ...],
    rng: np.random.Generator,
    size: int,
    attempt: _Attempt,
    seed: int,
) -> tuple[Draws, Sampling]:
    """Chains of `size` draws each."""
    run = pack_groups(groups)
    x, log_term, divergences = _run(model, run, size * attempt.thin, attempt.target_accept, seed)
    evaluated = x.shape[0] * x.shape[1]
    x, log_term = (v[:, attempt.thin - 1 :: attempt.thin] for v in (x, log_term))
    # The group of each draw, in proportion to the terms of the density (Gumbel's way to draw).
    group = (log_term + rng.gumbel(size=log_term.shape)).argmax(axis=2)
    chains = np.take_along_axis(x, group[:, :, None, None], axis=2)[:, :, 0]
    draws = _drawn(model, groups, chains.reshape(-1, chains.shape[2]), group.ravel(), rng)
    found = convergence(np.concatenate([chains, _per_chain(draws.limit)], axis=2))
    sampling = Sampling(
        "nuts",
        min(found.bulk, found.tail),
        rhat=found.rhat,
        divergences=divergences,
        evaluated=evaluated,
        chains=CHAINS,
    )
    return draws, sampling


def _drawn(
    model: Model,
    groups: tuple[Group, ...],
    x: Array,
    group: NDArray[np.intp],
    rng: np.random.Generator,
) -> Draws:
    """Draws with a noise model and a warm-up choice of their group."""
    u = decode(model.law, model.priors, model.points.span, x)
    noise, drop = np.empty(len(u), dtype=np.intp), np.empty(len(u), dtype=np.intp)
    for g, one in enumerate(groups):
        inside = np.flatnonzero(group == g)
        if inside.size:
            noise[inside], drop[inside] = one.choices(u[inside], rng)
    return model.draws(u, noise, drop)


def _per_chain(values: Array) -> Array:
    return values.reshape(CHAINS, -1, 1)


def _run(
    model: Model, run: Array, draws: int, target_accept: float, seed: int
) -> tuple[Array, Array, int]:
    """What all chains say of each group, and the number of divergences.

    Coordinates x, shape (chains, draws, `MOST`, p), and terms of the density, without the p.
    """
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
                maxdepth=_DEPTH,
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
                    max_treedepth=_DEPTH,
                    progressbar=False,
                    compute_convergence_checks=False,
                )
    x, log_term = (np.asarray(trace.posterior[name].to_numpy()) for name in ("x", "log_term"))
    return x, log_term, int(np.asarray(trace.sample_stats["diverging"]).sum())
