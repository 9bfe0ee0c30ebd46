"""The stacked forecast of a run from half of it and from smaller runs, and what came later."""

import pandas as pd

import sparsefit as sf

shipped = sf.datasets.load("reference_scales").query("activation == 'silu'")
run = shipped[shipped["run"] == "0.11m_silu_s0"].sort_values("tokens")
smaller = shipped[shipped["n_params"] < run["n_params"].iloc[0]]
best = sf.forecast_best(pd.concat([smaller, run.head(10)]), ["fit", "log_linear", "lm_multistart"])
axes = sf.plots.best_forecast(best, run="0.11m_silu_s0", until=run["tokens"].max(), held_out=run)
figure = axes.figure
