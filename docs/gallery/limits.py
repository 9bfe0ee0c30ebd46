"""Limits from half of each run and from all of it: the SiLU run leaves its first interval."""

import matplotlib.pyplot as plt

import sparsefit as sf

shipped = sf.datasets.load("reference_scales").sort_values("tokens")
shipped = shipped[shipped["run"].isin(["0.03m_relu_s0", "0.11m_relu_s0", "0.03m_silu_s0"])]
parts = {
    "from the first half of the checkpoints": shipped.groupby("run").head(10),
    "from all checkpoints": shipped,
}
with plt.rc_context({"font.size": 8}):
    figure, axes = plt.subplots(2, 1, figsize=(6.4, 4.2), layout="constrained", sharex=True)
for ax, (title, rows) in zip(axes, parts.items(), strict=True):
    sf.plots.limits(sf.fit(rows), ax, sparsity=False)
    ax.set_title(title, loc="left", fontsize=9)
axes[0].set_xlabel("")
