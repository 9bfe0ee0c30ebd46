"""Criteria of fits to the same points: AICc, BIC, evidence and leave-one-out, and their limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.backtesting.loo import Loo
from sparsefit.bayes.psis import KHAT_LIMIT

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit

# Correlation of neighbouring residuals from which leave-one-out is called dependent.
_DEPENDENT = 0.3

Key = tuple[str, str]
"""Run and name of a fit."""


def run_rows(
    run: str, group: Mapping[str, Fit], loos: Mapping[Key, Loo], remarks: list[str]
) -> list[dict[str, Any]]:
    """Rows of the comparison's table about one run; what does not apply is said in `remarks`."""
    from sparsefit.results.criteria import least_squares_criteria, weights_of

    shared = max(fit.n_warmup for fit in group.values())
    if any(fit.n_warmup != shared for fit in group.values()):
        remarks.append(
            f"{run}: warm-ups differ; AICc and BIC are of least squares on the points after the "
            f"longest ({shared} left out)."
        )
    criteria = {name: least_squares_criteria(fit, shared) for name, fit in group.items()}
    if any(fit.robust for fit in group.values()):
        remarks.append(f"{run}: a robust fit reweights points; AICc and BIC ignore the weights.")
    evidence = _evidence(run, group, remarks)
    aicc_weights = weights_of([-0.5 * criteria[name].aicc for name in group])
    evidence_weights = weights_of([evidence[name] for name in group])
    rows = []
    for index, (name, fit) in enumerate(group.items()):
        loo = loos[run, name]
        rows.append(
            {
                "run": run,
                "fit": name,
                "law": fit.law.name,
                "warmup": fit.warmup,
                "n_warmup": fit.n_warmup,
                "aicc": criteria[name].aicc,
                "aicc_weight": aicc_weights[index],
                "bic": criteria[name].bic,
                "log_evidence": evidence[name],
                "evidence_weight": evidence_weights[index],
                "loo": loo.total if loo.reliable else np.nan,
                "loo_se": loo.standard_error if loo.reliable else np.nan,
                "loo_max_k": float(loo.k.max()),
            }
        )
    return rows


def _evidence(run: str, group: Mapping[str, Fit], remarks: list[str]) -> dict[str, float]:
    kinds = {(fit.method, fit.robust) for fit in group.values()}
    if len(kinds) > 1:
        remarks.append(
            f"{run}: the evidence of different methods (priors, reweighted points) does not "
            "compare."
        )
        return dict.fromkeys(group, float("nan"))
    return {name: float(fit.averaged.log_evidence) for name, fit in group.items()}


def _neighbour_correlation(fit: Fit) -> float:
    """Correlation of neighbouring residuals, averaged over the draws' noise models."""
    by_model = {"ar1": 1.0, "ou": 1.0}
    values = [by_model.get(noise.kind, 0.0) * noise.rho for noise in fit.averaged.noises]
    return float(np.array(values)[fit.averaged.draws.noise].mean())


def loo_remarks(named: Mapping[str, Mapping[str, Fit]], loos: Mapping[Key, Loo]) -> list[str]:
    """Where PSIS-LOO is left out, and where it says little."""
    unreliable = [
        f"{run}, {name} ({int((loo.k >= KHAT_LIMIT).sum())} of {len(loo.k)})"
        for (run, name), loo in loos.items()
        if not loo.reliable
    ]
    remarks = []
    if unreliable:
        remarks.append(
            "PSIS-LOO is left out where single points decide too much (Pareto k >= 0.7): "
            + "; ".join(unreliable)
            + "."
        )
    dependent = [
        f"{run}, {name} ({correlation:.1f})"
        for (run, name), loo in loos.items()
        if loo.reliable and (correlation := _neighbour_correlation(named[run][name])) > _DEPENDENT
    ]
    if dependent:
        remarks.append(
            "Residuals of neighbouring checkpoints are correlated, so leaving one point out still "
            "shows it through its neighbours; PSIS-LOO says little about forecasts for: "
            + "; ".join(dependent)
            + "."
        )
    return remarks
