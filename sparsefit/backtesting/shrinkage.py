"""How much would more tokens, checkpoints or evaluation text tell about the limit?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.backtesting.futures import Scenario, scenario
from sparsefit.checks import check_level
from sparsefit.errors import ArgumentError, quoted
from sparsefit.estimation.notes import kind_of
from sparsefit.laws import TOKENS_PER_UNIT
from sparsefit.seeds import Rng, seed_of

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.results.fit import Fit

# Draws of each repeated fit: the limit's interval needs fewer than a final result.
_DRAWS = 1000
_COLUMNS = (
    "scenario", "what", "factor", "tokens", "points", "width", "width_lower", "width_upper",
    "ratio", "ratio_se", "identified",
)  # fmt: skip
# An interval that keeps at least this share of its width has hardly narrowed.
HARDLY = 0.8


@dataclass(frozen=True, repr=False)
class Shrinkage:
    """Expected width of the limit's interval after more measurement.

    Attributes
    ----------
    table : DataFrame
        One row a scenario: scenario, what (tokens, checkpoints, text), factor, tokens (last token
        count), points (checkpoints in all), width (expected: median over simulated futures),
        width_lower, width_upper (central 80% of them), ratio (of the expected to the present
        width), ratio_se (Monte Carlo standard error of the median ratio) and identified (share of
        futures in which both ends lie inside the physical bounds).
    width_now : float
        Present width of the interval.
    level : float
        Level of the intervals.
    simulations : int
        Simulated futures a scenario.
    sentence : str
        What the table says about going on.
    remarks : tuple of str
        Scenarios that could not be simulated, and why; where the points leave the law.
    """

    table: pd.DataFrame
    width_now: float
    level: float
    simulations: int
    sentence: str
    remarks: tuple[str, ...]

    @property
    def kind(self) -> str:
        """Which interval the widths are of, in words."""
        return (
            f"width: of the limit's {100 * self.level:g}% integrated likelihood interval, as "
            "sf.fit gives it."
        )

    def tidy(self) -> pd.DataFrame:
        """The table."""
        return self.table.copy()

    def summary(self) -> str:
        """Sentence, table and remarks as text."""
        from sparsefit.backtesting.text import align

        header, rows = self._cells()
        return "\n".join([self.sentence, "", *align(header, rows), "", self.kind, *self.remarks])

    def __repr__(self) -> str:
        return f"Shrinkage({len(self.table)} scenarios, {self.simulations} futures each)"

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        from sparsefit.backtesting.text import html_table

        return html_table(*self._cells(), " ".join([self.sentence, self.kind, *self.remarks]))

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        from sparsefit.backtesting.text import number

        header = ["scenario", "last tokens", "points", f"width ({100 * self.level:g}%)", "80% of"]
        header += ["of present", "identified"]
        rows = [["now", "", "", number(self.width_now, 4), "", "1.00", ""]]
        for _, row in self.table.iterrows():
            rows.append(
                [
                    str(row["scenario"]),
                    f"{row['tokens']:.3g}",
                    str(row["points"]),
                    number(row["width"], 4),
                    f"[{number(row['width_lower'], 4)}, {number(row['width_upper'], 4)}]",
                    number(row["ratio"], 2),
                    f"{100 * row['identified']:.0f}%",
                ]
            )
        return header, rows


def expected_shrinkage(
    fit: Fit,
    factors: Sequence[float] = (1.5, 2.0, 4.0),
    *,
    densities: Sequence[int] = (2,),
    texts: Sequence[float] = (4.0,),
    simulations: int = 30,
    level: float = 0.9,
    rng: Rng = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Shrinkage:
    """Simulate what more measurement would do to the interval of the limit.

    Each simulated future takes one of the fit's draws as the truth, draws new measurements from it
    (correlated with the residuals seen), and repeats the fit. Widths are those of the integrated
    likelihood, the interval of `sf.fit`; a posterior's are not simulated.

    Parameters
    ----------
    fit : Fit
        Result of `sf.fit` for one run.
    factors : sequence of float
        Training goes on to so many times the present tokens, with checkpoints at the present
        spacing (even, or by equal factors of tokens).
    densities : sequence of int
        So many times as many checkpoints within the tokens seen.
    texts : sequence of float
        All checkpoints measured again on so many times the text; needs the table's `se`.
    simulations : int
        Futures a scenario.
    level : float
        Level of the interval.
    rng : int or Generator
        Seed.
    progress : callable, optional
        Called after each future with how many are fitted, and how many there are.

    Returns
    -------
    Shrinkage

    Raises
    ------
    ArgumentError
        For a result that is no single `Fit` of `sf.fit`, points that go against the law
        (`Fit.misfit`), or a factor of 1 or less.
    """
    import pandas as pd

    _check(fit, factors, densities, texts, simulations, level)
    generator = np.random.default_rng(seed_of(rng))
    lower, upper = fit.averaged.likelihood.interval(level)
    now = float(upper - lower)
    remarks = [
        f"Simulated futures follow the law, which these points do not: {note}."
        for note in fit.notes
        if kind_of(note) == "speeds up"
    ]
    scenarios = []
    # The same truths and residuals in every scenario, so that scenarios differ by design alone.
    order = generator.permutation(len(fit.averaged.draws))
    seed = int(generator.integers(2**31))
    for what, values in (("tokens", factors), ("checkpoints", densities), ("text", texts)):
        for factor in values:
            simulate = scenario(fit, what, float(factor), order, seed)
            if simulate is None:
                remarks.append(
                    f"{_name(what, factor)}: not simulated, because the table has no standard "
                    "errors (`se`) that say which part of the scatter more text would remove."
                )
                continue
            scenarios.append((what, float(factor), simulate))
    count, total = itertools.count(1), simulations * len(scenarios)

    def fitted() -> None:
        if progress is not None:
            progress(next(count), total)

    rows = [
        _row(fit, what, factor, simulate, simulations, level, now, fitted)
        for what, factor, simulate in scenarios
    ]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    return Shrinkage(table, now, level, simulations, _sentence(table, now), tuple(remarks))


def _check(
    fit: Any,
    factors: Sequence[float],
    densities: Sequence[int],
    texts: Sequence[float],
    simulations: int,
    level: float,
) -> None:
    from sparsefit.results.fit import Fit

    if not isinstance(fit, Fit) or fit.method != "fit":
        kind = getattr(fit, "method", type(fit).__name__)
        raise ArgumentError(
            f"fit: a result of sf.fit for one run is expected, got {kind}; futures are fitted by "
            "sf.fit, and of several runs take one, e.g. fits['name']."
        )
    if fit.misfit:
        raise ArgumentError(
            f"fit: the points of run {fit.run!r} go against {fit.law.name}, so that futures "
            "simulated from it say nothing; fit a law that describes them."
        )
    for name, values in (("factors", factors), ("densities", densities), ("texts", texts)):
        bad = [value for value in values if not (np.isfinite(value) and value > 1)]
        if bad:
            raise ArgumentError(f"{name}: factors above 1 are expected, got {quoted(bad)}.")
    if any(float(value) != int(value) for value in densities):
        raise ArgumentError(
            f"densities: whole numbers are expected, got {quoted(list(densities))}."
        )
    if not (factors or densities or texts):
        raise ArgumentError("factors, densities, texts: give at least one scenario.")
    if simulations < 2:
        raise ArgumentError(f"simulations: at least 2 are needed, got {simulations}.")
    check_level(level)


def _name(what: str, factor: float) -> str:
    return f"{factor:g} times the {what}"


def _row(
    fit: Fit,
    what: str,
    factor: float,
    simulate: Scenario,
    simulations: int,
    level: float,
    now: float,
    fitted: Callable[[], None],
) -> dict[str, Any]:
    from sparsefit.estimation.engine import average

    low, high = fit.law.limit_bounds
    widths, inside = np.empty(simulations), np.empty(simulations, dtype=bool)
    for index in range(simulations):
        points = simulate(index)
        # Later points say which start was warm-up, but add no new choices of it.
        found = average(
            fit.law, points, fit.averaged.drops, np.random.default_rng(index), size=_DRAWS
        )
        lower, upper = found.likelihood.interval(level)
        widths[index] = upper - lower
        inside[index] = lower > low and upper < high
        fitted()
    ratios = widths / now
    middle, spread = float(np.median(ratios)), float(np.std(ratios, ddof=1))
    return {
        "scenario": _name(what, factor),
        "what": what,
        "factor": factor,
        "tokens": float(points.d[-1] * TOKENS_PER_UNIT),
        "points": len(points),
        "width": float(np.median(widths)),
        "width_lower": float(np.quantile(widths, 0.1)),
        "width_upper": float(np.quantile(widths, 0.9)),
        "ratio": middle,
        # The median of a normal sample varies 1.25 times as much as its mean.
        "ratio_se": 1.25 * spread / np.sqrt(simulations),
        "identified": float(inside.mean()),
    }


def _sentence(table: pd.DataFrame, now: float) -> str:
    if not len(table):
        return "Nothing could be simulated."
    onward = table[table["what"] == "tokens"]
    if not len(onward):
        best = table.iloc[int(table["ratio"].argmin())]
        return (
            f"{str(best['scenario']).capitalize()} would leave the limit's interval at about "
            f"{100 * best['ratio']:.0f}% of its width ({now:.4f})."
        )
    last = onward.iloc[int(onward["factor"].argmax())]
    if last["ratio"] > 1.0:
        return (
            f"Training on to {last['factor']:g} times the tokens would not narrow the limit's "
            f"interval ({100 * last['ratio']:.0f}% of its width, {now:.4f}, in simulated futures): "
            "more tokens will hardly change this forecast."
        )
    if last["ratio"] >= HARDLY:
        return (
            f"Training on to {last['factor']:g} times the tokens would leave the limit's interval "
            f"at about {100 * last['ratio']:.0f}% of its width ({now:.4f}): more tokens will "
            "hardly change this forecast."
        )
    useful = onward[onward["ratio"] < HARDLY]
    first = useful.iloc[int(useful["factor"].argmin())]
    further = (
        f", to {last['factor']:g} times to {100 * last['ratio']:.0f}%"
        if last["factor"] > first["factor"]
        else ""
    )
    return (
        f"Training on to {first['factor']:g} times the tokens is expected to narrow the limit's "
        f"interval to {100 * first['ratio']:.0f}% of its width (from {now:.4f} to "
        f"{first['width']:.4f}){further}: more tokens will still sharpen this forecast."
    )
