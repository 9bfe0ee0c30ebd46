"""The fit of one run: frozen, with every verb that users call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from sparsefit import checks
from sparsefit.estimation.predictive import observations
from sparsefit.results import text
from sparsefit.results.bands import EdgeDraws, forecast_table, within_range
from sparsefit.results.estimates import Budget, Limit
from sparsefit.results.fitted_curve import FittedCurve
from sparsefit.results.limits import AVERAGED, edge_of, holding, limit_from, opened
from sparsefit.seeds import Rng, seed_of

if TYPE_CHECKING:
    from pathlib import Path

    from sparsefit.results.diagnostics import Diagnostics

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Fit(FittedCurve):
    """Fit of a law to one run.

    The coefficients (`params`, `predict`) are those of the least-squares fit to the points after
    the first `n_warmup`. Limits, forecasts, budgets and derivatives come from draws. The draws
    average over shapes, noise models and warm-up choices by evidence, because a single
    least-squares curve hides how much these matter.

    Attributes
    ----------
    run : str
        Name of the run.
    law : Law
        Law fitted.
    law_reason : str
        Why this law.
    frame : pandas.DataFrame
        Every row given for the run, as validated, failed ones included.
    points : Points
        Usable points, ascending in D.
    n_warmup : int
        First points that the least-squares fit leaves out.
    warmup : str
        The warm-up rule, as asked for.
    least_squares : LeastSquares
        Least-squares fit of the points after the warm-up.
    averaged : Averaged
        Draws and weights.
    method : str
        ``"fit"`` or ``"fit_bayes"``.
    robust : bool
        Whether outliers are down-weighted.
    n_params : float or None
        Non-embedding parameters of the model.
    notes : tuple of str
        What a reader should know: coefficients on a bound, points set aside, a law that does not
        describe the data. Each is a `Note`, a sentence with a `kind` that programs can test.
    seed : int
        Seed of the draws.
    provenance : dict
        Versions and command behind the fit.

    Notes
    -----
    Every verb raises `ArgumentError` for an argument that it cannot use: a level outside (0, 1),
    token counts that are none or in another unit, a word that is none of its choices.
    """

    # Coefficients ---------------------------------------------------------------------------

    def conf_int(
        self, level: float = 0.9, method: str = "integrated", rng: Rng = 0
    ) -> pd.DataFrame:
        """Intervals of the coefficients.

        Parameters
        ----------
        level : float
            Confidence level.
        method : {"integrated", "profile", "wald", "bootstrap"}
            From the draws (default); by profile likelihood or curvature of the least-squares fit,
            both for independent residuals and this warm-up choice alone; or from 200 resampled
            series with blocks of residuals.
        rng : int or numpy.random.Generator
            Seed of the bootstrap, or a Generator that gives one.

        Returns
        -------
        pandas.DataFrame
            One row per coefficient, columns ``lower`` and ``upper``; the last row is the interval
            of `limit`.
        """
        from sparsefit.results.intervals import METHODS, coefficient_intervals

        level = checks.check_level(level)
        checks.check_choice("method", method, METHODS)
        ends = coefficient_intervals(self, level, method, seed_of(rng))
        ends[-1] = opened(self, holding(self, ends[-1]))
        return pd.DataFrame(ends, index=list(self.law.parameter_names), columns=["lower", "upper"])

    # Forecasts ------------------------------------------------------------------------------

    def simulate(
        self, tokens: ArrayLike, kind: str = "observation", rng: Rng | None = None
    ) -> Array:
        """Draws of the curve or of new measurements.

        Parameters
        ----------
        tokens : array_like
            Raw token counts, checked as in `forecast`.
        kind : {"curve", "measured", "observation"}
            The law's mean; the mean of new measurements, which repeats an error that all
            checkpoints share where `sf.fit_bayes` was told of one (else the same); or a
            measurement with its (correlated) residual.
        rng : int or numpy.random.Generator, optional
            Seed of the residuals, or a Generator that gives one; by default the seed of the fit.

        Returns
        -------
        ndarray, shape (draws, n)
            Inside the physical range of the response.
        """
        checks.check_choice("kind", kind, checks.SIMULATED)
        d = self._billions(tokens)
        if kind != "observation":
            values = self.averaged.draws.curve(self.law, d)
        else:
            generator = np.random.default_rng(self.seed if rng is None else seed_of(rng))
            values = observations(
                self.law, self.points, self.averaged.noises, self.averaged.draws, d, generator
            )
        return within_range(self.response, values)

    def forecast(self, tokens: ArrayLike, level: float = 0.9) -> pd.DataFrame:
        """Forecast at given token counts.

        Parameters
        ----------
        tokens : array_like
            Raw token counts. Counts below a thousandth of the first checkpoint's are refused,
            because they must be in another unit, such as billions.
        level : float
            Level of both bands.

        Returns
        -------
        pandas.DataFrame
            Columns ``tokens``, ``mean`` and ``median`` (of the law's curve over all draws),
            ``curve_lower``, ``curve_upper`` (band for the law's mean), ``obs_lower``, ``obs_upper``
            (band for a new measurement). The second contains the first, unless `sf.fit_bayes` was
            told of an error that all checkpoints share (``se_shared``): a new measurement repeats
            it, and only the band of the curve allows for it.
        """
        level = checks.check_level(level)
        tokens = checks.check_tokens(tokens)
        curve, seen = self.simulate(tokens, "curve"), self.simulate(tokens, "observation")
        edges = (EdgeDraws.of(edge_of(self), curve, seen),)
        return forecast_table(tokens, curve, seen, level, edges, self._mean_measured(tokens))

    def _mean_measured(self, tokens: Array) -> Array | None:
        """Draws of the mean of new measurements, where that is not the law's."""
        return None

    def derivative(
        self, tokens: ArrayLike, wrt: str = "tokens", level: float = 0.9
    ) -> pd.DataFrame:
        """Slope of the curve, with its band.

        Parameters
        ----------
        tokens : array_like
            Raw token counts, checked as in `forecast`.
        wrt : {"tokens", "data_scale_ratio", "log_tokens"}
            Per token, per (token / parameter), or per unit of log tokens.
        level : float
            Level of the band.

        Returns
        -------
        pandas.DataFrame
            Columns ``tokens``, ``data_scale_ratio`` (where the parameter count is known),
            ``estimate`` and ``median`` (both the median of the draws), ``lower``, ``upper``.

        Raises
        ------
        ArgumentError
            If ``wrt="data_scale_ratio"`` and the table has no ``n_params``.
        """
        from sparsefit.results.slopes import slopes

        checks.check_choice("wrt", wrt, checks.WRT)
        return slopes(self, self._billions(tokens), wrt, checks.check_level(level))

    # Limit and budget -----------------------------------------------------------------------

    def limit(self, level: float = 0.9, method: str = "integrated", rng: Rng = 0) -> Limit:
        """Limit of the curve, its interval, and whether the data identify it.

        Parameters
        ----------
        level : float
            Confidence level.
        method : {"integrated", "profile", "wald", "bootstrap"}
            See `conf_int`; the default integrates over shapes, noise models and warm-up choices.
        rng : int or numpy.random.Generator
            Seed of the bootstrap, or a Generator that gives one.
        """
        kind = AVERAGED if method == "integrated" else method
        return limit_from(self, self.conf_int(level, method, rng), level, kind)

    def _level_reaching(self, end: int) -> float:
        """Level from which on the interval of `limit` ends on its lower (0) or upper (-1) bound."""
        return self.averaged.likelihood.level_reaching(end)

    def tokens_to(
        self,
        activation_ratio: float | None = None,
        sparsity: float | None = None,
        loss: float | None = None,
        level: float = 0.9,
    ) -> Budget:
        """Training tokens at which the curve meets a target.

        Parameters
        ----------
        activation_ratio, sparsity : float, optional
            The target, exactly one of them, as a fraction.
        loss : float, optional
            The target of a fit of the training loss, in nats per token.
        level : float
            Confidence level.
        """
        from sparsefit.results.budgets import tokens_to

        return tokens_to(self, activation_ratio, sparsity, loss, checks.check_level(level))

    def tokens_within(self, share: float = 0.05, level: float = 0.9) -> Budget:
        """Training tokens after which the curve stays within a share of its limit.

        Use it to compare how fast loss and sparsity converge.

        Parameters
        ----------
        share : float
            Distance from the limit as a share of the limit (0.05 for 5%).
        level : float
            Confidence level.
        """
        from sparsefit.results.budgets import tokens_within

        return tokens_within(self, share, checks.check_level(level))

    # Warm-up and diagnostics ----------------------------------------------------------------

    def points_table(self) -> pd.DataFrame:
        """Every row given, with what the fit did with it.

        Returns
        -------
        pandas.DataFrame
            Columns ``run``, ``tokens``, the response, ``role`` (used, warm-up, failed),
            ``warmup_probability`` (weight of the choices that leave the point out), ``fitted`` and
            ``residual``.
        """
        return text.points_table(self)

    def warmup_sensitivity(self, level: float = 0.9) -> pd.DataFrame:
        """Least-squares limit for every choice of warm-up.

        Parameters
        ----------
        level : float
            Level of the profile intervals.

        Returns
        -------
        pandas.DataFrame
            One row per choice: ``n_dropped``, ``first_tokens``, ``n_used``, ``limit``,
            ``limit_lower``, ``limit_upper`` (profile), ``rmse``, ``weight`` (of the choice in the
            average) and ``chosen``.
        """
        from sparsefit.results.sensitivity import warmup_sensitivity

        return warmup_sensitivity(self, checks.check_level(level))

    def diagnostics(self) -> Diagnostics:
        """Autocorrelation and spread of the residuals, in numbers and in words."""
        from sparsefit.results.diagnostics import diagnose

        return diagnose(self)

    # Output ---------------------------------------------------------------------------------

    def tidy(self, level: float = 0.9) -> pd.DataFrame:
        """One row a coefficient.

        Parameters
        ----------
        level : float
            Level of the intervals.

        Returns
        -------
        DataFrame
            ``run, law, term, estimate, std_error, median, lower, upper, unit``. Estimate and
            standard error are those of least squares. Median and interval are those of the draws,
            which average over warm-up choices and noise models: give these two together, for the
            interval need not contain the estimate.
        """
        return text.tidy(self, level)

    def glance(self, level: float = 0.9) -> pd.DataFrame:
        """One row about the whole fit."""
        return text.glance(self, level)

    def summary(self, level: float = 0.9) -> str:
        """Plain-text summary."""
        return text.summary(self, level)

    def to_json(self, path: str | Path | None = None) -> str:
        """Write the fit as JSON, draws included; `sf.load_fit` reads it back.

        Parameters
        ----------
        path : path-like, optional
            File to write (atomically).

        Returns
        -------
        str
            The JSON document.
        """
        from sparsefit.results.serialize import dump_fit

        return dump_fit(self, path)

    def __repr__(self) -> str:
        return text.short(self)

    def _repr_html_(self) -> str:
        return text.html(self)
