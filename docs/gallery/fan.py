"""Forecasts of one run from different shares of it, and what was measured."""

import sparsefit as sf

shipped = sf.datasets.load("reference_scales")
run = shipped[shipped["run"] == "0.03m_relu_s0"]
result = sf.backtest(run, ["fit"], cuts=(0.4, 0.6, 0.8))
figure = sf.plots.forecast_fan(result, table=run).figure
