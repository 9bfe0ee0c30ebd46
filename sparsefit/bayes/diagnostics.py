"""Diagnostics of a Bayesian fit: the sampler, the priors, the residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from sparsefit.bayes.sensitivity import power_scaling
from sparsefit.bayes.text import likelihood_weights
from sparsefit.display import facts_html
from sparsefit.records import records
from sparsefit.results.diagnostics import diagnose, residual_facts

if TYPE_CHECKING:
    from sparsefit.bayes.result import BayesFit


@dataclass(frozen=True, repr=False)
class BayesDiagnostics:
    """Checks of one Bayesian fit.

    Attributes
    ----------
    engine : str
        Engine that made the draws.
    reliable : bool
        Whether all of the sampler's checks passed.
    problems : tuple of str
        Why not.
    khat, ess, rhat, divergences
        See `posterior.Sampling`; None where the engine has no such check.
    likelihoods : dict
        Posterior probability of each kind of noise.
    sensitivity : pandas.DataFrame
        Power-scaling sensitivity to each prior and the likelihood, see `sensitivity`.
    lag1, durbin_watson, ljung_box_p, spread_slope, spread_p, largest_standardised : float
        Residual diagnostics as in `results.diagnostics.Diagnostics`.
    sentences : tuple of str
        The same in words.
    """

    engine: str
    reliable: bool
    problems: tuple[str, ...]
    khat: float | None
    ess: float
    rhat: float | None
    divergences: int | None
    likelihoods: dict[str, float]
    sensitivity: pd.DataFrame
    lag1: float
    durbin_watson: float
    ljung_box_p: float
    spread_slope: float
    spread_p: float
    largest_standardised: float
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary."""
        return {
            **vars(self),
            "likelihoods": dict(self.likelihoods),
            "problems": list(self.problems),
            "sentences": list(self.sentences),
            "sensitivity": self.sensitivity.to_dict(orient="records"),
        }

    def __repr__(self) -> str:
        state = "reliable" if self.reliable else f"NOT RELIABLE: {'; '.join(self.problems)}"
        return f"BayesDiagnostics({self.engine}, {state}, effective sample {self.ess:.0f})"

    def _repr_html_(self) -> str:
        checks = {
            "engine": self.engine,
            "reliable": "yes" if self.reliable else "no",
            "Pareto k-hat": self.khat,
            "R-hat": self.rhat,
            "divergences": self.divergences,
            **residual_facts(self),
        }
        return facts_html("Diagnostics", checks, [*self.problems, *self.sentences])


def diagnose_bayes(fit: BayesFit) -> BayesDiagnostics:
    """See `BayesFit.diagnostics`."""
    sampling = fit.posterior.sampling
    residual = diagnose(fit)
    sensitivity = power_scaling(fit)
    strong = sensitivity[sensitivity["verdict"] == "prior matters"]
    words = [f"{row.quantity} ({row.prior})" for row in records(strong)]
    sentences = [sampling.sentence[0].upper() + sampling.sentence[1:] + "."]
    sentences.append(
        "The prior matters for " + ", ".join(words) + "."
        if words
        else "No prior matters much for the limit, alpha or the forecast."
    )
    values = {f: getattr(residual, f) for f in _RESIDUAL}
    return BayesDiagnostics(
        engine=sampling.engine,
        reliable=sampling.reliable,
        problems=sampling.problems,
        khat=sampling.khat,
        ess=sampling.ess,
        rhat=sampling.rhat,
        divergences=sampling.divergences,
        likelihoods=likelihood_weights(fit),
        sensitivity=sensitivity,
        sentences=(*sentences, *residual.sentences),
        **values,
    )


_RESIDUAL = (
    "lag1",
    "durbin_watson",
    "ljung_box_p",
    "spread_slope",
    "spread_p",
    "largest_standardised",
)
