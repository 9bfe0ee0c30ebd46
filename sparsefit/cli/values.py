"""Values that options take, parsed from text."""

from __future__ import annotations

import argparse
import math

_SI = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


def token_count(text: str) -> float:
    """Parse a raw token count: 2e12, 2T, 500B."""
    words = text.strip().replace(",", "").replace("_", "")
    scale = _SI.get(words[-1:].lower(), 1.0)
    try:
        value = float(words[:-1] if scale != 1.0 else words) * scale
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a token count, such as 2e12 or 500B")
    return value


def fraction(text: str) -> float:
    """Parse a fraction strictly between 0 and 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a fraction between 0 and 1")
    return value


def level(text: str) -> float:
    """Parse the level of an interval."""
    value = fraction(text)
    if value < 0.5:
        raise argparse.ArgumentTypeError(f"{text!r}: give a confidence level such as 0.9")
    return value


def seed(text: str) -> int:
    """Parse a seed."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number >= 0")
    return int(text)


def warmup_rule(text: str) -> str | float | None:
    """Parse a rule for the warm-up: auto, none, a number of points or of tokens."""
    if text.lower() in ("auto", "none"):
        return None if text.lower() == "none" else "auto"
    if text == "0":
        return 0
    try:
        return token_count(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not auto, none, a number of points or of tokens (such as 2e9 or 2B)"
        ) from None
