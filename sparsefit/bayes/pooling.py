"""Partial pooling of runs over scale.

Each run is fitted again under the prior that the other runs of its group (one law, one activation)
predict for a run of its size: a hierarchical posterior without a joint sampler. The run's own data
enter once, through its likelihood, and the spread about the line keeps the pooling partial.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.coordinates import from_coordinates, to_coordinates
from sparsefit.bayes.engine import sample_model
from sparsefit.bayes.hierarchy import sample_hyper
from sparsefit.bayes.importance import sum_terms
from sparsefit.bayes.pooled_limit import with_others
from sparsefit.bayes.population import (
    Located,
    Population,
    feature_names,
    features,
    log_level_jacobian,
)
from sparsefit.bayes.priors import draw_prior, log_prior_terms
from sparsefit.errors import ArgumentError
from sparsefit.estimation.limit_likelihood import LimitLikelihood
from sparsefit.estimation.noise import spread_exponents
from sparsefit.estimation.notes import Note

if TYPE_CHECKING:
    from sparsefit.bayes.result import BayesFit
    from sparsefit.fitting import RunData

Array = NDArray[np.float64]

_STAND_INS = 1000
_FEW = 20.0


def group_key(fit: BayesFit) -> tuple[str, str]:
    """Law and activation: runs that are pooled share both."""
    known = fit.frame["activation"].dropna().tolist() if "activation" in fit.frame else []
    return fit.law.name, str(known[0]).lower() if known else ""


def alike(fit: BayesFit, others: Iterable[BayesFit]) -> list[BayesFit]:
    """Those of the other runs that can be pooled with a run."""
    return [other for other in others if group_key(other) == group_key(fit)]


def covariate_values(run: BayesFit | RunData, covariates: Sequence[str]) -> dict[str, float]:
    """Covariates of a run, fitted or not.

    Raises
    ------
    ArgumentError
        For a run without one of them, or one that is not positive.
    """
    values: dict[str, float] = {}
    for name in covariates:
        frame = run.frame
        column = None
        if name in frame:
            column = frame[name]
        elif name == "width_depth_ratio" and {"hidden_size", "n_layers"} <= set(frame.columns):
            column = frame["hidden_size"] / frame["n_layers"]
        known = np.array([]) if column is None else column.dropna().to_numpy(dtype=float)
        if len(known) == 0 or not np.isfinite(known[0]) or known[0] <= 0:
            raise ArgumentError(
                f"pool='scale' needs {name!r} > 0 for every run; run {run.run!r} has none: "
                "add the column, or leave the run out"
            )
        values[name] = float(known[0])
    return values


def run_features(fit: BayesFit, d_ref: float, size: int) -> tuple[Array, Array]:
    """Features of a run's draws and the log density of its own prior over them."""
    draws = fit.posterior.measured
    at = slice(0, size)
    parts = (draws.shape[at], draws.amplitude[at], draws.limit[at], draws.sigma[at])
    spread = spread_exponents(fit.averaged.noises)[draws.noise[at]]
    z = features(fit.law, d_ref, draws.span, *parts, spread)
    terms = log_prior_terms(fit.law, fit.posterior.priors, draws.span, *parts)
    described = from_coordinates(fit.law, draws.span, to_coordinates(fit.law, draws)[at])
    log_prior = sum_terms(terms) + described.log_jacobian
    log_prior = log_prior - log_level_jacobian(fit.law, parts[2])
    usable = np.isfinite(z).all(axis=1) & np.isfinite(log_prior)
    return z[usable], log_prior[usable]


def level_prior(
    fits: Sequence[BayesFit], d_ref: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Mean and standard deviation of each feature under the prior of a run alone."""
    drawn = []
    for fit in fits:
        law, span = fit.law, fit.posterior.measured.span
        parts = draw_prior(law, fit.posterior.priors, span, _STAND_INS, rng)
        drawn.append(features(law, d_ref, span, *parts))
    z = np.concatenate(drawn)
    z = z[np.isfinite(z).all(axis=1)]
    return z.mean(axis=0), z.std(axis=0)


def learn(
    fits: Sequence[BayesFit], covariates: Sequence[str], rng: np.random.Generator
) -> tuple[Population, Array]:
    """Population of the runs given, and the effective number of draws that stood for each."""
    law = fits[0].law
    ends = np.log([fit.points.span for fit in fits])
    d_ref = float(np.exp(np.median(ends.mean(axis=1))))
    values = [covariate_values(fit, covariates) for fit in fits]
    logged = np.log([[v[name] for name in covariates] for v in values])
    centre = logged.mean(axis=0)
    design = np.column_stack([np.ones(len(fits)), logged - centre])
    z, prior = zip(*(run_features(fit, d_ref, _STAND_INS) for fit in fits), strict=True)
    hyper = sample_hyper(list(z), list(prior), design, level_prior(fits, d_ref, rng), rng)
    population = Population(
        feature_names(law),
        tuple(covariates),
        centre,
        d_ref,
        hyper.coefficients,
        hyper.spread,
        tuple(fit.run for fit in fits),
    )
    return population, hyper.ess


def pool_run(
    fit: BayesFit,
    others: Sequence[BayesFit],
    covariates: Sequence[str],
    seed: int,
    learnt: tuple[Population, Array] | None = None,
) -> BayesFit:
    """Fit of one run under the prior that other runs predict for it.

    `learnt` is what `learn` returned for these other runs, where that is known.
    """
    from sparsefit.bayes.api import rebuild

    if not others:
        note = "pooling: no other run of this law and activation; fitted alone"
        return replace(fit, notes=(*fit.notes, Note(note, "pooling")))
    if learnt is None:
        learnt = learn(others, covariates, np.random.default_rng([seed, 7]))
    population, stand_ins = learnt
    rng = np.random.default_rng([seed, 11])
    row = population.design(covariate_values(fit, covariates))
    model = replace(fit.model, population=Located(population, row))
    sampled = sample_model(model, "importance", rng, len(fit.averaged.draws))
    count = f"{len(others)} run{'s' * (len(others) != 1)}"
    notes = [f"pooled with {count}: {', '.join(population.runs)}"]
    against = [other.run for other in others if other.misfit]
    if against:
        notes.append(
            f"pooling: the points of {', '.join(against)} go against {fit.law.name}, so that what "
            "they contribute says little; a table without them avoids it"
        )
    weak = [o.run for o, ess in zip(others, stand_ins, strict=True) if ess < _FEW]
    if weak:
        notes.append(
            "pooling: few draws of " + ", ".join(weak) + " agree with the trend over scale; "
            "treat what they contribute as rough"
        )
    found = rebuild(fit, sampled, tuple(Note(words, "pooling") for words in notes))
    together = _limit_with_others(fit, found)
    return replace(found, averaged=replace(found.averaged, likelihood=together))


def _limit_with_others(alone: BayesFit, pooled: BayesFit) -> LimitLikelihood:
    """Likelihood of the limit from the run's own points and the other runs."""
    both = (alone.posterior.measured, pooled.posterior.measured)
    size = min(len(draws) for draws in both)
    priors: tuple[list[Array], list[Array]] = ([], [])
    for fit, draws in zip((alone, pooled), both, strict=True):
        at = slice(0, size)
        described = from_coordinates(fit.law, draws.span, to_coordinates(fit.law, draws)[at])
        spread = spread_exponents(fit.averaged.noises)[draws.noise[at]]
        for kept, model in zip(priors, (alone.model, pooled.model), strict=True):
            kept.append(sum_terms(model.log_prior(described, spread)))
    return with_others(
        pooled.averaged.likelihood,
        np.concatenate([draws.limit[:size] for draws in both]),
        np.concatenate(priors[0]),
        np.concatenate(priors[1]),
        (alone.averaged.log_evidence, pooled.averaged.log_evidence),
    )


def pool_fits(
    fits: Mapping[str, BayesFit],
    covariates: Sequence[str],
    seed: int,
    only: Sequence[str] | None = None,
) -> dict[str, BayesFit]:
    """Fit each run (or those in `only`) under the prior that the other runs of its group give it.

    Raises
    ------
    ArgumentError
        For a run of the group without a covariate.
    """
    pooled = {}
    for run in fits if only is None else only:
        rest = [other for name, other in fits.items() if name != run]
        pooled[run] = pool_run(fits[run], alike(fits[run], rest), covariates, seed)
    return pooled
