"""Values rounded so coarsely that the last points of a run are one number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf

TOKENS = np.linspace(1e10, 1e11, 40)
LIMIT = 0.096


def rounded(decimals: int, noise: float = 0.0, limit: float = LIMIT) -> pd.DataFrame:
    """A falling run whose values are given to so many decimals."""
    falling = limit + np.exp(0.2 - 2.2 * (TOKENS / 1e9) ** 0.25)
    falling = falling + noise * np.random.default_rng(1).normal(size=TOKENS.size)
    return pd.DataFrame(
        {
            "run": "a",
            "tokens": TOKENS,
            "activation_ratio": np.round(falling, decimals),
            "activation": "relu",
        }
    )


def one(table: pd.DataFrame, bayes: bool = False) -> sf.Fit:
    found = sf.fit_bayes(table) if bayes else sf.fit(table)
    assert isinstance(found, sf.Fit)
    return found


@pytest.mark.parametrize("bayes", [False, True])
def test_intervals_allow_for_half_a_step(bayes: bool) -> None:
    """All last points say 0.1: the limit, 0.096, lies within half a percent of it."""
    found = one(rounded(2), bayes)
    assert [n.kind for n in found.notes if "rounded to 0.01" in n] == ["rounding"]
    limit = found.limit()
    assert limit.lower <= LIMIT <= limit.upper <= 0.106
    far = found.forecast([1e12]).iloc[0]
    assert far.curve_lower <= LIMIT <= far.curve_upper
    assert far.curve_lower <= far["median"] <= far.curve_upper
    # The curve goes through 0.0965 or does not.
    assert found.tokens_to(activation_ratio=0.0965).status == "undetermined"


def test_the_allowance_is_saved() -> None:
    found = one(rounded(2))
    again = sf.load_fit(found.to_json())
    assert isinstance(again, sf.Fit)
    assert again.limit() == found.limit() and again.notes == found.notes


def test_a_limit_at_its_bound_stays_inside() -> None:
    rising = np.round(0.998 - 2.0 * (TOKENS / 1e9) ** -1.8, 2)
    assert rising[-1] == 1.0
    found = one(rounded(2).assign(activation_ratio=rising, activation="silu"))
    assert any("rounded to 0.01" in note for note in found.notes)
    limit = found.limit()
    assert limit.lower <= 0.998 and (limit.upper, limit.identified) == (1.0, "one-sided")
    assert (found.forecast([1e12, 1e15])["curve_upper"] <= 1.0).all()
    assert found.averaged.draws.limit.max() <= 1.0


@pytest.mark.parametrize(("decimals", "noise"), [(4, 2e-4), (3, 1e-3), (9, 0.0)])
def test_scatter_that_shows_the_rounding_is_left_alone(decimals: int, noise: float) -> None:
    assert not any("rounded" in note for note in one(rounded(decimals, noise)).notes)


def test_single_precision_hides_no_rounding() -> None:
    table = rounded(2)
    table["activation_ratio"] = table["activation_ratio"].astype("float32")
    assert any("rounded to 0.01" in note for note in one(table).notes)
