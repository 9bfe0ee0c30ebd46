"""The Bayesian part of a fit as JSON."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from sparsefit.bayes.population import Located, Population
from sparsefit.bayes.posterior import Posterior, Sampling
from sparsefit.bayes.priors import Priors
from sparsefit.bayes.result import BayesFit
from sparsefit.results.serialize import by_run, fit_to_dict, pack, unpack

if TYPE_CHECKING:
    from sparsefit.bayes.pooled_result import PooledFits
    from sparsefit.results.fit import Fit


def posterior_to_dict(fit: Fit) -> dict[str, Any]:
    """What a `BayesFit` holds beyond a `Fit`, JSON-ready."""
    posterior = cast(BayesFit, fit).posterior
    # The limit is the only part of the draws that an error shared by all points moves.
    return {
        "priors": posterior.priors.to_dict(),
        "likelihood": posterior.likelihood,
        "sampling": {
            # JSON has no infinity: -inf says that all weights are equal, inf that there is no tail.
            name: str(value) if isinstance(value, float) and abs(value) == float("inf") else value
            for name, value in asdict(posterior.sampling).items()
        },
        "measured_limit": pack(posterior.measured.limit),
        "se": None if posterior.se is None else pack(posterior.se),
        "se_shared": posterior.se_shared,
        "population": None
        if posterior.population is None
        else {
            **posterior.population.population.to_dict(),
            "row": posterior.population.row.tolist(),
        },
    }


def bayes_fit_from(fit: Fit, plain: dict[str, Any]) -> BayesFit:
    """`BayesFit` from its `Fit` and the output of `posterior_to_dict`."""
    draws = fit.averaged.draws
    sampling: dict[str, Any] = {
        name: float(value) if isinstance(value, str) and name != "engine" else value
        for name, value in plain["sampling"].items()
    }
    posterior = Posterior(
        priors=Priors.from_dict(plain["priors"]),
        likelihood=plain["likelihood"],
        sampling=Sampling(**sampling),
        measured=replace(draws, limit=unpack(plain["measured_limit"])),
        se=None if plain["se"] is None else unpack(plain["se"]),
        se_shared=plain["se_shared"],
        population=_located(plain["population"]),
    )
    inherited = {f.name: getattr(fit, f.name) for f in fields(fit)}
    return BayesFit(**inherited, posterior=posterior)


def pooled_to_dict(fits: PooledFits) -> dict[str, Any]:
    """What `PooledFits` hold beyond `Fits`, JSON-ready.

    The populations are not among it: they follow from the fits alone and the seed.
    """
    return {
        "alone": [fit_to_dict(fit) for fit in fits.alone.values()],
        "covariates": list(fits.covariates),
        "seed": fits.seed,
    }


def pooled_fits_from(
    fits: dict[str, Fit], left_out: dict[str, str], plain: dict[str, Any]
) -> PooledFits:
    """`PooledFits` from their fits and the output of `pooled_to_dict`."""
    from sparsefit.bayes.pooled_result import PooledFits

    return PooledFits(
        fits,
        left_out,
        alone=cast("dict[str, BayesFit]", by_run(plain["alone"])),
        covariates=tuple(plain["covariates"]),
        seed=plain["seed"],
    )


def _located(plain: dict[str, Any] | None) -> Located | None:
    if plain is None:
        return None
    return Located(Population.from_dict(plain), np.array(plain["row"]))
