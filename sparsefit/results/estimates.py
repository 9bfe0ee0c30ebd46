"""Single numbers with their intervals: the limit and the token budget."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from html import escape
from typing import Any, Self

from sparsefit.counts import count_text, share_text
from sparsefit.display import FEWEST_DECIMALS, interval_decimals, interval_text
from sparsefit.strict_json import plain

# Share of the draws up to which a target counts as out of reach, as at the default level.
_HARDLY_ANY = 0.05


class SparsityRatio(float):
    """A sparsity ratio (1 - activation ratio): a float that carries its interval.

    Attributes
    ----------
    estimate, lower, upper : float
        Fractions.
    """

    estimate: float
    lower: float
    upper: float

    def __new__(cls, estimate: float, lower: float, upper: float) -> Self:
        """Build from fractions."""
        new = super().__new__(cls, estimate)
        new.estimate, new.lower, new.upper = float(estimate), float(lower), float(upper)
        return new

    def __repr__(self) -> str:
        places = _decimals(self.lower, self.upper, (0.0, 1.0))
        return interval_text(self.estimate, self.lower, self.upper, places)

    def _repr_html_(self) -> str:
        return f"<p><b>Sparsity ratio</b> {self!r}</p>"


@dataclass(frozen=True)
class Limit:
    """Limit of a run as training goes on forever.

    Attributes
    ----------
    estimate : float
        Median of the draws, as the forecasts' medians: it averages over warm-up choices and noise
        models. With ``method="wald"``, ``"profile"`` or ``"bootstrap"`` the least-squares limit.
    lower, upper : float
        Interval ends; an end on a physical bound means that the data do not bound that side.
    identified : {"yes", "one-sided", "no"}
        Whether both ends, one end or no end lie strictly inside the physical bounds. A string, true
        whatever it says: in conditions use `is_identified`.
    level : float
        Confidence level.
    kind : str
        How the interval was made.
    response : str
        ``"activation_ratio"`` or ``"loss"``.
    bounds : tuple of float
        Physical bounds of the limit.
    """

    estimate: float
    lower: float
    upper: float
    identified: str
    level: float
    kind: str
    response: str
    bounds: tuple[float, float]

    @property
    def is_identified(self) -> bool:
        """Whether the data bound the limit on both sides (`identified` is ``"yes"``)."""
        return self.identified == "yes"

    @property
    def bounded(self) -> tuple[bool, bool]:
        """Whether the data bound the limit below, and above: that end lies inside its bound."""
        return bounded_sides(self.lower, self.upper, self.bounds)

    @property
    def decimals(self) -> int:
        """Decimals of the texts: two digits of the interval's half-width, 4 to 6 in all.

        Four where an end lies on a physical bound: the width then says nothing about the other end.
        """
        return _decimals(self.lower, self.upper, self.bounds)

    @property
    def sparsity(self) -> SparsityRatio:
        """Limit sparsity ratio 1 - A0 with its interval.

        Raises
        ------
        AttributeError
            For a limit of the training loss, which has no sparsity.
        """
        if self.response != "activation_ratio":
            raise AttributeError(f"a limit of the {self.response} has no sparsity ratio")
        return SparsityRatio(1 - self.estimate, 1 - self.upper, 1 - self.lower)

    @property
    def sentence(self) -> str:
        """One plain sentence."""
        percent, places = f"{100 * self.level:g}%", self.decimals
        if self.identified == "no":
            return f"The limit is not identified by these data ({percent} {self.kind} interval)."
        if self.identified == "one-sided":
            if self.bounded[0]:
                side = f"these data bound it only below, by {self.lower:.{places}f}"
            else:
                side = f"these data bound it only above, by {self.upper:.{places}f}"
            return f"The limit is one-sided: {side} ({percent} {self.kind} interval)."
        return (
            f"The limit lies in [{self.lower:.{places}f}, {self.upper:.{places}f}] "
            f"({percent} {self.kind} interval)."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary (infinite ends become None)."""
        return dict(plain({**asdict(self), "sentence": self.sentence}))

    def __repr__(self) -> str:
        told = interval_text(self.estimate, self.lower, self.upper, self.decimals)
        return f"Limit({told}, {100 * self.level:g}% {self.kind}, identified: {self.identified})"

    def _repr_html_(self) -> str:
        return f"<p><b>Limit {self.estimate:.{self.decimals}f}</b>. {self.sentence}</p>"


def _decimals(lower: float, upper: float, bounds: tuple[float, float]) -> int:
    both = all(bounded_sides(lower, upper, bounds))
    return interval_decimals(lower, upper) if both else FEWEST_DECIMALS


def bounded_sides(lower: float, upper: float, bounds: tuple[float, float]) -> tuple[bool, bool]:
    """Whether the lower and the upper end of an interval lie strictly inside the bounds."""
    # An end that is computed may miss the bound by a rounding error.
    slack = 1e-9
    return lower > bounds[0] + slack, upper < bounds[1] - slack


def identification(lower: float, upper: float, bounds: tuple[float, float]) -> str:
    """Whether both, one or no end of an interval lies strictly inside the bounds."""
    return ("no", "one-sided", "yes")[sum(bounded_sides(lower, upper, bounds))]


@dataclass(frozen=True)
class Budget:
    """Training tokens at which a target is met.

    Attributes
    ----------
    estimate : float
        Median of the draws, raw tokens; ``inf`` where at least half of them never get there, or not
        by `until`.
    lower, upper : float
        Interval ends, raw tokens; ``inf`` where the draws at that end never get there.
    status : {"reached", "reachable", "unreachable", "undetermined"}
        Met within the data; will be met, with a finite interval; will not be met; or the data do
        not tell.
    target : float
        The target in the response's unit (activation ratio as a fraction).
    level : float
        Confidence level.
    probability : float
        Share of draws in which the target is ever met, or met by `until`.
    tokens_seen : float
        Tokens of the last point seen.
    tokens_first : float
        Tokens of the first point seen.
    asked : str
        The target as it was asked for, such as ``"sparsity 0.93"``.
    misfit : bool
        The law does not describe the run (`Fit.misfit`): status ``undetermined``, an interval from
        the first point to ``inf``, and an estimate that should not be used.
    until : float
        Raw tokens up to which the target was looked for: ``inf`` with a law, finite with stacked
        methods (`BestForecast.tokens_to`), some of which know no law.
    """

    estimate: float
    lower: float
    upper: float
    status: str
    target: float
    level: float
    probability: float
    tokens_seen: float
    tokens_first: float
    asked: str
    misfit: bool = False
    until: float = math.inf

    @property
    def sentence(self) -> str:
        """One plain sentence."""
        what = f"{self.asked[:1].upper()}{self.asked[1:]}"
        if self.misfit:
            return f"{what}: no answer, as the law does not describe this run."
        at, seen = count_text(self.estimate), count_text(self.tokens_seen)
        first = f"before the first checkpoint (at {count_text(self.tokens_first)} tokens)"
        # Where the curve is continued backwards, to no tokens at all, its counts mean nothing.
        early = self.lower < self.tokens_first
        lower = "from before the first checkpoint" if early else count_text(self.lower)
        if math.isfinite(self.upper):
            end = f" to {count_text(self.upper)} tokens"
        else:
            end = ", open above" if early else " tokens, open above"
        interval = f"{100 * self.level:g}% interval {lower}{end}"
        so_far = f"; {seen} seen" if self.tokens_seen else ""
        if self.status == "reached":
            if self.estimate < self.tokens_first:
                return f"{what} was met {first}."
            return f"{what} was reached at {at} tokens, within the data ({interval})."
        if self.status == "reachable":
            if self.estimate < self.tokens_first:
                return f"{what} was probably met {first}; if not, it will be ({interval}{so_far})."
            if self.estimate <= self.tokens_seen:
                return (
                    f"{what} was probably reached at {at} tokens, within the data; if not, it will "
                    f"be ({interval}{so_far})."
                )
            return f"{what} is reached at {at} tokens ({interval}{so_far})."
        if self.status == "unreachable":
            never = f"in {share_text(1 - self.probability)} of the draws"
            if math.isfinite(self.until):
                return f"{what} is not reached by {count_text(self.until)} tokens {never}."
            # At a low level the interval leaves out many draws that get there.
            said = ": more training will not reach it" if self.probability <= _HARDLY_ANY else ""
            return f"{what} is out of reach {never}{said}."
        ends, middle = "ever reached", "never"
        if math.isfinite(self.until):
            ends, middle = f"reached by {count_text(self.until)} tokens", "not by then"
        if math.isfinite(self.estimate):
            middle = f"at {at} tokens"
        tail = f"at most {100 * (1 - self.level) / 2:g}% do so before {lower} tokens"
        return (
            f"{what}: these data do not tell whether it is {ends}. "
            f"{share_text(self.probability)} of the draws reach it (the median draw {middle}); "
            f"{f'some met it {first}' if early else tail}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary (infinite token counts become None)."""
        return dict(plain({**asdict(self), "sentence": self.sentence}))

    def __repr__(self) -> str:
        if self.misfit:
            return f"Budget({self.asked}, undetermined: the law does not describe this run)"
        later = f"after {count_text(self.until)}" if math.isfinite(self.until) else "never"
        middle, lower, upper = (
            count_text(value) if math.isfinite(value) else later
            for value in (self.estimate, self.lower, self.upper)
        )
        return (
            f"Budget({self.asked}, {self.status}: {middle} [{lower}, {upper}] tokens, "
            f"{100 * self.level:g}%)"
        )

    def _repr_html_(self) -> str:
        return f"<p><b>{self.status}</b>. {escape(self.sentence)}</p>"
