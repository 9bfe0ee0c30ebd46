"""`sf.fit_bayes`: from a measurement table to posteriors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sparsefit.bayes.engine import DRAWS, ENGINES, Sampled, averaged, build_model, sample_model
from sparsefit.bayes.likelihood import LIKELIHOODS
from sparsefit.bayes.posterior import Posterior
from sparsefit.bayes.priors import Priors, check_priors
from sparsefit.bayes.result import BayesFit
from sparsefit.by_run import each_run
from sparsefit.checks import check_choice, check_whole
from sparsefit.errors import ArgumentError, FitError, quoted
from sparsefit.estimation.draws import Draws, truncated_normal
from sparsefit.estimation.least_squares import fit_least_squares
from sparsefit.estimation.notes import Note
from sparsefit.fitting import (
    RunData,
    candidate_laws,
    check_call,
    check_points,
    fit_notes,
    warmup_rule,
)
from sparsefit.laws import Law
from sparsefit.provenance import provenance
from sparsefit.results.fits import Fits
from sparsefit.results.rounding import allowing_for_rounding
from sparsefit.seeds import Rng, seed_of
from sparsefit.table import usable_rows

Array = NDArray[np.float64]

POOLS = ("none", "scale")


def measured_errors(data: RunData, response: str) -> tuple[Array | None, float, tuple[Note, ...]]:
    """Measured standard errors of a run: own to each point, shared by all, and notes on them.

    Returns
    -------
    se : ndarray, shape (n,), or None
        Where every usable row has one.
    shared : float
        0 where there is none.
    notes : tuple of Note
        What was not used and why.
    """
    rows = data.frame[usable_rows(data.frame, response)].sort_values("tokens", kind="stable")
    if response != "activation_ratio":
        return None, 0.0, ()
    notes = []
    se = None
    if "se" in rows and rows["se"].notna().any():
        values = rows["se"].to_numpy(dtype=float)
        # They are given for all rows or for none, and all positive or all zero (`validate`).
        if np.all(values > 0):
            se = values
    shared = 0.0
    if "se_shared" in rows and rows["se_shared"].notna().any():
        values = rows["se_shared"].to_numpy(dtype=float)
        shared = float(np.nanmedian(values))
        if np.nanmax(values) > 1.01 * np.nanmin(values):
            words = f"se_shared varies within the run: its median {shared:.3g} is used"
            notes.append(Note(words, "standard errors"))
    return se, shared, tuple(notes)


def shift_draws(law: Law, draws: Draws, shared: float, rng: np.random.Generator) -> Draws:
    """Add the error that all checkpoints share to the limit of each draw, inside its bounds."""
    if shared <= 0.0:
        return draws
    lower, upper = law.limit_bounds
    limit = truncated_normal(
        draws.limit, np.full(len(draws), shared), lower, upper, rng.random(len(draws))
    )
    return replace(draws, limit=limit)


def fit_bayes(
    table: pd.DataFrame,
    law: str | Law = "auto",
    warmup: str | float | None = "auto",
    response: str = "activation_ratio",
    likelihood: str = "auto",
    priors: Priors | Mapping[str, Any] | None = None,
    pool: str = "none",
    engine: str = "auto",
    rng: Rng = 0,
    draws: int = DRAWS,
    covariates: Sequence[str] = (),
) -> BayesFit | Fits:
    """Posterior of the law of activation sparsity for the checkpoints of one or many runs.

    Like `sf.fit`, it averages over warm-up choices and noise models by their evidence. Unlike
    `sf.fit`, every number comes from the posterior, priors are proper and can be replaced, noise
    may have heavy tails, and measured errors enter as known variances.

    Parameters
    ----------
    table : pandas.DataFrame
        Measurement table (see `sf.read_table`). A column ``se`` (own to each checkpoint) is known
        variance in the likelihood; ``se_shared`` shifts all draws of a run together.
    law, warmup, response
        As in `sf.fit`.
    likelihood : {"auto", "gaussian", "white", "ar1", "ou", "student_t"}
        Noise models averaged over. ``"auto"``: independent residuals (white), AR(1), half white
        noise and half a departure that fades over log tokens (Ornstein-Uhlenbeck), and Student-t;
        ``"gaussian"``: these without Student-t; else one kind alone.
    priors : Priors or mapping, optional
        Priors by name (``last``, ``change``, ``alpha``, ``excess``, ``sigma``), for example
        ``{"alpha": sparsefit.bayes.LogNormal(0.7, 0.8)}``; the others keep their defaults, which
        `summary` prints.
    pool : {"none", "scale"}
        Fit each run alone, or let the runs of one activation share what they say about how the law
        changes with the parameter count.
    engine : {"auto", "importance", "nuts"}
        Importance sampling from the exact flat-prior posterior, No-U-Turn sampling with PyMC, or
        the first and, where its checks fail, the second. With ``pool="scale"`` this is the engine
        of the runs alone; pooled posteriors are drawn by importance sampling.
    rng : int or numpy.random.Generator
        Seed, or a Generator that gives one. The same seed gives the same draws.
    draws : int
        Number of draws kept.
    covariates : sequence of str
        With ``pool="scale"``: columns besides ``n_params`` whose logs the law may depend on, for
        example ``("width_depth_ratio",)`` (also from ``hidden_size`` and ``n_layers``).

    Returns
    -------
    BayesFit, Fits or PooledFits
        `BayesFit` for a table of one run, `Fits` for several (`sf.as_fits` turns either into
        `Fits`). With ``pool="scale"`` `PooledFits`, whose `left_out` names the runs that cannot be
        fitted.

    Raises
    ------
    TableError
        Lists every fault of the table.
    FitError
        If a run has too few points or no trend at all; with ``pool="scale"``, if that is true of
        all runs.
    ArgumentError
        If an argument is outside what the call accepts.
    MissingDependencyError
        If ``engine="nuts"`` and PyMC is not installed.
    """
    check_choice("likelihood", likelihood, LIKELIHOODS)
    check_choice("pool", pool, POOLS)
    check_choice("engine", engine, ENGINES)
    draws = check_whole("draws", draws, 400)
    if isinstance(covariates, str) or not isinstance(covariates, Sequence):
        raise ArgumentError(
            f"covariates must be a sequence of column names, got {quoted(covariates)}"
        )
    if covariates and pool != "scale":
        raise ArgumentError("covariates need pool='scale': a run alone does not depend on them")
    runs, seed = check_call(table, response), seed_of(rng)
    by_name = {data.run: data for data in runs}

    def alone(run: str) -> BayesFit:
        return fit_run_bayes(
            by_name[run], law, warmup, response, likelihood, priors, engine, seed, draws
        )

    if pool == "scale":
        from sparsefit.bayes.pooled_result import PooledFits
        from sparsefit.bayes.pooling import covariate_values, pool_fits

        names = ("n_params", *(name for name in covariates if name != "n_params"))
        for data in runs:
            # A missing column is said before anything is fitted.
            covariate_values(data, names)
        found, left_out = each_run(by_name, alone)
        if not found:
            raise FitError("; ".join(left_out.values()))
        pooled = pool_fits(found, names, seed)
        return PooledFits(dict(pooled), left_out, alone=found, covariates=names, seed=seed)
    fits = {run: alone(run) for run in by_name}
    return next(iter(fits.values())) if len(fits) == 1 else Fits(dict(fits))


def fit_run_bayes(
    data: RunData,
    law: str | Law,
    warmup: str | float | None,
    response: str,
    likelihood: str,
    priors: Priors | Mapping[str, Any] | None,
    engine: str,
    seed: int,
    size: int,
) -> BayesFit:
    """Fit one run; see `fit_bayes`."""
    candidates, reason = candidate_laws(data, law, response)
    se, shared, notes = measured_errors(data, response)
    tried: list[tuple[Sampled, str]] = []
    generator = np.random.default_rng(seed)
    for candidate in candidates:
        check_points(data, candidate)
        drops, rule = warmup_rule(data, candidate, warmup)
        model = build_model(
            candidate, data.points, drops, likelihood, check_priors(candidate, priors), se
        )
        # Only importance sampling gives the evidence that laws are compared by.
        first = "importance" if len(candidates) > 1 else engine
        tried.append((sample_model(model, first, generator, size), rule))
    tried.sort(key=lambda item: -item[0].log_evidence)
    sampled, rule = tried[0]
    if len(tried) > 1:
        odds = sampled.log_evidence - tried[1][0].log_evidence
        reason = f"by evidence: {odds:.1f} nats above {tried[1][0].model.law.name}"
        if engine == "nuts" or (engine == "auto" and not sampled.sampling.reliable):
            again = sample_model(sampled.model, engine, generator, size)
            sampled = replace(again, log_evidence=sampled.log_evidence)
    errors = (se, shared)
    return finish(data, sampled, reason, rule, likelihood, errors, seed, notes, generator)


def finish(
    data: RunData,
    sampled: Sampled,
    reason: str,
    rule: str,
    likelihood: str,
    errors: tuple[Array | None, float],
    seed: int,
    notes: tuple[Note, ...],
    generator: np.random.Generator,
) -> BayesFit:
    """Assemble the result of one run; `errors` are those of its points, own and shared."""
    model = sampled.model
    # Numbers of points left out count from the first of the run.
    measured = replace(sampled.draws, drop=sampled.draws.drop + model.left_out)
    sampled = replace(sampled, draws=measured)
    se, shared = errors
    shifted = shift_draws(model.law, sampled.draws, shared, generator)
    summary = averaged(sampled, shifted)
    drop = int(summary.drops[int(np.argmax(summary.drop_weight))])
    best = fit_least_squares(model.law, data.points.since(drop))
    found = fit_notes(data, model.law, best, summary, drop, rule)
    summary, rounded = allowing_for_rounding(model.law, data.points, best, drop, summary, generator)
    found = (*found, *rounded)
    if not sampled.sampling.reliable:
        found = (Note(sampled.sampling.sentence, "sampler"), *found)
    return BayesFit(
        run=data.run,
        law=model.law,
        law_reason=reason,
        frame=data.frame,
        points=data.points,
        n_warmup=drop,
        warmup=rule,
        least_squares=best,
        averaged=summary,
        method="fit_bayes",
        robust=False,
        n_params=data.n_params,
        notes=(*found, *notes),
        seed=seed,
        provenance=provenance(seed=seed),
        posterior=Posterior(
            priors=model.priors,
            likelihood=likelihood,
            sampling=sampled.sampling,
            measured=sampled.draws,
            se=se,
            se_shared=shared,
            population=model.population,
        ),
    )


def rebuild(fit: BayesFit, sampled: Sampled, notes: tuple[Note, ...]) -> BayesFit:
    """The same run with another posterior (a pooled one)."""
    data = RunData(fit.run, fit.frame, fit.points, None, fit.n_params)
    posterior = fit.posterior
    generator = np.random.default_rng([fit.seed, 8])
    _, _, measured = measured_errors(data, fit.response)
    return finish(
        data,
        sampled,
        fit.law_reason,
        fit.warmup,
        posterior.likelihood,
        (posterior.se, posterior.se_shared),
        fit.seed,
        (*measured, *notes),
        generator,
    )
