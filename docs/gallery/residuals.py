"""Residuals of three runs, each in units of its own scatter; open points are warm-up."""

import sparsefit as sf

shipped = sf.datasets.load("reference_scales")
names = ["0.03m_relu_s0", "0.11m_relu_s0", "0.03m_silu_s0"]
figure = sf.plots.residuals(sf.fit(shipped[shipped["run"].isin(names)])).figure
