"""Limits of four sizes from half of each run, alone and pooled, and from all checkpoints."""

import sparsefit as sf
from sparsefit.plots.bayes import pooled_limits

shipped = sf.datasets.load("reference_scales").sort_values("tokens")
relu = shipped[shipped["activation"] == "relu"]
half = relu[relu.groupby("run").cumcount() < relu.groupby("run")["run"].transform("size") / 2]
axes = pooled_limits(sf.fit_bayes(half, pool="scale", engine="importance"))
later = sf.fit_bayes(relu, engine="importance").values()
sizes, limits = [fit.n_params for fit in later], [fit.limit().estimate for fit in later]
axes.plot(sizes, limits, "D", color="#D55E00", fillstyle="none", label="from all checkpoints")
axes.legend(frameon=False, fontsize="small")
figure = axes.figure
