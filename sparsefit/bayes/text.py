"""Text of a Bayesian fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsefit.bayes.priors import WARMUP_SCALE
from sparsefit.counts import count_text
from sparsefit.records import records
from sparsefit.results.text import tidy

if TYPE_CHECKING:
    from sparsefit.bayes.result import BayesFit

_KINDS = {
    "white": "independent",
    "ar1": "AR(1)",
    "ou": "discrepancy",
    "student_t": "Student-t",
}


def likelihood_weights(fit: BayesFit) -> dict[str, float]:
    """Posterior probability of each kind of noise."""
    weight: dict[str, float] = {}
    for model, share in zip(fit.averaged.noises, fit.averaged.noise_weight, strict=True):
        weight[model.kind] = weight.get(model.kind, 0.0) + float(share)
    return weight


def summary(fit: BayesFit, level: float) -> str:
    """See `BayesFit.summary`."""
    percent = f"{100 * level:g}%"
    drops, weight = fit.averaged.drops, fit.averaged.drop_weight
    noise = ", ".join(f"{_KINDS[k]} {w:.2f}" for k, w in likelihood_weights(fit).items())
    shown = ", ".join(f"{k}: {w:.2f}" for k, w in zip(drops, weight, strict=True) if w >= 0.005)
    lines = [
        f"Run {fit.run}",
        f"  law       {fit.law.equation}   ({fit.law.source}; {fit.law_reason})",
        f"  points    {len(fit.points)} usable of {len(fit.frame)} rows, "
        f"{count_text(fit.tokens[0])} to {count_text(fit.tokens[-1])} tokens",
        f"  warm-up   rule {fit.warmup}; probability of each number of points: {shown}",
        f"  noise     likelihood {fit.posterior.likelihood!r}: {noise}",
        f"  sampler   {fit.posterior.sampling.sentence}",
    ]
    if fit.posterior.se is not None:
        typical = float(np.median(fit.posterior.se))
        lines.append(f"  errors    measured, median {typical:.2g}: known variance of each point")
    if fit.posterior.se_shared:
        lines.append(
            f"  errors    shared by all points {fit.posterior.se_shared:.2g}: shifts every draw"
        )
    heads = ("median", "sd", f"{percent} low", "high")
    lines += ["", f"  {'term':<8}" + "".join(f"{head:>13}" for head in heads)]
    for row in records(tidy(fit, level)):
        numbers = (row.estimate, row.std_error, row.lower, row.upper)
        lines.append(f"  {row.term:<8}" + "".join(f"{number:>13.5g}" for number in numbers))
    limit = fit.limit(level)
    lines += ["", f"  {limit.sentence}"]
    if fit.response == "activation_ratio":
        lines.append(f"  limit sparsity ratio {limit.sparsity!r}")
    lines += [f"  note: {note}" for note in fit.notes]
    lines += ["  priors:", *(f"    {line}" for line in fit.priors)]
    if len(drops) > 1:
        lines.append(
            f"    warm-up: 0 to {drops.max()} points, equally likely; they depart from the law by "
            f"Cauchy noise, scale {WARMUP_SCALE:g} times the change"
        )
    return "\n".join(lines)
