"""Three runs on one axis: ReLU falls to its limit, SiLU rises."""

import sparsefit as sf

shipped = sf.datasets.load("reference_scales")
names = ["0.03m_relu_s0", "0.11m_relu_s0", "0.03m_silu_s0"]
fits = sf.fit(shipped[shipped["run"].isin(names)])
figure = sf.plots.runs(fits).figure
