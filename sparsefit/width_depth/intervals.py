"""Intervals and tests of a fitted width-depth law, in the units of the points."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np

from sparsefit.checks import check_choice, check_level
from sparsefit.display import facts_html
from sparsefit.errors import ArgumentError
from sparsefit.width_depth import calibration
from sparsefit.width_depth.calibration import Over, Problem
from sparsefit.width_depth.kernel import Array
from sparsefit.width_depth.scaled import Scaled
from sparsefit.width_depth.text import percent

Method = Literal["profile", "bootstrap"]
_ERRORS: dict[str, calibration.Errors] = {"profile": "gaussian", "bootstrap": "wild"}
KINDS = {
    "profile": "profile likelihood, simulated cut-off",
    "bootstrap": "profile likelihood, wild bootstrap cut-off",
}


@dataclass(frozen=True)
class Interval:
    """Interval of one quantity.

    Attributes
    ----------
    estimate, lower, upper : float
        Infinite ends mean that the points do not bound the quantity.
    level : float
        Coverage that the interval states.
    kind : str
        How it was made.
    """

    estimate: float
    lower: float
    upper: float
    level: float
    kind: str


@dataclass(frozen=True)
class Placement:
    """Whether and where a break can be placed.

    Attributes
    ----------
    located : bool
        The test of no break is rejected at 5% and the interval is bounded on both sides.
    lower, upper : float
        Interval of the break; an infinite end means that nothing bounds it on that side. The
        interval keeps its level with one infinite end: it then says on which side the break lies.
    level : float
        Level of the interval.
    reason : str
        Plain words.
    """

    located: bool
    lower: float
    upper: float
    level: float
    reason: str

    @property
    def side(self) -> str:
        """What the interval bounds: "both" ends, "lower" or "upper" only, or "none"."""
        low, high = bool(np.isfinite(self.lower)), bool(np.isfinite(self.upper))
        return {(True, True): "both", (True, False): "lower", (False, True): "upper"}.get(
            (low, high), "none"
        )

    def _repr_html_(self) -> str:
        word = "located" if self.located else "not located"
        facts = {f"{100 * self.level:g}% interval, lower": self.lower, "upper": self.upper}
        return facts_html(f"Break {word}", facts, [self.reason])


@dataclass(frozen=True)
class BreakTest:
    """Test of no break.

    Attributes
    ----------
    statistic : float
        Logarithm of the exponential average ("exp") or largest F over all breaks ("sup").
    p_value : float
        Simulated under the null given the ratios; exact for Gaussian errors.
    null, alternative : str
        Models compared.
    draws : int
        Simulated samples; no p-value is below 1 / (draws + 1).
    over : str
        "exp" or "sup".
    """

    statistic: float
    p_value: float
    null: str
    alternative: str
    draws: int
    over: str

    def summary(self) -> str:
        """One line of text."""
        name = {"exp": "exp-LR", "sup": "sup-F"}[self.over]
        return (
            f"no break ({self.null}) against {self.alternative}: {name} = {self.statistic:.3g}, "
            f"p = {self.p_value:.3g} ({self.draws} simulated samples)"
        )

    def _repr_html_(self) -> str:
        return f"<p><b>Test of no break</b>: {escape(self.summary())}</p>"


class Inference:
    """Tests and intervals of one fit; holds the simulated draws (built on first use)."""

    def __init__(self, scaled: Scaled, draws: int, seed: int) -> None:
        self.scaled = scaled
        self.draws = draws
        self.seed = seed
        self._problems: dict[str, Problem] = {}
        self._profiles: dict[str, tuple[Array, Array]] = {}
        self._intervals: dict[Any, tuple[float, float]] = {}

    def problem(self, method: Method) -> Problem:
        """The fit with the draws of one method."""
        check_choice("method", method, tuple(_ERRORS))
        if method not in self._problems:
            errors = _ERRORS[method]
            self._problems[method] = self.scaled.problem(errors, self.draws, self.seed)
        return self._problems[method]

    def check_level(self, level: float) -> float:
        """Refuse levels that the number of draws cannot support."""
        level = check_level(level)
        if 1 - level < 2 / (self.draws + 1):
            raise ArgumentError(
                f"level: {level:g} needs more simulated samples than draws={self.draws}; "
                f"pass draws={int(np.ceil(20 / (1 - level)))} or more"
            )
        return level

    def break_profile(self, method: Method = "profile") -> tuple[Array, Array]:
        """Breaks (units of the ratio) and the p-value of each."""
        if method not in self._profiles:
            self._profiles[method] = calibration.break_profile(self.problem(method))
        grid, p_values = self._profiles[method]
        return grid * self.scaled.x_scale, p_values

    def break_test(self, null: str = "line", over: Over = "exp") -> BreakTest:
        """Test of a straight line or of a constant."""
        check_choice("null", null, ("line", "constant"))
        check_choice("over", over, ("exp", "sup"))
        problem, design = self.problem("profile"), self.scaled.design
        columns = design.line() if null == "line" else design.constant()
        statistic, p_value = problem.test_of_columns(columns, over)
        if over == "sup":
            statistic /= design.n_mean - columns.shape[1]
        return BreakTest(statistic, p_value, null, design.model, self.draws, over)

    def placement(self, level: float, method: Method = "profile", size: float = 0.05) -> Placement:
        """Interval of the break, opened wherever the points do not bound it."""
        level = self.check_level(level)
        problem = self.problem(method)
        self.break_profile(method)
        grid, p_values = self._profiles[method]
        key = ("placement", method, level)
        if key not in self._intervals:
            found = calibration.break_set(problem, grid, p_values, 1 - level)
            self._intervals[key] = (found.lower, found.upper)
        lower, upper = self._intervals[key]
        design = self.scaled.design
        p_line = problem.p_value_of_columns(design.line(), "exp")
        reasons = []
        if design.rising and self.scaled.coefficients[1] <= 0:
            upper = np.inf
            reasons.append(
                "the points do not rise with the ratio, and the law does (sign='any' takes a fall)"
            )
        elif p_line > size:
            # A straight line is a break at or beyond the last ratio; for two lines, anywhere.
            upper = np.inf
            if design.model == "line_line":
                lower = -np.inf
            reasons.append(f"a straight line describes the points as well (p = {p_line:.2g})")
        elif np.isinf(upper) and design.model == "line_plateau":
            # No straight line: whatever the profile leaves open, the break lies before the end.
            upper = float(design.knots[-1])
        elif np.isinf(upper):
            reasons.append("nothing bounds the break from above within the measured ratios")
        if np.isinf(lower) and p_line <= size and design.model == "line_plateau":
            lower = self._lowest(problem, level)
        if np.isinf(lower) and (p_line <= size or design.model == "line_plateau"):
            reasons.append("nothing bounds the break from below within the measured ratios")
        scale = self.scaled.x_scale
        return Placement(
            not reasons,
            lower * scale,
            upper * scale,
            level,
            _placed(reasons, lower * scale, upper * scale, level),
        )

    def _lowest(self, problem: Problem, level: float) -> float:
        """Lower end of a break that may lie below the second ratio.

        A break at or below the first ratio leaves the points on one level. Where that is rejected
        the break lies above the first ratio.
        """
        design = self.scaled.design
        p_level = problem.p_value_of_columns(design.constant(), "exp")
        return -np.inf if p_level > 1 - level else float(design.knots[0])

    def interval(
        self, name: str, level: float, method: Method = "profile", at: float = np.inf
    ) -> tuple[float, float]:
        """Interval of "slope", "slope_after", "law" (at a ratio) or "saving" (at a ratio)."""
        level = self.check_level(level)
        key = (name, method, level, at)
        if key in self._intervals:
            return self._intervals[key]
        if name == "saving" and not self.placement(level, method).lower > at:
            self._intervals[key] = self._saving(level, method, at)
            return self._intervals[key]
        s = self.scaled
        internal_at = at / s.x_scale
        constraint = s.design.constraint(name, internal_at)
        estimate, step = self._estimate_and_step(name, internal_at, level)
        lower, upper = calibration.interval(
            self.problem(method), constraint, estimate, step, 1 - level
        )
        if s.design.rising and name in ("slope", "saving"):
            lower = max(lower, 0.0)  # the rejected end next to 0 lies outside the model
        shift, unit = self._units(name)
        self._intervals[key] = (shift + unit * lower, shift + unit * upper)
        return self._intervals[key]

    def estimate(self, name: str, at: float = np.inf) -> float:
        """Least-squares estimate of the same quantities."""
        shift, unit = self._units(name)
        return shift + unit * self._value(name, at / self.scaled.x_scale)

    def _units(self, name: str) -> tuple[float, float]:
        s = self.scaled
        if name in ("slope", "slope_after"):
            return 0.0, s.y_scale / s.x_scale
        return (s.y_shift if name == "law" else 0.0), s.y_scale

    def _value(self, name: str, at: float) -> float:
        s = self.scaled
        return value(s.design.model, name, at, np.append(s.coefficients, s.breakpoint))

    def _estimate_and_step(self, name: str, at: float, level: float) -> tuple[float, float]:
        """Estimate and a first-order half width, from which the ends are searched."""
        from scipy.stats import t

        s = self.scaled
        estimate = self._value(name, at)
        theta = np.append(s.coefficients, s.breakpoint)
        gradient = np.zeros(len(theta))
        for i in range(len(theta)):
            step = 1e-6 * max(abs(theta[i]), 1e-3)
            moved = theta.copy()
            moved[i] += step
            gradient[i] = (value(s.design.model, name, at, moved) - estimate) / step
        variance = float(gradient @ s.covariance() @ gradient)
        half = float(t.ppf(0.5 + level / 2, s.weights.df)) * float(np.sqrt(max(variance, 0.0)))
        return estimate, max(1.2 * half, 1e-9 * max(abs(estimate), 1e-3))

    def _saving(self, level: float, method: Method, at: float) -> tuple[float, float]:
        """Interval of the saving where the break may lie at or before the ratio itself."""
        plateau = self.interval("law", level, method)
        law = self.interval("law", level, method, at)
        # Difference of the two intervals, with 0 inside: wider than needed, never too narrow.
        lower = 0.0 if self.scaled.design.rising else min(0.0, plateau[0] - law[1])
        return lower, max(0.0, plateau[1] - law[0])


def _placed(reasons: list[str], lower: float, upper: float, level: float) -> str:
    """Plain words for where the break lies, or why and how far it cannot be placed."""
    if not reasons:
        return f"a break is placed between {lower:.4g} and {upper:.4g} ({percent(level)} interval)"
    text = "no break can be placed: " + "; ".join(reasons)
    if np.isfinite(lower):
        return f"{text}; if there is one, it lies above {lower:.4g} ({percent(level)})"
    if np.isfinite(upper):
        return f"{text}; if there is one, it lies below {upper:.4g} ({percent(level)})"
    return text


def value(model: str, name: str, at: float, theta: Array) -> float:
    """One quantity from the linear parameters and the break (last), in the units of `theta`."""
    *c, tau = theta
    if name == "slope":
        return float(c[1])
    if name == "slope_after":
        return float(c[1] + c[2])
    if name == "saving":
        return float(c[1] * max(tau - at, 0.0))
    if model == "line_plateau":
        return float(c[0] + c[1] * min(at, tau))
    return float(c[0] + c[1] * at + c[2] * max(at - tau, 0.0))
