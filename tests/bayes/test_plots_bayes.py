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
    # A method of InferenceData, an attribute of the trees of ArviZ 1.
    groups = data.groups() if callable(data.groups) else data.groups
    names = {"posterior", "prior", "log_likelihood", "observed_data", "constant_data"}
    assert {name.strip("/") for name in groups} >= names
    assert data.attrs["law"] == fit.law.name
    assert data.observed_data["activation_ratio"].dims == ("point",)


@pytest.fixture(scope="module")
def pooled(run_table: Run) -> sf.PooledFits:
    runs = [run_table(f"r{i}", n_params=1e8 * 2**i, seed=i, n=12) for i in range(3)]
    return sf.fit_bayes(pd.concat(runs, ignore_index=True), pool="scale", engine="importance")


def test_the_forecast_of_a_size_without_data(pooled: sf.PooledFits, ax: Any) -> None:
    found = pooled.predict_scale(3e8)
    assert sf.plots.scale_forecast(found, ax, until=1e11, level=0.8) is ax
    ax.figure.draw_without_rendering()
    (line,) = [one for one in ax.lines if one.get_label() == "forecast (median)"]
    tokens = line.get_xdata()
    assert tokens[0] == pytest.approx(5e9) and tokens[-1] == pytest.approx(1e11)
    expected = found.forecast(tokens, level=0.8)
    np.testing.assert_allclose(line.get_ydata(), expected["median"])
    bands = {band.get_label(): band.get_paths()[0].vertices for band in ax.collections}
    for label, name in (("80% band, curve", "curve"), ("80% band, new measurement", "obs")):
        end = bands[label][np.isclose(bands[label][:, 0], 1e11), 1]
        assert end.min() == pytest.approx(expected[f"{name}_lower"].iloc[-1])
        assert end.max() == pytest.approx(expected[f"{name}_upper"].iloc[-1])
    limit = found.limit(0.8)
    title = ax.get_title("left")
    assert title.startswith(f"300M parameters, no points: limit {limit.estimate:.4f} [")
    assert title.endswith("learnt from 3 runs of 100M to 400M parameters")
    low, high = ax.get_ylim()
    assert low < limit.lower < limit.upper < high
    said = [text.get_text().strip() for text in ax.texts]
    assert "runs end: 60B" in said and "beyond them, to 100B" in said and "limit" in said
    assert ax.xaxis.get_major_formatter()(2e11) == "∞"


def test_the_title_says_how_far_out_a_size_is(pooled: sf.PooledFits, ax: Any) -> None:
    for size, words in (
        (8e8, "extrapolated: 2 times the greatest of the 3 runs learnt from"),
        (5e7, "extrapolated: 2 times below the least of the 3 runs learnt from"),
        (8e9, "too far out: 20 times the greatest of the 3 runs learnt from"),
    ):
        ax.clear()
        sf.plots.scale_forecast(pooled.predict_scale(size), ax)
        assert ax.get_title("left").endswith(words)
    assert "limit not identified" in ax.get_title("left")
    assert [text.get_text() for text in ax.texts].count("unbounded") == 2


def test_later_points_of_a_size_are_drawn_and_seen(
    pooled: sf.PooledFits, run_table: Run, ax: Any
) -> None:
    later = run_table("later", n_params=3e8, seed=9).assign(
        activation_ratio=lambda t: t["activation_ratio"] + 0.2
    )
    found = pooled.predict_scale(3e8)
    sf.plots.scale_forecast(found, ax, held_out=later, xscale="linear", until=4e10, legend=False)
    (points,) = [one for one in ax.lines if one.get_label() == "later, not used"]
    np.testing.assert_array_equal(points.get_ydata(), later["activation_ratio"])
    assert ax.get_ylim()[0] < later["activation_ratio"].min()
    assert ax.get_ylim()[1] > later["activation_ratio"].max()
    # The runs learnt from go on beyond what is drawn: there is no border to show.
    assert not [text for text in ax.texts if "runs end" in text.get_text()]
    assert ax.get_legend() is None


def test_what_is_no_forecast_of_a_size_is_a_typed_error(
    pooled: sf.PooledFits, run_table: Run, ax: Any
) -> None:
    found = pooled.predict_scale(3e8)
    with pytest.raises(ArgumentError, match="what predict_scale returns, got PooledFits"):
        sf.plots.scale_forecast(pooled, ax)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="until must be finite and > 5e"):
        sf.plots.scale_forecast(found, ax, until=1e9)
    with pytest.raises(ArgumentError, match="xscale"):
        sf.plots.scale_forecast(found, ax, xscale="cubic")
    two = pd.concat([run_table("a"), run_table("b")], ignore_index=True)
    with pytest.raises(ArgumentError, match="one run of the size that is drawn, got 2: 'a', 'b'"):
        sf.plots.scale_forecast(found, ax, held_out=two)
    with pytest.raises(ArgumentError, match="held_out must be a measurement table"):
        sf.plots.scale_forecast(found, ax, held_out=[1])  # type: ignore[arg-type]


def test_the_wider_band_is_the_light_one_and_says_why(run_table: Run, ax: Any) -> None:
    """All points share an error: the curve is known less well than a new measurement."""
    fit = sf.fit_bayes(run_table(se_shared=5e-3), engine="importance")
    sf.plots.fit(fit, ax)
    bands = [one for one in ax.collections if "band" in one.get_label()]
    assert [band.get_label() for band in bands] == [
        "90% band, curve, with the error that all points share",
        "90% band, new measurement",
    ]
    outer, inner = (band.get_paths()[0].vertices for band in bands)
    end = outer[:, 0].max()
    height = [np.ptp(band[np.isclose(band[:, 0], end), 1]) for band in (outer, inner)]
    expected = fit.forecast([end]).iloc[0]
    assert height[0] == pytest.approx(expected["curve_upper"] - expected["curve_lower"])
    assert height[0] > 2 * height[1]
    assert bands[0].get_alpha() < bands[1].get_alpha()
