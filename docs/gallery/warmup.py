"""The limit for every choice of warm-up, and how much the data favour each."""

import sparsefit as sf

shipped = sf.datasets.load("reference_scales")
fit = sf.fit(shipped[shipped["run"] == "0.03m_relu_s0"])
figure = sf.plots.warmup_sensitivity(fit).figure
