"""The forecast of a size without data from nine smaller runs, and what was measured later."""

import pandas as pd

import sparsefit as sf

shipped = [sf.datasets.load(name) for name in ("reference_scales", "reference_scales_repeated")]
relu = pd.concat(shipped).query("activation == 'relu'")
later = relu[relu["run"] == "0.26m_relu_s0"]
size = later["n_params"].iloc[0]
smaller = sf.fit_bayes(relu[relu["n_params"] < size], pool="scale", engine="importance")
axes = sf.plots.scale_forecast(smaller.predict_scale(size), held_out=later)
figure = axes.figure
