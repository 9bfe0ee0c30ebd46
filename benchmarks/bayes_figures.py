"""Draw the figures of docs/bayes.md from the shipped reference runs.

python benchmarks/bayes_figures.py
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

import sparsefit as sf
from sparsefit.plots import bayes as plots

IMAGES = Path(__file__).parents[1] / "docs" / "images"
RUN = "0.11m_relu_s0"


def main() -> None:
    table = sf.datasets.load("reference_scales")
    relu = table[table["activation"] == "relu"]
    fit = sf.fit_bayes(relu[relu["run"] == RUN], engine="importance")
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    plots.prior(fit, axes[0], quantity="limit")
    plots.prior(fit, axes[1], quantity="alpha")
    plots.posterior_predictive(fit, axes[2])
    figure.savefig(IMAGES / "bayes_fit.png", dpi=110, metadata={"Software": None})
    pooled = sf.fit_bayes(relu, pool="scale", engine="importance")
    figure, axis = plt.subplots(figsize=(5, 3.6), layout="constrained")
    plots.pooled_limits(pooled, axis)
    figure.savefig(IMAGES / "bayes_pooled.png", dpi=110, metadata={"Software": None})
    print(fit.summary())
    print(pooled.limit_trend())
    print(IMAGES / "bayes_fit.png", IMAGES / "bayes_pooled.png")


if __name__ == "__main__":
    main()
