"""`BayesFit`: the verbs of `Fit`, from posterior draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sparsefit import checks
from sparsefit.bayes.posterior import Posterior
from sparsefit.estimation.predictive import observations
from sparsefit.results.bands import within_range
from sparsefit.results.estimates import Limit
from sparsefit.results.fit import Fit
from sparsefit.results.limits import limit_from, opened
from sparsefit.seeds import Rng, seed_of

if TYPE_CHECKING:
    from sparsefit.bayes.diagnostics import BayesDiagnostics
    from sparsefit.bayes.importance import Model

Array = NDArray[np.float64]

_INTERVALS = ("posterior", "integrated")


@dataclass(frozen=True, eq=False, repr=False)
class BayesFit(Fit):
    """Posterior of a law's parameters for one run.

    The verbs are those of `Fit`; coefficients are posterior medians, `predict` is the posterior
    mean curve, intervals are equal-tailed posterior quantiles. Where the limit's interval reaches a
    physical bound, bands and budgets contain more, as those of `Fit` do.

    Attributes
    ----------
    posterior : Posterior
        Priors, likelihood, engine and its checks; the attributes of `Fit` come first.
    """

    posterior: Posterior

    @property
    def reliable(self) -> bool:
        """Whether every check of the sampler passed (see `diagnostics`)."""
        return self.posterior.sampling.reliable

    @property
    def priors(self) -> tuple[str, ...]:
        """The priors, one line each."""
        from sparsefit.bayes.importance import EXCHANGEABLE

        located = self.posterior.population
        if located is None:
            return self.posterior.priors.text(self.law)
        population = located.population
        return (
            f"with probability {EXCHANGEABLE:g}, {', '.join(population.names)} as "
            f"{', '.join(population.runs)} predict for this run: lines in "
            f"log {', log '.join(population.covariates)} and the spread of runs about them",
            "otherwise those of a run alone:",
            *self.posterior.priors.text(self.law),
        )

    @property
    def model(self) -> Model:
        """The posterior as a function of draws, to weigh or check them."""
        from sparsefit.bayes.engine import posterior_model

        return posterior_model(
            self.law,
            self.points,
            self.averaged.drops,
            self.averaged.noises,
            self.posterior.priors,
            self.posterior.se,
            self.posterior.population,
        )

    # Coefficients ---------------------------------------------------------------------------

    @property
    def _theta(self) -> Array:
        return np.median(self.averaged.draws.theta(self.law), axis=0)

    @property
    def bse(self) -> pd.Series:
        """Posterior standard deviations of the coefficients."""
        sd = self.averaged.draws.theta(self.law).std(axis=0, ddof=1)
        return pd.Series(sd, index=list(self.law.parameter_names), name=self.run)

    def conf_int(self, level: float = 0.9, method: str = "posterior", rng: Rng = 0) -> pd.DataFrame:
        """Equal-tailed posterior intervals of the coefficients.

        Parameters
        ----------
        level : float
            Probability inside.
        method : {"posterior"}
            Only the posterior; the intervals of least squares belong to `sf.fit`.
        rng : int or numpy.random.Generator
            Not used.

        Returns
        -------
        pandas.DataFrame
            One row per coefficient, columns ``lower`` and ``upper``.
        """
        checks.check_choice("method", method, _INTERVALS)
        tail = (1.0 - checks.check_level(level)) / 2.0
        ends = np.quantile(self.averaged.draws.theta(self.law), [tail, 1 - tail], axis=0).T
        ends[-1] = opened(self, self._limit_ends(level))
        return pd.DataFrame(ends, index=list(self.law.parameter_names), columns=["lower", "upper"])

    # Curves ---------------------------------------------------------------------------------

    def predict(self, tokens: ArrayLike) -> Array:
        """Posterior mean curve at raw token counts, shape (n,)."""
        return np.asarray(self.averaged.draws.curve(self.law, self._billions(tokens)).mean(axis=0))

    def simulate(
        self, tokens: ArrayLike, kind: str = "observation", rng: Rng | None = None
    ) -> Array:
        """Draws of the curve or of new measurements, see `Fit.simulate`.

        A new measurement repeats the error that all checkpoints share and has an error of its own
        like the last one's, where these were measured.
        """
        checks.check_choice("kind", kind, checks.SIMULATED)
        if kind == "curve":
            return super().simulate(tokens, kind, rng)
        d = self._billions(tokens)
        if kind == "measured":
            return within_range(self.response, self.posterior.measured.curve(self.law, d))
        generator = np.random.default_rng(self.seed if rng is None else seed_of(rng))
        model, se = self.model, self.posterior.se
        values = observations(
            self.law,
            model.points,
            self.averaged.noises,
            self.posterior.measured,
            d,
            generator,
            errors=se,
        )
        if se is not None:
            values = values + float(se[-1]) * generator.standard_normal(values.shape)
        return within_range(self.response, values)

    def _mean_measured(self, tokens: Array) -> Array | None:
        return self.simulate(tokens, "measured") if self.posterior.se_shared else None

    def _fitted(self, d: Array) -> Array:
        # With the error that all checkpoints share, which is in every point.
        return np.asarray(self.posterior.measured.curve(self.law, d).mean(axis=0))

    # Limit ----------------------------------------------------------------------------------

    def _limit_ends(self, level: float) -> tuple[float, float]:
        tail = (1.0 - level) / 2.0
        lower, upper = np.quantile(self.averaged.draws.limit, [tail, 1 - tail])
        # A prior keeps every draw off the bounds: whether the data do is the likelihood's to say,
        # and with half the error, as a posterior that ends short of a bound states the stronger.
        seen = self.averaged.likelihood.interval((1.0 + level) / 2.0)
        low, high = self.law.limit_bounds
        if seen[0] <= low + 1e-9:
            lower = low
        if seen[1] >= high - 1e-9:
            upper = high
        return float(lower), float(upper)

    def _level_reaching(self, end: int) -> float:
        # The level at which `_limit_ends` asks the likelihood, solved for its own.
        return max(2.0 * self.averaged.likelihood.level_reaching(end) - 1.0, 0.0)

    def limit(self, level: float = 0.9, method: str = "posterior", rng: Rng = 0) -> Limit:
        """Posterior of the limit.

        Parameters
        ----------
        level : float
            Probability inside.
        method : {"posterior"}
            Only the posterior.
        rng : int or numpy.random.Generator
            Not used.

        Returns
        -------
        Limit
            Posterior median and equal-tailed interval. Where the likelihood alone, with the prior
            of the limit divided out, does not exclude a physical bound, the interval ends there
            and says that the data do not bound that side. The runs that a pooled run learns
            from count as data. Where the law does not describe the run
            (`Fit.misfit`), it holds all that is possible.
        """
        return limit_from(self, self.conf_int(level, method, rng), level, "posterior")

    # Checks and output ----------------------------------------------------------------------

    def diagnostics(self) -> BayesDiagnostics:  # type: ignore[override]
        """Engine, k-hat, effective sample size, R-hat, prior sensitivity, residuals."""
        from sparsefit.bayes.diagnostics import diagnose_bayes

        return diagnose_bayes(self)

    def to_arviz(self) -> Any:
        """Posterior, prior, predictive draws and log likelihood for ArviZ.

        An `arviz.InferenceData`, or from ArviZ 1 on an `xarray.DataTree`, with the same groups.

        Raises
        ------
        MissingDependencyError
            If ArviZ is not installed.
        """
        from sparsefit.bayes.to_arviz import inference_data

        return inference_data(self)

    def glance(self, level: float = 0.9) -> pd.DataFrame:
        """One row about the whole fit, with the sampler's checks."""
        sampling = self.posterior.sampling
        residuals = self.residuals()
        out = super().glance(level).drop(columns=["aicc", "bic", "bounds_hit", "edge_form"])
        return out.assign(
            ssr=float(np.sum(residuals**2)),
            engine=sampling.engine,
            reliable=sampling.reliable,
            ess=sampling.ess,
            khat=np.nan if sampling.khat is None else sampling.khat,
            rhat=np.nan if sampling.rhat is None else sampling.rhat,
        )

    def summary(self, level: float = 0.9) -> str:
        """Plain-text summary with priors, likelihood weights and the sampler's checks."""
        from sparsefit.bayes.text import summary

        return summary(self, checks.check_level(level))

    def __repr__(self) -> str:
        warn = "" if self.reliable else ", NOT RELIABLE"
        return f"<BayesFit {self.run!r}: {self.law.name}, {self.limit()!r}{warn}>"

    def _repr_html_(self) -> str:
        from html import escape

        sentence = escape(self.posterior.sampling.sentence)
        return f"{super()._repr_html_()}<p>{sentence}</p>"
