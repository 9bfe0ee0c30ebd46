"""`rng=` takes a seed or a Generator, by the same rule everywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError
from sparsefit.seeds import seed_of

Simulate = Callable[..., pd.DataFrame]

LATER = [4e10, 8e10]
# A law with few coefficients: the bootstrap refits it 200 times.
QUICK = {"law": "eq5", "theta": (0.7, 0.08, 0.39), "n": 12}


def generator() -> np.random.Generator:
    return np.random.default_rng(3)


def fits(table: pd.DataFrame, rng: int | np.random.Generator) -> pd.DataFrame:
    return sf.fit(table, rng=rng).forecast(LATER)


def posteriors(table: pd.DataFrame, rng: int | np.random.Generator) -> pd.DataFrame:
    return sf.fit_bayes(table, engine="importance", rng=rng).forecast(LATER)


def measurements(table: pd.DataFrame, rng: int | np.random.Generator) -> np.ndarray:
    return sf.fit(table).simulate(LATER, rng=rng)


def bootstraps(table: pd.DataFrame, rng: int | np.random.Generator) -> pd.DataFrame:
    return sf.fit(table).conf_int(method="bootstrap", rng=rng)


def several(table: pd.DataFrame, rng: int | np.random.Generator) -> pd.DataFrame:
    both = pd.concat([table, table.assign(run="again")])
    return sf.fit(both, rng=rng).conf_int(method="bootstrap", rng=rng)


def backtests(table: pd.DataFrame, rng: int | np.random.Generator) -> pd.DataFrame:
    return sf.backtest(table, ["last_value"], cuts=(0.5,), rng=rng).table()[["mae", "crps"]]


def widths(_: pd.DataFrame, rng: int | np.random.Generator) -> pd.DataFrame:
    ratio = np.array([20.0, 40.0, 80.0, 120.0, 200.0, 300.0])
    noise = 1e-3 * np.array([1, -1, 0.5, -0.5, 1, -1])
    limit = np.minimum(0.05 + 3e-4 * ratio, 0.086) + noise
    points = pd.DataFrame({"width_depth_ratio": ratio, "limit": limit})
    return sf.fit_width_depth(points, draws=99, rng=rng).tidy()


CALLS = [fits, posteriors, measurements, bootstraps, backtests, widths]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_a_generator_stands_for_the_seed_drawn_from_it(
    simulated_run: Simulate, call: Callable[..., object]
) -> None:
    table, rng = simulated_run(**QUICK), generator()
    seed = int(generator().integers(2**31))
    first, second = call(table, rng), call(table, rng)
    np.testing.assert_equal(np.asarray(first), np.asarray(call(table, seed)))
    assert not np.array_equal(np.asarray(first), np.asarray(second))


def test_runs_of_one_call_share_the_seed(simulated_run: Simulate) -> None:
    found = several(simulated_run(**QUICK), generator()).set_index("run")
    np.testing.assert_equal(
        found.loc["simulated", ["lower", "upper"]].to_numpy(),
        found.loc["again", ["lower", "upper"]].to_numpy(),
    )


def test_a_fit_keeps_the_seed_that_it_was_made_with(simulated_run: Simulate) -> None:
    fit = sf.fit(simulated_run(**QUICK), rng=generator())
    assert fit.seed == fit.provenance["seed"] == seed_of(generator())
    again = sf.fit(simulated_run(**QUICK), rng=fit.seed)
    np.testing.assert_equal(again.averaged.draws.limit, fit.averaged.draws.limit)


@pytest.mark.parametrize("wrong", ["seed", -1, True, 1.5, None, np.random.RandomState(0)])
def test_anything_else_is_refused(simulated_run: Simulate, wrong: object) -> None:
    with pytest.raises(ArgumentError, match=r"rng must be a seed .* or a numpy Generator"):
        sf.fit(simulated_run(**QUICK), rng=wrong)
