"""Single points far off the others: found by evidence, named, and without a say in the forecast."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.estimation.noise import NoiseModel
from sparsefit.estimation.outliers import OUTLIER_PRIOR, suspects, with_outliers
from sparsefit.estimation.points import Points
from sparsefit.estimation.whitening import Whitener

Simulate = Callable[..., pd.DataFrame]
NOISE = 3e-4


def off(run: pd.DataFrame, *numbers: int, by: float = 12 * NOISE) -> pd.DataFrame:
    changed = run.copy()
    changed.loc[list(numbers), "activation_ratio"] += by
    return changed


def named(fit: sf.Fit) -> list[str]:
    return [str(note) for note in fit.notes if note.kind == "outlier"]


@pytest.mark.parametrize("number", [29, 20, 12])
def test_an_outlier_moves_neither_limit_nor_forecast(simulated_run: Simulate, number: int) -> None:
    run = simulated_run(noise=NOISE)
    without, found = sf.fit(run.drop(index=number)), sf.fit(off(run, number))
    limits = without.limit(), found.limit()
    width = limits[0].upper - limits[0].lower
    assert abs(limits[1].estimate - limits[0].estimate) < 0.2 * width
    assert limits[1].upper - limits[1].lower < 1.5 * width
    ahead = [fit.forecast([6e10]).iloc[0] for fit in (without, found)]
    assert abs(ahead[1]["median"] - ahead[0]["median"]) < 0.2 * width
    (note,) = named(found)
    assert f"{number + 1}B tokens" in note


def test_two_outliers_are_both_named(simulated_run: Simulate) -> None:
    (note,) = named(sf.fit(off(simulated_run(noise=NOISE), 10, 20)))
    assert "points at 11B and 21B tokens lie off" in note


def test_a_given_warmup_does_not_move_the_number_of_the_outlier(simulated_run: Simulate) -> None:
    found = sf.fit(off(simulated_run(noise=NOISE), 20), warmup=4)
    assert "21B tokens" in named(found)[0]
    # New measurements go by the residuals of all points, whose numbers are those of the run.
    assert np.isfinite(found.forecast([4e10]).to_numpy()).all()


def test_runs_without_outliers_hardly_ever_have_one(simulated_run: Simulate) -> None:
    runs = [simulated_run(noise=NOISE, seed=seed) for seed in range(200)]
    told = [
        bool(suspects(Points(run["tokens"].to_numpy() / 1e9, run["activation_ratio"].to_numpy())))
        for run in runs
    ]
    assert np.mean(told) < 0.04
    smooth = simulated_run(noise=0.0)
    assert not named(sf.fit(smooth))


def test_robust_fits_and_short_runs_have_no_such_models(simulated_run: Simulate) -> None:
    run = off(simulated_run(noise=NOISE), 20)
    assert not any(noise.outliers for noise in sf.fit(run, robust=True).averaged.noises)
    short = Points(np.arange(1.0, 8.0), np.array([9.0, 8, 7, 6, 5, 4, 9]))
    assert suspects(short) == ()


def test_models_with_outliers_keep_the_sum_of_the_priors() -> None:
    base = (NoiseModel("white", 0.0, 0.0, 0.0, 0.3), NoiseModel("ar1", 0.9, 0.0, 0.0, 0.7))
    assert with_outliers(base, (), 20) == base
    models = with_outliers(base, (7, 3), 20)
    assert [noise.outliers for noise in models[::2]] == [(), (7,), (3, 7)]
    assert sum(noise.prior for noise in models) == pytest.approx(1.0)
    assert models[2].prior == pytest.approx(0.3 * OUTLIER_PRIOR / 20)


@pytest.mark.parametrize(("kind", "rho"), [("white", 0.0), ("ar1", 0.9), ("ou", 0.5)])
def test_whitening_knows_outliers(kind: str, rho: float) -> None:
    points = Points(np.arange(1.0, 9.0), np.zeros(8))
    noise = NoiseModel(kind, rho, 0.5, 0.0, 1.0, outliers=(2, 7))
    plain = NoiseModel(kind, rho, 0.5, 0.0, 1.0).covariance(points)
    extra = np.diag(noise.covariance(points) - plain) / np.diag(plain)
    assert extra == pytest.approx(np.isin(np.arange(8), (2, 7)) * 100.0)
    whitener = Whitener.of(points, noise)
    white = whitener.whiten(np.eye(8))
    reverse = noise.covariance(points)[::-1, ::-1]
    assert white @ reverse @ white.T == pytest.approx(np.eye(8), abs=1e-10)


def test_outliers_survive_the_file(simulated_run: Simulate) -> None:
    found = sf.fit(off(simulated_run(noise=NOISE), 20))
    again = sf.load_fit(found.to_json())
    assert isinstance(again, sf.Fit)
    assert again.averaged.noises == found.averaged.noises
    assert again.forecast([5e10]).equals(found.forecast([5e10]))
    # Files of before know no outliers.
    plain = json.loads(sf.fit(simulated_run(noise=NOISE)).to_json())
    for noise in plain["fits"][0]["averaged"]["noises"]:
        del noise["outliers"]
    assert sf.load_fit(json.dumps(plain)).limit().identified == "yes"


def test_an_outlier_is_no_pattern(simulated_run: Simulate) -> None:
    """Least squares follows the last point, which would bend its residuals."""
    run = simulated_run(law="eq5", theta=(0.7, 0.08, 0.39), noise=NOISE)
    kinds = [note.kind for note in sf.fit(off(run, 29, by=-15 * NOISE)).notes]
    assert "outlier" in kinds and "pattern" not in kinds
