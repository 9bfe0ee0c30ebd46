"""The figure of a stacked forecast."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.backtesting import BestForecast, MethodForecast
from sparsefit.backtesting.registry import resolve
from sparsefit.errors import ArgumentError


def labels(axes):
    return axes.get_legend_handles_labels()[1]


def handle(axes, start):
    (found,) = [
        one
        for one, label in zip(*axes.get_legend_handles_labels(), strict=True)
        if label.startswith(start)
    ]
    return found


@pytest.fixture(scope="module")
def best(table) -> BestForecast:
    methods = resolve(["lm_multistart", "log_linear"])
    index = pd.Index([method.name for method in methods], name="method")
    weights = pd.Series([0.7, 0.3], index=index, name="weight")
    return BestForecast(weights, None, "as given", table, methods, 0)


def test_points_and_bands_are_those_of_the_forecast(best, table, axes):
    own = table[table["run"] == "falling_sim"]
    seen, last = own["tokens"].max(), 3.0 * own["tokens"].max()
    sf.plots.best_forecast(best, axes, run="falling_sim", until=last, level=0.8)
    line = handle(axes, "stacked forecast, lm multistart leads")
    tokens = line.get_xdata()
    # Methods that only look ahead say nothing before the last point.
    assert tokens[0] == pytest.approx(seen) and tokens[-1] == pytest.approx(last)
    expected = best.predictive(tokens, "falling_sim").table(0.8)
    np.testing.assert_allclose(line.get_ydata(), expected["median"])
    band = handle(axes, "80% band, curve").get_paths()[0].vertices
    end = band[np.isclose(band[:, 0], last), 1]
    assert end.min() == pytest.approx(expected["curve_lower"].iloc[-1])
    assert end.max() == pytest.approx(expected["curve_upper"].iloc[-1])
    assert len(handle(axes, "measured").get_xdata()) == own["activation_ratio"].notna().sum()
    assert f"{expected['median'].iloc[-1]:.4f} [" in axes.get_title("left")
    assert "at 120B (80%)" in axes.get_title("left")
    said = " ".join(text.get_text() for text in axes.texts)
    assert "seen: 40B" in said and "forecast to 120B" in said


def test_the_view_holds_all_points_and_no_wild_band_squeezes_them(table, axes):
    def wild(seen, tokens, rng):
        draws = 0.1 + 0.2 * np.abs(rng.normal(size=(400, 1))) * np.ones(len(tokens))
        return MethodForecast.from_draws(tokens, draws, curve_draws=draws)

    own = table[table["run"] == "rising_sim"]
    methods = resolve([wild])
    weights = pd.Series([1.0], index=pd.Index(["wild"], name="method"), name="weight")
    sf.plots.best_forecast(BestForecast(weights, None, "", own, methods, 0), axes)
    low, high = axes.get_ylim()
    assert low < own["activation_ratio"].min() and high > own["activation_ratio"].max()
    assert high - low < 5.0 * np.ptp(own["activation_ratio"])
    assert "forecast by wild" in labels(axes)


def test_a_method_without_a_curve_leaves_out_its_band(table, axes):
    def measured(seen, tokens, rng):
        return MethodForecast.from_draws(tokens, 0.4 + 0.01 * rng.normal(size=(400, len(tokens))))

    own = table[table["run"] == "rising_sim"]
    weights = pd.Series([1.0], index=pd.Index(["measured"], name="method"), name="weight")
    best = BestForecast(weights, None, "", own, resolve([measured]), 0)
    sf.plots.best_forecast(best, axes)
    assert "90% band, new measurement" in labels(axes)
    assert "90% band, curve" not in labels(axes)
    assert "nan" not in axes.get_title("left")


def test_later_points_are_drawn_as_not_used(table, axes):
    own = table[table["run"] == "rising_sim"]
    weights = pd.Series([1.0], index=pd.Index(["log_linear"], name="method"), name="weight")
    early = BestForecast(weights, None, "", own.head(16), resolve(["log_linear"]), 0)
    sf.plots.best_forecast(early, axes, held_out=table, legend=False, sparsity=False)
    assert len(handle(axes, "later, not used").get_xdata()) == 8
    assert axes.get_legend() is None and not axes.child_axes


def test_what_cannot_be_drawn_is_a_typed_error(best, fits, axes):
    with pytest.raises(ArgumentError, match=r"sf\.forecast_best returns, got Fits"):
        sf.plots.best_forecast(fits, axes)
    with pytest.raises(ArgumentError, match="run= says which run to draw; runs: 'falling_sim'"):
        sf.plots.best_forecast(best, axes)
    with pytest.raises(ArgumentError, match="no run 'nobody'"):
        sf.plots.best_forecast(best, axes, run="nobody")
    with pytest.raises(ArgumentError, match="until"):
        sf.plots.best_forecast(best, axes, run="falling_sim", until=1e9)
    with pytest.raises(ArgumentError, match="xscale"):
        sf.plots.best_forecast(best, axes, run="falling_sim", xscale="cubic")


def test_it_changes_nothing_but_the_axes_given(best, axes):
    import matplotlib
    import matplotlib.pyplot as plt

    settings, figures = dict(matplotlib.rcParams), plt.get_fignums()
    assert sf.plots.best_forecast(best, axes, run="rising_sim", xscale="linear") is axes
    axes.figure.draw_without_rendering()
    assert plt.get_fignums() == figures and dict(matplotlib.rcParams) == settings
