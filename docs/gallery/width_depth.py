"""Limits simulated from a width-depth law with its break at 110, and the break that is found."""

import numpy as np
import pandas as pd

import sparsefit as sf

rng = np.random.default_rng(3)
ratio = np.array([20, 35, 50, 70, 90, 120, 160, 220, 300])
limit = 0.08 - 2.5e-4 * np.maximum(110 - ratio, 0) + 6e-4 * rng.standard_normal(ratio.size)
simulated = pd.DataFrame({"width_depth_ratio": ratio, "limit": limit})
figure = sf.plots.width_depth(sf.fit_width_depth(simulated)).figure
