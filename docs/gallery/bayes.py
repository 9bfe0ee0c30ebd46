"""Prior and posterior of limit and exponent: the data decide the limit, and alpha only roughly."""

import matplotlib.pyplot as plt

import sparsefit as sf
from sparsefit.plots.bayes import prior

shipped = sf.datasets.load("reference_scales")
fit = sf.fit_bayes(shipped[shipped["run"] == "0.11m_relu_s0"], engine="importance")
with plt.rc_context({"font.size": 8}):
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.4, 3.0), layout="constrained")
prior(fit, left, quantity="limit")
prior(fit, right, quantity="alpha")
right.set(title="", ylabel="")
