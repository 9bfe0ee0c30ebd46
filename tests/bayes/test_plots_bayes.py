from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.bayes import BayesFit
from sparsefit.errors import ArgumentError
from sparsefit.plots import bayes as plots

Run = Callable[..., pd.DataFrame]


@pytest.fixture
def ax() -> Iterator[Any]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


@pytest.fixture(scope="module")
def fit(run_table: Run) -> BayesFit:
    return sf.fit_bayes(run_table(n_params=1e8), engine="importance")


@pytest.mark.parametrize("quantity", ["limit", "alpha", "change", "sigma"])
def test_prior_and_posterior(fit: BayesFit, ax: Any, quantity: str) -> None:
    assert plots.prior(fit, ax, quantity=quantity) is ax
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["prior", "posterior"]


def test_unknown_quantity(fit: BayesFit, ax: Any) -> None:
    with pytest.raises(ArgumentError, match="must be one of 'limit', 'alpha', 'change', 'sigma'"):
        plots.prior(fit, ax, quantity="beta")


def test_pooled_limits(run_table: Run, ax: Any) -> None:
    table = pd.concat(
        [run_table("a", n_params=1e8), run_table("b", n_params=3e8, seed=1)], ignore_index=True
    )
    fits = sf.fit_bayes(table, pool="scale", engine="importance")
    assert plots.pooled_limits(fits, ax) is ax
    assert ax.get_xscale() == "log"


def test_runs_of_one_size_stand_side_by_side() -> None:
    moved = plots._side_by_side(np.array([1e8, 3e8, 1e8]))
    assert moved[1] == 3e8
    assert moved[0] < 1e8 < moved[2]
    assert moved[0] * moved[2] == pytest.approx(1e16)


def test_other_results_are_typed_errors(fit: BayesFit, ax: Any) -> None:
    with pytest.raises(ArgumentError, match="got int"):
        plots.prior(3, ax)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="pool="):
        plots.pooled_limits(fit, ax)  # type: ignore[arg-type]


def test_arviz_groups(fit: BayesFit) -> None:
    pytest.importorskip("arviz")
    data = fit.to_arviz()
    assert data.posterior["A0"].shape == (4, 1000)
    assert data.posterior_predictive["activation_ratio"].shape == (4, 1000, 20)
    assert set(data.groups()) >= {"posterior", "prior", "log_likelihood", "observed_data"}
