"""Fits that share what they say about scale, and forecasts of scales without data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sparsefit import checks
from sparsefit.bayes.pooling import covariate_values, group_key, learn
from sparsefit.bayes.population import Population, to_theta
from sparsefit.bayes.result import BayesFit
from sparsefit.counts import count_text
from sparsefit.display import facts_html
from sparsefit.errors import ArgumentError, quoted
from sparsefit.laws import TOKENS_PER_UNIT, Law
from sparsefit.records import records
from sparsefit.results.bands import forecast_table, within_range
from sparsefit.results.budgets import tokens_to_unseen, tokens_within_unseen
from sparsefit.results.estimates import Budget, Limit, identification
from sparsefit.results.fits import Fits
from sparsefit.seeds import Rng, seed_of

Array = NDArray[np.float64]

# Runs drawn for a new scale; those that break physics are replaced.
_DRAWS = 4000


@dataclass(frozen=True, eq=False, repr=False)
class PooledFits(Fits):
    """Fits of runs, each under the prior that the other runs of its law and activation predict.

    Attributes
    ----------
    fits : dict
        Run name to pooled `BayesFit`.
    left_out : mapping
        Runs that could not be fitted, and why.
    alone : mapping
        The same runs fitted alone.
    covariates : tuple of str
        Columns whose logs the law may depend on.
    seed : int
        Seed of the draws.
    """

    alone: Mapping[str, BayesFit] = field(default_factory=dict)
    covariates: tuple[str, ...] = ("n_params",)
    seed: int = 0

    @cached_property
    def populations(self) -> dict[tuple[str, str], Population]:
        """Population learnt from all runs of each (law, activation)."""
        groups: dict[tuple[str, str], list[BayesFit]] = {}
        for fit in self.alone.values():
            groups.setdefault(group_key(fit), []).append(fit)
        rng = np.random.default_rng([self.seed, 9])
        return {key: learn(runs, self.covariates, rng)[0] for key, runs in groups.items()}

    def _group(self, activation: str | None) -> tuple[str, str]:
        keys = list(self.populations)
        # Where the table names no activation, the law tells the kinds apart.
        names = ", ".join(repr(kind or law) for law, kind in keys)
        if activation is None:
            if len(keys) == 1:
                return keys[0]
            raise ArgumentError(
                f"these runs are of several kinds; name one with activation=: {names}"
            )
        for key in keys:
            if str(activation).lower() in key:
                return key
        raise ArgumentError(f"no run has activation {quoted(activation)}; there are {names}")

    def predict_scale(
        self,
        n_params: float,
        activation: str | None = None,
        covariates: Mapping[str, float] | None = None,
        rng: Rng | None = None,
    ) -> ScaleForecast:
        """Forecast a run of a size that has no data.

        Parameters
        ----------
        n_params : float
            Non-embedding parameters of the new run.
        activation : str, optional
            Which runs to learn from, where the table holds several activations (of runs without
            one, the name of their law).
        covariates : mapping, optional
            Other covariates of the new run, where the fit used any.
        rng : int or numpy.random.Generator, optional
            Seed; that of the fit by default.

        Returns
        -------
        ScaleForecast
            Its `notes` say how far the size lies outside of those of the runs.

        Raises
        ------
        ArgumentError
            For a size that is not a positive number, or a covariate that the fit did not use.
        """
        key = self._group(activation)
        population = self.populations[key]
        given = {"n_params": n_params, **dict(covariates or {})}
        unused = sorted(set(given) - set(population.covariates) - {"n_params"})
        if unused:
            raise ArgumentError(
                f"covariates: the fit does not use {', '.join(map(quoted, unused))}; it uses "
                + ", ".join(map(repr, population.covariates))
            )
        known = {name: checks.check_positive(name, value) for name, value in given.items()}
        row = population.design(known)
        runs = [fit for fit in self.alone.values() if group_key(fit) == key]
        law = runs[0].law
        generator = np.random.default_rng([self.seed if rng is None else seed_of(rng), 10])
        spans = np.array([fit.points.span for fit in runs])
        d_first, d_last = float(spans[:, 0].min()), float(np.median(spans[:, 1]))
        theta, sigma = _physical(law, population, row, d_first, generator)
        of_runs = [covariate_values(fit, population.covariates) for fit in runs]
        seen = {
            name: (min(values[name] for values in of_runs), max(v[name] for v in of_runs))
            for name in population.covariates
        }
        return ScaleForecast(law, known, population, theta, sigma, d_first, d_last, len(runs), seen)

    def scale_trend(self, level: float = 0.9) -> pd.DataFrame:
        """How each feature moves with log N: does the limit depend on scale (Fig. 7)?

        Returns
        -------
        pandas.DataFrame
            One row per group, feature and covariate: ``law``, ``activation``, ``feature``,
            ``covariate``, ``slope`` (posterior median per unit of the logged covariate), ``lower``,
            ``upper``, ``probability_positive``, ``n_runs`` and a ``sentence``.
        """
        tail = (1.0 - checks.check_level(level)) / 2.0
        rows = []
        for (law, activation), population in self.populations.items():
            for f, feature in enumerate(population.names):
                for c, covariate in enumerate(population.covariates):
                    slope = population.coefficients[:, f, 1 + c]
                    low, middle, high = np.quantile(slope, [tail, 0.5, 1 - tail])
                    rows.append(
                        {
                            "law": law,
                            "activation": activation,
                            "feature": feature,
                            "covariate": covariate,
                            "slope": float(middle),
                            "lower": float(low),
                            "upper": float(high),
                            "probability_positive": float(np.mean(slope > 0)),
                            "n_runs": len(population.runs),
                            "sentence": _trend_sentence(
                                feature, covariate, low, middle, high, level, len(population.runs)
                            ),
                        }
                    )
        return pd.DataFrame(rows)

    def limit_trend(self, level: float = 0.9) -> str:
        """Does the limit depend on the parameter count? One sentence a group."""
        table = self.scale_trend(level)
        chosen = table[table["feature"].str.contains("limit") & (table["covariate"] == "n_params")]
        return "\n".join(f"{row.activation or row.law}: {row.sentence}" for row in records(chosen))

    def summary(self, level: float = 0.9) -> str:
        """Plain-text summaries of all runs, and how the limit moves with scale."""
        return f"{super().summary(level)}\n\n{self.limit_trend(level)}"

    def to_json(self, path: Any = None) -> str:
        """Write the fits, pooled and alone, as JSON; `sf.load_fit` reads them back."""
        from sparsefit.bayes.serialize import pooled_to_dict
        from sparsefit.results.serialize import dump_fits

        return dump_fits(self, path, pooled_to_dict(self))


def _trend_sentence(
    feature: str, covariate: str, low: float, middle: float, high: float, level: float, runs: int
) -> str:
    what = feature.removeprefix("logit ").removeprefix("log ")
    band = f"{100 * level:g}% interval {_percent(low)} to {_percent(high)}"
    change = f"ten times the {covariate} change it by {_percent(middle)} ({band}; {runs} runs)"
    if low > 0 or high < 0:
        return f"The {what} {'grows' if middle > 0 else 'falls'} with scale: {change}."
    return f"No dependence of the {what} on scale is shown: {change}."


def _percent(slope: float) -> str:
    return f"{100 * np.expm1(slope * np.log(10)):+.0f}%"


def _physical(
    law: Law, population: Population, row: Array, d_first: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Coefficients and noise scales of new runs whose law stays physical from `d_first` on."""
    theta, sigma = [], []
    found = 0
    for _ in range(50):
        z = population.draw(row, _DRAWS, rng)
        low, high = np.log(law.alpha_bounds)
        # First, as powers of D overflow with exponents far outside of the bounds.
        z = z[(z[:, -2] >= low) & (z[:, -2] <= high)]
        # A wild draw's amplitude overflows as well, and is then not physical.
        with np.errstate(over="ignore", invalid="ignore"):
            new = to_theta(law, population.d_ref, z)
            start = law.value(np.array([d_first]), new)[:, 0]
        good = np.isfinite(new).all(axis=1)
        good &= (start > 0) & (start < (1.0 if law.response == "activation_ratio" else np.inf))
        theta.append(new[good])
        sigma.append(np.exp(z[good, -1]))
        found += int(good.sum())
        if found >= _DRAWS:
            break
    if found < _DRAWS:
        raise ArgumentError(
            f"the trend over scale predicts physical laws in only {found} of {50 * _DRAWS} draws: "
            "the size asked for is too far from the runs given"
        )
    return np.concatenate(theta)[:_DRAWS], np.concatenate(sigma)[:_DRAWS]


@dataclass(frozen=True, eq=False, repr=False)
class ScaleForecast:
    """Posterior predictive distribution of a run of a new size.

    Attributes
    ----------
    law : Law
        Law.
    covariates : mapping
        Parameter count and other covariates of the new run.
    population : Population
        What it was learnt from.
    theta : ndarray, shape (m, p)
        Draws of the coefficients.
    sigma : ndarray, shape (m,)
        Draws of the noise scale at the population's reference D.
    d_first, d_last : float
        Earliest first and typical last D of the runs learnt from, billions of tokens.
    n_runs : int
        Number of runs learnt from.
    seen : mapping
        Least and greatest value of each covariate among these runs.
    """

    law: Law
    covariates: Mapping[str, float]
    population: Population
    theta: Array
    sigma: Array
    d_first: float
    d_last: float
    n_runs: int
    seen: Mapping[str, tuple[float, float]]

    @property
    def beyond(self) -> dict[str, float]:
        """Factor by which each covariate lies above or below those of the runs learnt from.

        Only what lies outside is listed: above 1 over the greatest value, below 1 under the least.
        """
        found = {}
        for name, (least, greatest) in self.seen.items():
            value = self.covariates[name]
            factor = value / greatest if value > greatest else min(value / least, 1.0)
            if factor != 1.0:
                found[name] = factor
        return found

    @property
    def too_far(self) -> bool:
        """Whether a covariate lies further outside than the runs reach from end to end."""
        return any(
            max(factor, 1.0 / factor) > self.seen[name][1] / self.seen[name][0]
            for name, factor in self.beyond.items()
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: how far outside of the runs' sizes this is, and how few."""
        said = []
        for name, factor in self.beyond.items():
            least, greatest = self.seen[name]
            far = f"{count_text(factor)} times the greatest"
            if factor < 1.0:
                far = f"{count_text(1.0 / factor)} times smaller than the least"
            span = greatest / least
            said.append(
                f"{name} {count_text(self.covariates[name])} is {far} of the runs learnt from "
                f"({count_text(least)} to {count_text(greatest)}, a factor of {count_text(span)}): "
                f"the straight lines in log {name} are taken to go on as far, which no run checks"
            )
        if self.n_runs < 3:
            runs = f"{self.n_runs} run{'s' * (self.n_runs != 1)}"
            said.append(f"{runs} hardly tell a trend; its prior decides much of this")
        return tuple(said)

    def limit(self, level: float = 0.9) -> Limit:
        """Limit of the new run; its `kind` says where the size is outside of the runs' sizes.

        Where it is `too_far`, no run bounds it: not identified.
        """
        tail = (1.0 - checks.check_level(level)) / 2.0
        lower, middle, upper = np.quantile(self.law.limit(self.theta), [tail, 0.5, 1 - tail])
        bounds = self.law.limit_bounds
        if self.too_far:
            lower, upper = bounds
        return Limit(
            float(middle),
            float(lower),
            float(upper),
            identification(float(lower), float(upper), bounds),
            level,
            "extrapolated posterior predictive" if self.beyond else "posterior predictive",
            self.law.response,
            bounds,
        )

    def tokens_to(
        self,
        activation_ratio: float | None = None,
        sparsity: float | None = None,
        loss: float | None = None,
        level: float = 0.9,
    ) -> Budget:
        """Training tokens until a target is met, arguments as in `Fit.tokens_to`.

        Where the size is `too_far`, no run bounds it: open above.
        """
        checks.check_level(level)
        found = tokens_to_unseen(
            self.law, self.theta, self.d_first, activation_ratio, sparsity, loss, level
        )
        return self._open_where_too_far(found)

    def tokens_within(self, share: float = 0.05, level: float = 0.9) -> Budget:
        """Training tokens to within a share of the limit, arguments as in `Fit.tokens_within`."""
        checks.check_level(level)
        found = tokens_within_unseen(self.law, self.theta, self.d_first, share, level)
        return self._open_where_too_far(found)

    def _open_where_too_far(self, found: Budget) -> Budget:
        if not self.too_far or found.status == "unreachable":
            return found
        return replace(found, upper=math.inf, status="undetermined")

    def simulate(self, tokens: ArrayLike, kind: str = "observation", rng: Rng = 0) -> Array:
        """Draws of the curve or of independent new measurements, shape (m, n)."""
        checks.check_choice("kind", kind, ("curve", "observation"))
        d = checks.check_tokens(tokens) / TOKENS_PER_UNIT
        values = self.law.value(d, self.theta)
        if kind == "observation":
            generator = np.random.default_rng(seed_of(rng))
            values = values + self.sigma[:, None] * generator.standard_normal(values.shape)
        return within_range(self.law.response, values)

    def forecast(self, tokens: ArrayLike, level: float = 0.9) -> pd.DataFrame:
        """Forecast at raw token counts, arguments and columns as in `Fit.forecast`."""
        level = checks.check_level(level)
        counts = checks.check_tokens(tokens)
        checks.check_ahead(counts, self.d_first * TOKENS_PER_UNIT)
        curve = self.simulate(counts, "curve")
        seen = self.simulate(counts, "observation")
        return forecast_table(counts, curve, seen, level)

    def summary(self, level: float = 0.9) -> str:
        """Plain text."""
        size = ", ".join(f"{name} {value:.3g}" for name, value in self.covariates.items())
        lines = [
            f"New run ({size}), no data: {self.law.equation}",
            f"  learnt from {', '.join(self.population.runs)}",
            f"  {self.limit(level).sentence}",
        ]
        return "\n".join([*lines, *(f"  note: {note}" for note in self.notes)])

    def __repr__(self) -> str:
        return f"<ScaleForecast: {self.law.name}, {self.limit()!r}>"

    def _repr_html_(self) -> str:
        size = {"law": self.law.name, "runs learnt from": self.n_runs, **self.covariates}
        return facts_html("Forecast of a new size", size, [self.limit().sentence, *self.notes])
