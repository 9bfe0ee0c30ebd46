"""The Bayesian fit of the width-depth law, with the verbs of the least-squares fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sparsefit.checks import check_level
from sparsefit.strict_json import plain
from sparsefit.width_depth import text
from sparsefit.width_depth.arguments import check_numbers, check_ratio, check_ratios
from sparsefit.width_depth.intervals import Interval, Placement
from sparsefit.width_depth.kernel import Array
from sparsefit.width_depth.points import Points

if TYPE_CHECKING:
    from pathlib import Path

    from sparsefit.width_depth.advice import Advice

KIND = "posterior, equal tails"
_NAMES = ("breakpoint", "slope", "intercept", "plateau")


@dataclass(frozen=True)
class PosteriorBreakTest:
    """Posterior probability that there is no break.

    Attributes
    ----------
    p_no_break : float
        Posterior probability of the straight line; a break and none are equally likely before.
    log_bayes_factor : float
        For a break against the straight line.
    null, alternative : str
        Models compared.
    """

    p_no_break: float
    log_bayes_factor: float
    null: str = "line"
    alternative: str = "line_plateau"

    def summary(self) -> str:
        """One line of text."""
        return (
            f"posterior probability of no break ({self.null}): {self.p_no_break:.3g} "
            f"(log Bayes factor for a break {self.log_bayes_factor:.3g})"
        )


@dataclass(frozen=True, eq=False)
class PosteriorFit:
    """Posterior of the law that rises on a line and then is level.

    Made by `fit_width_depth_bayes`. Point estimates are posterior medians.

    Attributes
    ----------
    draws_table : DataFrame
        Draws of breakpoint, slope, intercept, plateau and scatter, given a break.
    points : Points
        What was fitted.
    test : PosteriorBreakTest
        Evidence for a break.
    density : DataFrame
        Posterior of the break: columns breakpoint, height (density over the logarithm of the
        ratio relative to its highest value), probability (of the cell).
    engine : str
        "grid" or "nuts".
    diagnostics : dict
        Divergences, largest R-hat and smallest effective sample sizes of "nuts"; empty for "grid",
        whose draws are independent.
    bounds : tuple of float
        Physical range of the values.
    seed : int
        Seed.

    Notes
    -----
    Every verb raises `ArgumentError` for an argument that it cannot use, as in `BreakpointFit`.
    """

    draws_table: pd.DataFrame = field(repr=False)
    points: Points
    test: PosteriorBreakTest
    density: pd.DataFrame = field(repr=False)
    engine: str
    diagnostics: dict[str, float]
    bounds: tuple[float, float]
    seed: int
    model: str = "line_plateau"

    @property
    def breakpoint(self) -> float:
        """Median of the break."""
        return float(self.draws_table["breakpoint"].median())

    @property
    def slope(self) -> float:
        """Median of the slope before the break."""
        return float(self.draws_table["slope"].median())

    @property
    def intercept(self) -> float:
        """Median of the line's value at ratio 0."""
        return float(self.draws_table["intercept"].median())

    @property
    def plateau(self) -> float:
        """Median of the level after the break."""
        return float(self.draws_table["plateau"].median())

    @property
    def scatter(self) -> float:
        """Median of the points' scatter (beyond their standard errors, where given)."""
        return float(self.draws_table["scatter"].median())

    @property
    def located(self) -> bool:
        """Whether a break can be placed, at 90%."""
        return self.placement().located

    @property
    def status(self) -> str:
        """Plain words: where the break lies, or why none can be placed."""
        return self.placement().reason

    def placement(self, level: float = 0.9) -> Placement:
        """Whether and where a break can be placed.

        Located: no break has a posterior probability under 5%, and the region of highest density
        at `level` stays clear of the ends of the measured ratios.
        """
        check_level(level)
        height = self.density["height"].to_numpy()
        order = np.argsort(height)[::-1]
        share = np.cumsum(self.density["probability"].to_numpy()[order])
        threshold = height[order[min(int(np.searchsorted(share, level)), len(order) - 1)]]
        tail = (1 - level) / 2
        lower, upper = self.draws_table["breakpoint"].quantile([tail, 1 - tail]).tolist()
        reasons = []
        if self.test.p_no_break >= 0.05:
            reasons.append(f"no break has a posterior probability of {self.test.p_no_break:.2g}")
            upper = np.inf
        if height[-1] >= threshold:
            reasons.append("nothing bounds the break from above within the measured ratios")
            upper = np.inf
        if height[0] >= threshold:
            reasons.append("nothing bounds the break from below within the measured ratios")
            lower = -np.inf
        if reasons:
            words = "no break can be placed: " + "; ".join(reasons)
        else:
            words = (
                f"a break is placed between {lower:.4g} and {upper:.4g} "
                f"({text.percent(level)} interval)"
            )
        return Placement(not reasons, float(lower), float(upper), level, words)

    def break_test(self) -> PosteriorBreakTest:
        """Posterior probability that there is no break."""
        return self.test

    @property
    def params(self) -> pd.Series:
        """Posterior medians by name: breakpoint, slope, intercept, plateau."""
        return self.draws_table[list(_NAMES)].median().rename("estimate")

    def conf_int(self, level: float = 0.9) -> pd.DataFrame:
        """Posterior intervals with equal tails; columns as in `BreakpointFit.conf_int`."""
        placement = self.placement(level)
        tail = (1 - level) / 2
        rows = []
        for name in _NAMES:
            lower, median, upper = self.draws_table[name].quantile([tail, 0.5, 1 - tail])
            if name == "breakpoint":
                lower, upper = placement.lower, placement.upper
            if name == "plateau":
                lower, upper = (float(np.clip(v, *self.bounds)) for v in (lower, upper))
            rows.append((name, float(median), float(lower), float(upper)))
        table = pd.DataFrame(rows, columns=["term", "estimate", "lower", "upper"])
        table["level"] = level
        table["kind"] = KIND
        table["located"] = placement.located
        return table.set_index("term")

    def predict(self, ratio: Any) -> np.ndarray:
        """Posterior median of the law's mean at ratios (any shape)."""
        r = check_numbers("ratio", ratio, finite=False)
        flat = np.median(self._mean_draws(r.ravel()), axis=0)
        return np.asarray(flat.reshape(r.shape))

    def band(self, ratio: Any, level: float = 0.9) -> pd.DataFrame:
        """Pointwise posterior interval of the law's mean; columns as in `BreakpointFit.band`."""
        check_level(level)
        r = check_ratios(ratio)
        tail = (1 - level) / 2
        low, median, high = np.quantile(self._mean_draws(r), [tail, 0.5, 1 - tail], axis=0)
        return pd.DataFrame(
            {
                "ratio": r,
                "mean": median,
                "curve_lower": np.clip(low, *self.bounds),
                "curve_upper": np.clip(high, *self.bounds),
                "level": level,
                "kind": KIND,
            }
        )

    def saving(self, ratio: float, level: float = 0.9) -> Interval:
        """Plateau minus the law at a ratio."""
        check_level(level)
        at = np.array([check_ratio(ratio)])
        values = self.draws_table["plateau"].to_numpy() - self._mean_draws(at)[:, 0]
        tail = (1 - level) / 2
        low, median, high = np.quantile(values, [tail, 0.5, 1 - tail])
        return Interval(float(median), float(low), float(high), level, KIND)

    def breakpoint_distribution(self) -> pd.DataFrame:
        """Posterior of the break: columns breakpoint, height (1 at the mode)."""
        return self.density.copy()

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

    def tidy(self, level: float = 0.9) -> pd.DataFrame:
        """One row per parameter, plain columns."""
        return self.conf_int(level).reset_index()

    def glance(self, level: float = 0.9) -> pd.DataFrame:
        """One row about the whole fit.

        Columns as in `BreakpointFit.glance`, with p_no_break and engine in place of sign, p_value
        and sigma.
        """
        row = {
            **text.common_glance(self, self.placement(level)),
            "p_no_break": self.test.p_no_break,
            "scatter": self.scatter,
            "engine": self.engine,
        }
        return pd.DataFrame([row])

    def summary(self, level: float = 0.9) -> str:
        """Readable text."""
        tail = [f"Posterior by {self.engine}, {len(self.draws_table)} draws, seed {self.seed}."]
        if self.diagnostics:
            tail.append(", ".join(f"{k} {v:.4g}" for k, v in self.diagnostics.items()) + ".")
        return text.layout(self, self.conf_int(level), self.placement(level), tail)

    def to_dict(self, level: float = 0.9) -> dict[str, Any]:
        """Plain values only: strict JSON."""
        common = text.common_dict(self, self.conf_int(level), self.placement(level))
        test = {
            "null": self.test.null,
            "alternative": self.test.alternative,
            "p_no_break": self.test.p_no_break,
            "log_bayes_factor": self.test.log_bayes_factor,
        }
        extra = {"engine": self.engine, "diagnostics": self.diagnostics, "seed": self.seed}
        return dict(plain({**common, "break_test": test, "scatter": self.scatter, **extra}))

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
        from sparsefit.width_depth.serialize import dump_posterior_fit

        return dump_posterior_fit(self, path)

    def _repr_html_(self) -> str:
        return text.as_html(self)

    def __repr__(self) -> str:
        return (
            f"PosteriorFit({len(self.points.ratio)} points, engine={self.engine}, "
            f"breakpoint={self.breakpoint:.4g}, {self.status})"
        )

    def _mean_draws(self, ratio: Array) -> Array:
        d = self.draws_table
        at = np.minimum(ratio[None, :], d["breakpoint"].to_numpy()[:, None])
        return d["intercept"].to_numpy()[:, None] + d["slope"].to_numpy()[:, None] * at
