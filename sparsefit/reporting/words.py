"""What a report says in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from sparsefit.counts import count_text as count

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.results.estimates import Limit
    from sparsefit.results.fit import Fit

IDENTIFIED = {
    "yes": "bounded on both sides",
    "one-sided": "bounded on one side only",
    "no": "not bounded by these data",
}

UNITS = {"activation_ratio": "fraction", "loss": "nats per token"}


def number(value: Any, digits: int = 4) -> str:
    """Number to so many significant digits; a dash where there is none."""
    if value is None or not math.isfinite(float(value)):
        return "–"
    size = abs(float(value))
    if size and not 1e-4 <= size < 1e6:
        return f"{float(value):.{digits - 1}e}".replace("-", "−")
    return f"{float(value):.{digits}g}".replace("-", "−")


def interval(lower: float, upper: float, digits: int = 4) -> str:
    """Interval as ``low to high``."""
    return f"{number(lower, digits)} to {number(upper, digits)}"


def limit_interval(limit: Limit) -> str:
    """The limit's interval, with a side that the data do not bound in words."""
    floor, ceiling = limit.bounded
    if not (floor or ceiling):
        return "not bounded"
    if not floor:
        return f"at most {limit.upper:.4f}"
    if not ceiling:
        return f"at least {limit.lower:.4f}"
    places = limit.decimals
    return f"{limit.lower:.{places}f} to {limit.upper:.{places}f}"


def warmup_sentence(fit: Fit, table: pd.DataFrame, level: float) -> str:
    """What the choice of warm-up does to the limit, beside its interval at `level`."""
    if len(table) < 2:
        return "This run is too short to leave out any point: the warm-up cannot be varied."
    low, high = table["limit"].min(), table["limit"].max()
    limit = fit.limit(level)
    places = limit.decimals
    favoured = table.iloc[int(table["weight"].argmax())]
    moved = (
        f"Leaving out the first {table['n_dropped'].min()} to {table['n_dropped'].max()} points "
        f"moves the least-squares limit between {low:.{places}f} and {high:.{places}f}"
    )
    if high - low <= 0.25 * (limit.upper - limit.lower):
        judged = ", little beside its interval"
    elif low < limit.lower or high > limit.upper:
        judged = ", farther than its interval reaches: choices outside it carry little weight"
    else:
        judged = ", which its interval allows for"
    if table["weight"].max() <= 0:
        return f"{moved}{judged}. The fit was told which points to use."
    chosen = table[table["chosen"]].iloc[0]
    said = f"The fit leaves out {fit.n_warmup} (weight {chosen['weight']:.2f})"
    if favoured["n_dropped"] != fit.n_warmup:
        said += f"; leaving out {int(favoured['n_dropped'])} has weight {favoured['weight']:.2f}"
    return f"{moved}{judged}. {said}."


def forecast_sentence(fit: Fit, table: pd.DataFrame, level: float) -> str:
    """The farthest forecast of the table."""
    if fit.misfit:
        return "The law does not describe this run: its forecasts should not be used."
    last = table.iloc[-1]
    seen = float(fit.tokens[-1])
    what = "activation ratio" if fit.response == "activation_ratio" else "loss"
    return (
        f"After {count(last['tokens'])} tokens ({last['tokens'] / seen:.3g} times those seen) the "
        f"{what} is forecast at {last['median']:.4f}; a new measurement there lies between "
        f"{last['obs_lower']:.4f} and {last['obs_upper']:.4f} with {100 * level:g}% confidence."
    )


def figure_description(fit: Fit, limit: Limit, until: float) -> str:
    """What the forecast figure shows, for those who do not see it."""
    way = "falls" if fit.law.sign > 0 else "rises"
    roles = fit.points_table()["role"].value_counts()
    warm = f", {roles.get('warm-up', 0)} of them set aside as warm-up" if fit.n_warmup else ""
    return (
        f"{len(fit.points)} checkpoints from {count(fit.tokens[0])} to {count(fit.tokens[-1])} "
        f"tokens{warm}; the fitted curve {way} and is continued with its bands to {count(until)} "
        f"tokens. {limit.sentence}"
    )
