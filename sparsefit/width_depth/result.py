"""The fitted width-depth law."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sparsefit.errors import ArgumentError
from sparsefit.width_depth import text
from sparsefit.width_depth.arguments import check_numbers, check_ratio, check_ratios
from sparsefit.width_depth.calibration import Over
from sparsefit.width_depth.intervals import (
    KINDS,
    BreakTest,
    Inference,
    Interval,
    Method,
    Placement,
)
from sparsefit.width_depth.points import Points

if TYPE_CHECKING:
    from pathlib import Path

    from sparsefit.width_depth.advice import Advice


@dataclass(frozen=True, eq=False)
class BreakpointFit:
    """A continuous law with one break, fitted by exact least squares.

    Made by `sparsefit.fit_width_depth`. The estimates alone do not say whether there is a break:
    read `located`, `placement` or `summary` with them.

    Attributes
    ----------
    model : str
        "line_plateau" (a line, then level) or "line_line".
    sign : str
        Slopes before the break that the fit could take: "rising" (0 or more) or "any".
    breakpoint : float
        Ratio at the break.
    slope : float
        Rise of the limit per unit of ratio before the break.
    intercept : float
        The line's value at ratio 0 (outside the data: no physical meaning of its own).
    plateau : float or None
        Level after the break; None for "line_line".
    slope_after : float
        Slope after the break; 0 for "line_plateau".
    sigma : float
        Residual standard deviation, corrected for the parameters fitted.
    scatter : float or None
        Scatter of the points beyond their standard errors; None without standard errors.
    points : Points
        What was fitted.
    bounds : tuple of float
        Physical range of the values; interval ends are kept to it.
    draws, seed : int
        Simulated samples behind intervals and tests, and their seed.

    Notes
    -----
    Every verb raises `ArgumentError` for an argument that it cannot use: a level outside (0, 1) or
    too high for `draws`, ratios that are no numbers, a word that is none of its choices.
    """

    model: str
    sign: str
    breakpoint: float
    slope: float
    intercept: float
    plateau: float | None
    slope_after: float
    sigma: float
    scatter: float | None
    points: Points
    bounds: tuple[float, float]
    draws: int
    seed: int
    _inference: Inference = field(repr=False)

    # What was found ---------------------------------------------------------------------------

    @property
    def located(self) -> bool:
        """Whether a break can be placed (90% interval inside, no break rejected at 5%)."""
        return self.placement().located

    @property
    def status(self) -> str:
        """Plain words: where the break lies, or why none can be placed."""
        return self.placement().reason

    def placement(self, level: float = 0.9, *, method: Method = "profile") -> Placement:
        """Whether and where a break can be placed at one level."""
        return self._inference.placement(level, method)

    def break_test(self, null: str = "line", *, over: Over = "exp") -> BreakTest:
        """Test that there is no break.

        The likelihood ratio over all breaks is compared with its distribution simulated at the
        ratios of the fit. Given the straight line's coefficients and residual sum of squares that
        distribution holds no unknown, so the level is exact for Gaussian errors (with standard
        errors given: approximate).

        Parameters
        ----------
        null : {"line", "constant"}
            One straight line, or no dependence on the ratio at all.
        over : {"exp", "sup"}
            Exponential average over the breaks (Andrews and Ploberger 1994, Econometrica 62,
            1383-1414), which finds more of the breaks well inside the measured ratios and decides
            `located`, or the largest F (sup-F).
        """
        return self._inference.break_test(null, over)

    @property
    def params(self) -> pd.Series:
        """Estimates by name: breakpoint, slope, intercept, and plateau or slope_after."""
        last = "slope_after" if self.plateau is None else "plateau"
        names = ["breakpoint", "slope", "intercept", last]
        return pd.Series([getattr(self, name) for name in names], index=names, name="estimate")

    def conf_int(self, level: float = 0.9, *, method: Method = "profile") -> pd.DataFrame:
        """Intervals of the parameters.

        All of them allow for the break being unknown. "profile" simulates the cut-off of the
        profile likelihood ratio with Gaussian errors, "bootstrap" with the fit's own residuals and
        random signs (wild bootstrap), which needs neither equal variances nor Gaussian errors and
        is a little wider.

        Parameters
        ----------
        level : float
            Coverage.
        method : {"profile", "bootstrap"}
            How the cut-off is simulated.

        Returns
        -------
        DataFrame
            Index `term`; columns estimate, lower, upper, level, kind, located. An infinite
            end means that the points do not bound the parameter on that side. Where no break is
            located, slope and plateau have no meaning of their own and their rows say so.
        """
        placement = self.placement(level, method=method)
        rows: list[tuple[str, float, float, float]] = [
            ("breakpoint", self.breakpoint, placement.lower, placement.upper)
        ]
        rows.append(("slope", self.slope, *self._inference.interval("slope", level, method)))
        low, high = self._inference.interval("law", level, method, 0.0)
        rows.append(("intercept", self.intercept, low, high))
        if self.plateau is not None:
            low, high = self._clip(*self._inference.interval("law", level, method))
            rows.append(("plateau", self.plateau, low, high))
        else:
            low, high = self._inference.interval("slope_after", level, method)
            rows.append(("slope_after", self.slope_after, low, high))
        table = pd.DataFrame(rows, columns=["term", "estimate", "lower", "upper"])
        table["level"] = level
        table["kind"] = KINDS[method]
        table["located"] = placement.located
        return table.set_index("term")

    def predict(self, ratio: Any) -> np.ndarray:
        """Mean of the law at ratios (any shape)."""
        r = check_numbers("ratio", ratio, finite=False)
        mean = self.intercept + self.slope * np.minimum(r, self.breakpoint)
        if self.slope_after:
            mean = mean + self.slope_after * np.maximum(r - self.breakpoint, 0.0)
        return np.asarray(mean)

    def band(self, ratio: Any, level: float = 0.9, *, method: Method = "profile") -> pd.DataFrame:
        """Pointwise interval of the law's mean at ratios.

        Returns
        -------
        DataFrame
            Columns ratio, mean, curve_lower, curve_upper, level, kind.
        """
        r = check_ratios(ratio)
        ends = [self._clip(*self._inference.interval("law", level, method, float(v))) for v in r]
        return pd.DataFrame(
            {
                "ratio": r,
                "mean": self.predict(r),
                "curve_lower": [low for low, _ in ends],
                "curve_upper": [high for _, high in ends],
                "level": level,
                "kind": KINDS[method],
            }
        )

    def saving(self, ratio: float, level: float = 0.9, *, method: Method = "profile") -> Interval:
        """Plateau minus the law at a ratio: the activation that a smaller ratio saves."""
        if self.plateau is None:
            raise ArgumentError("saving: only the model 'line_plateau' has a plateau to compare to")
        at = check_ratio(ratio)
        lower, upper = self._inference.interval("saving", level, method, at)
        estimate = self._inference.estimate("saving", at)
        return Interval(estimate, lower, upper, level, KINDS[method])

    def breakpoint_distribution(self, *, method: Method = "profile") -> pd.DataFrame:
        """p-value of every break: the curve whose cuts are the intervals.

        Returns
        -------
        DataFrame
            Columns breakpoint, height (p-value, 1 at the estimate).
        """
        grid, p_values = self._inference.break_profile(method)
        return pd.DataFrame({"breakpoint": grid, "height": p_values})

    # Advice and comparison ----------------------------------------------------------------------

    def recommend(
        self, loss_points: Any, *, tolerance: float | None = None, level: float = 0.9
    ) -> Advice:
        """Smallest stable ratio whose loss is within a tolerance of the best.

        Parameters
        ----------
        loss_points : DataFrame
            One row per architecture: `width_depth_ratio` (or `hidden_size` and `n_layers`), `loss`
            (limit of the training loss, nats), optionally `se` and `stable` (whether training ran
            through without divergence).
        tolerance : float, optional
            Excess over the best loss that is accepted, nats; the default is one percent of
            perplexity.
        level : float
            Level of intervals and verdicts.
        """
        from sparsefit.width_depth.advice import recommend

        return recommend(self, loss_points, tolerance=tolerance, level=level)

    def variants(self) -> pd.DataFrame:
        """Compare constant, line, line_plateau, line_line and two_breaks; see `variants`.

        Every law may fall or rise, whatever the fit's `sign`.
        """
        from sparsefit.width_depth.variants import compare_variants

        return compare_variants(self.points.ratio, self.points.value, self.points.se)

    def wald(self, level: float = 0.9, *, cov_type: str = "nonrobust") -> pd.DataFrame:
        """First-order standard errors from the linearised regression; see `wald`."""
        from sparsefit.width_depth.wald import wald_table

        return wald_table(self, level, cov_type)

    def segments(self, level: float = 0.9, *, cov_type: str = "HC3") -> pd.DataFrame:
        """Separate regressions of the points on each side of the break; see `wald`."""
        from sparsefit.width_depth.wald import segment_table

        return segment_table(self, level, cov_type)

    # Text and tables ----------------------------------------------------------------------------

    def tidy(self, level: float = 0.9, *, method: Method = "profile") -> pd.DataFrame:
        """One row per parameter, plain columns."""
        return self.conf_int(level, method=method).reset_index()

    def glance(self, level: float = 0.9, *, method: Method = "profile") -> pd.DataFrame:
        """One row about the whole fit.

        Columns model, n_points, n_left_out, breakpoint, breakpoint_lower, breakpoint_upper,
        located, status, sign, p_value (of `break_test`), sigma, scatter.
        """
        row = {
            **text.common_glance(self, self.placement(level, method=method)),
            "sign": self.sign,
            "p_value": self.break_test().p_value,
            "sigma": self.sigma,
            "scatter": np.nan if self.scatter is None else self.scatter,
        }
        return pd.DataFrame([row])

    def summary(self, level: float = 0.9, *, method: Method = "profile") -> str:
        """Readable text."""
        return text.summary(self, level, method)

    def to_dict(self, level: float = 0.9, *, method: Method = "profile") -> dict[str, Any]:
        """Plain values only: strict JSON, unbounded ends as None."""
        return text.as_dict(self, level, method)

    def to_json(self, path: str | Path | None = None) -> str:
        """Write the fit as JSON; `sf.load_fit` reads it back.

        Parameters
        ----------
        path : path-like, optional
            File to write (atomically).

        Returns
        -------
        str
            The JSON document.
        """
        from sparsefit.width_depth.serialize import dump_breakpoint_fit

        return dump_breakpoint_fit(self, path)

    def _repr_html_(self) -> str:
        return text.as_html(self)

    def __repr__(self) -> str:
        return (
            f"BreakpointFit({self.model}, {len(self.points.ratio)} points, "
            f"breakpoint={self.breakpoint:.4g}, slope={self.slope:.3g}, {self.status})"
        )

    def _clip(self, lower: float, upper: float) -> tuple[float, float]:
        """Intersect an interval with the physical range (its coverage is unchanged)."""
        low, high = self.bounds
        return min(max(lower, low), high), max(min(upper, high), low)
