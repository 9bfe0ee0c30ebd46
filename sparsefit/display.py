"""How small results show themselves in a notebook."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

# Fewer than four would set a limit apart from the forecasts beside it.
FEWEST_DECIMALS, MOST_DECIMALS = 4, 6


def number_text(value: Any) -> str:
    """Value for a reader: numbers to four digits, a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return "-" if value != value else f"{value:.4g}"
    return str(value)


def interval_decimals(lower: float, upper: float) -> int:
    """Decimals that show two digits of an interval's half-width: at least 4, at most 6.

    >>> interval_decimals(0.0612, 0.0731), interval_decimals(0.0698, 0.0702)
    (4, 5)
    """
    half = 0.5 * (upper - lower)
    if not half > 0:
        return MOST_DECIMALS
    return min(max(1 - math.floor(math.log10(half)), FEWEST_DECIMALS), MOST_DECIMALS)


def interval_text(estimate: float, lower: float, upper: float, places: int | None = None) -> str:
    """Value with its interval in brackets, by default to `interval_decimals`.

    >>> interval_text(0.0700012, 0.0699797, 0.0700215)
    '0.070001 [0.069980, 0.070022]'
    """
    places = interval_decimals(lower, upper) if places is None else places
    return f"{estimate:.{places}f} [{lower:.{places}f}, {upper:.{places}f}]"


def facts_html(title: str, facts: Mapping[str, Any], sentences: Iterable[str] = ()) -> str:
    """Title, a two-column table and a list of sentences as HTML."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
        f"<td>{escape(number_text(value))}</td></tr>"
        for name, value in facts.items()
    )
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<h4>{escape(title)}</h4><table>{rows}</table>" + (f"<ul>{said}</ul>" if said else "")
