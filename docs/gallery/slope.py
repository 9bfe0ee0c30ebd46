"""How fast two runs still change, by tokens per parameter."""

import sparsefit as sf

shipped = sf.datasets.load("reference_scales")
fits = sf.fit(shipped[shipped["run"].isin(["0.03m_relu_s0", "0.11m_relu_s0"])])
figure = sf.plots.derivative(fits, wrt="data_scale_ratio").figure
