"""Token counts and shares in words."""

from __future__ import annotations

import math

_SI = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
# Nobody reads 8890T as a number.
_TOO_LARGE = 1e15


def count_text(value: float, digits: int = 3) -> str:
    """Token count in words: 145B, 1.45T, 800M, 8.9e15; "never" where it is infinite.

    >>> count_text(1.4527e11)
    '145B'
    >>> count_text(8.894e15)
    '8.89e15'
    """
    if not math.isfinite(value):
        return "never" if value > 0 else "?"
    if abs(value) >= _TOO_LARGE:
        return f"{value:.{digits}g}".replace("e+", "e")
    for size, letter in _SI:
        # 999.6B rounds to 1T, not to 1e+03B.
        if float(f"{abs(value):.{digits}g}") >= size:
            return f"{float(f'{value / size:.{digits}g}'):g}{letter}"
    return f"{float(f'{value:.{digits}g}'):g}"


def share_text(share: float) -> str:
    """Share in percent, never rounded to none or all.

    >>> share_text(0.998)
    'over 99%'
    """
    percent = 100.0 * share
    if 0.0 < percent < 1.0:
        return "under 1%"
    if 99.0 < percent < 100.0:
        return "over 99%"
    return f"{percent:.0f}%"
