"""The first ten checkpoints of a run, the forecast from them, and those measured later."""

import sparsefit as sf

shipped = sf.datasets.load("reference_scales")
run = shipped[shipped["run"] == "0.11m_relu_s0"].sort_values("tokens")
fit = sf.fit(run.head(10))
axes = sf.plots.fit(fit, until=1.2 * run["tokens"].max(), held_out=run)
figure = axes.figure
