"""Errors of three methods over the distance of the forecast, on two runs."""

import sparsefit as sf

shipped = sf.datasets.load("reference_scales")
two = shipped[shipped["run"].isin(["0.03m_relu_s0", "0.11m_relu_s0"])]
result = sf.backtest(two, ["fit", "curve_fit", "last_value"], cuts=(0.4, 0.5, 0.6, 0.7))
figure = sf.plots.error_by_horizon(result).figure
