"""Tokens that a range of targets needs, from the first half of a run."""

import sparsefit as sf

shipped = sf.datasets.load("reference_scales")
run = shipped[shipped["run"] == "0.11m_relu_s0"].sort_values("tokens")
figure = sf.plots.budget(sf.fit(run.head(10))).figure
