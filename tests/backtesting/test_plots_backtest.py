from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError
from sparsefit.plots.backtest import calibration_curve, error_by_horizon, forecast_fan

METHODS = ["log_linear", "last_value"]


@pytest.fixture(scope="module")
def result(two_runs):
    return sf.backtest(two_runs, METHODS)


@pytest.fixture
def axes():
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def test_plots_draw_on_the_axes_given_and_return_them(result, axes):
    other = plt.figure()
    for draw in (
        lambda: error_by_horizon(result, axes),
        lambda: calibration_curve(result, axes),
        lambda: forecast_fan(result, axes),
    ):
        assert draw() is axes
        assert axes.get_xlabel() and axes.get_ylabel()
        axes.clear()
    assert not other.axes
    plt.close(other)


def test_error_lines_hold_the_tables_values(result, axes):
    error_by_horizon(result, axes, methods=["last_value"])
    table = result.table("bucket").query("method == 'last_value'")
    np.testing.assert_allclose(axes.lines[0].get_ydata(), table["mae"])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == list(table["bucket"])


def test_fan_shows_a_line_for_each_cut_and_all_measured_points(result, axes, two_runs):
    forecast_fan(result, axes, run="rising", method="log_linear", table=two_runs)
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["from 30% seen", "from 50% seen", "from 70% seen", "measured"]
    assert len(axes.lines[-1].get_xdata()) == 30


def test_wrong_names_are_typed_errors(result):
    with pytest.raises(ArgumentError, match="falling"):
        forecast_fan(result, run="nobody")
    with pytest.raises(ArgumentError, match="log_linear"):
        calibration_curve(result, methods=["nobody"])
    for methods in ("log_linear", [], 3):
        with pytest.raises(ArgumentError, match="methods"):
            calibration_curve(result, methods=methods)
    for draw in (error_by_horizon, calibration_curve, forecast_fan):
        with pytest.raises(ArgumentError, match=r"sf\.backtest returns, got int"):
            draw(3)
    with pytest.raises(ArgumentError, match=r"sf\.compare returns, got Backtest"):
        sf.plots.comparison(result)
    with pytest.raises(ArgumentError, match="table must be a measurement table"):
        forecast_fan(result, table="points.csv")
    with pytest.raises(ArgumentError, match="score"):
        error_by_horizon(result, score="rmse")
