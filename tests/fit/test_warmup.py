"""The warm-up: rules, choices, and the points that they leave out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError
from sparsefit.estimation.warmup import warmup_choices

Simulate = Callable[..., pd.DataFrame]


@pytest.mark.parametrize("warmup", [[1], True, {"points": 3}, 1j])
def test_what_is_no_warmup_rule_is_named(warmup: object, simulated_run: Simulate) -> None:
    with pytest.raises(ArgumentError, match=r"warmup must be 'auto', 'none' \(or None\), a number"):
        sf.fit(simulated_run(), warmup=warmup)  # type: ignore[arg-type]


def test_warmup_is_found_and_every_row_accounted_for(simulated_run: Simulate) -> None:
    table = simulated_run(noise=2e-4)
    table.loc[:3, "activation_ratio"] -= np.array([0.03, 0.02, 0.01, 0.005])
    found = sf.fit(table)
    roles = found.points_table()
    assert len(roles) == 30
    assert found.n_warmup >= 3
    assert (roles["role"].iloc[: found.n_warmup] == "warm-up").all()
    assert any("warm-up" in note for note in found.notes)
    limit = found.limit()
    assert limit.lower <= 0.07 <= limit.upper


@pytest.mark.parametrize("noise", [0.0, 1e-6])
@pytest.mark.parametrize("displaced", [0, 4])
def test_of_points_computed_from_a_law_those_off_it_are_warmup(
    noise: float, displaced: int, simulated_run: Simulate
) -> None:
    """Ten of thirty exact points were once set aside: the rest suited the grid better."""
    table = simulated_run(noise=noise)
    table.loc[: displaced - 1, "activation_ratio"] -= 0.005 * np.arange(displaced, 0, -1)
    fit = sf.fit(table)
    assert fit.n_warmup == displaced
    assert abs(fit.limit().estimate - 0.07) < 2e-4


def test_warmup_choices(simulated_run: Simulate) -> None:
    table = simulated_run()
    assert sf.fit(table, warmup=None).n_warmup == 0
    assert sf.fit(table, warmup=4).n_warmup == 4
    by_tokens = sf.fit(table, warmup=3.5e9)
    assert by_tokens.n_warmup == int((table["tokens"] < 3.5e9).sum())
    sensitivity = by_tokens.warmup_sensitivity()
    assert sensitivity.loc[sensitivity["chosen"], "n_dropped"].tolist() == [by_tokens.n_warmup]


@pytest.mark.parametrize("n", [8, 30, 92, 93, 300, 20_000])
def test_warmup_choices_of_long_runs_grow_by_tenths(n: int) -> None:
    choices = warmup_choices(n, 4)
    most = max(0, min(n // 3, n - 9))
    assert choices[0] == 0 and choices[-1] == most
    assert (choices[: min(most, 30) + 1] == np.arange(min(most, 30) + 1)).all()
    assert (np.diff(choices) <= 1.0 + 0.1 * choices[:-1]).all()
    assert len(choices) < 100


def test_auto_finds_a_warmup_of_many_points(simulated_run: Simulate) -> None:
    run = simulated_run(n=300, last=3e11)
    run.loc[:44, "activation_ratio"] += 0.01
    fit = sf.fit(run)
    # Of the choices near 45 points, 46 is the first that leaves all of them out.
    assert fit.n_warmup == 46
    assert fit.limit().estimate == pytest.approx(0.07, abs=5e-4)


def test_auto_carries_the_limits_of_both_warmup_choices(
    authors_run: Callable[[str], pd.DataFrame],
) -> None:
    """Dropping one point or eight moves 0.2b_relu's least-squares limit from .068 to 0."""
    found = sf.fit(authors_run("0.2b_relu"))
    choices = found.warmup_sensitivity().set_index("n_dropped")["limit"]
    limit = found.limit()
    for drop in (1, 8):
        assert limit.lower <= choices[drop] <= limit.upper
    assert limit.identified == "one-sided"
    other = sf.fit(authors_run("0.4b_relu"))
    moved = other.warmup_sensitivity().set_index("n_dropped")["limit"]
    limit = other.limit()
    assert limit.lower <= min(moved[0], moved[1]) and max(moved[0], moved[1]) <= limit.upper
