"""Tables and texts of a fit."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sparsefit.counts import count_text
from sparsefit.estimation.notes import kind_of
from sparsefit.laws import TOKENS_PER_UNIT
from sparsefit.records import records
from sparsefit.results.criteria import least_squares_criteria
from sparsefit.results.diagnostics import beyond_rounding, neighbour_correlation

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit


def points_table(fit: Fit) -> pd.DataFrame:
    """See `Fit.points_table`."""
    from sparsefit.table import usable_rows

    frame = fit.frame.sort_values("tokens", kind="stable").reset_index(drop=True)
    usable = usable_rows(frame, fit.response)
    out = pd.DataFrame(
        {"run": fit.run, "tokens": frame["tokens"], fit.response: frame[fit.response]}
    )
    order = np.full(len(frame), -1)
    order[usable] = np.arange(usable.sum())
    out["role"] = np.where(~usable, "failed", np.where(order < fit.n_warmup, "warm-up", "used"))
    left_out = np.array(
        [
            fit.averaged.drop_weight[fit.averaged.drops > i].sum() if i >= 0 else np.nan
            for i in order
        ]
    )
    out["warmup_probability"] = left_out
    out["fitted"] = fit._fitted(frame["tokens"].to_numpy(dtype=float) / TOKENS_PER_UNIT)
    out["residual"] = out[fit.response] - out["fitted"]
    return out


def tidy(fit: Fit, level: float) -> pd.DataFrame:
    """See `Fit.tidy`."""
    ends = fit.conf_int(level)
    return pd.DataFrame(
        {
            "run": fit.run,
            "law": fit.law.name,
            "term": list(fit.law.parameter_names),
            "estimate": fit.params.to_numpy(),
            "std_error": fit.bse.to_numpy(),
            "median": np.median(fit.averaged.draws.theta(fit.law), axis=0),
            "lower": ends["lower"].to_numpy(),
            "upper": ends["upper"].to_numpy(),
            "unit": [parameter.unit for parameter in fit.law.parameters],
        }
    )


def glance(fit: Fit, level: float) -> pd.DataFrame:
    """See `Fit.glance`."""
    residuals = fit.residuals()
    limit = fit.limit(level)
    criteria = least_squares_criteria(fit, fit.n_warmup)
    row = {
        "run": fit.run,
        "law": fit.law.name,
        "response": fit.response,
        "n_points": len(fit.points),
        "n_warmup": fit.n_warmup,
        "n_failed": len(fit.frame) - len(fit.points),
        "ssr": fit.least_squares.ssr,
        "rmse": float(np.sqrt(np.mean(residuals**2))),
        "lag1": neighbour_correlation(beyond_rounding(fit)),
        "aicc": criteria.aicc,
        "bic": criteria.bic,
        "log_evidence": fit.averaged.log_evidence,
        "limit": limit.estimate,
        "limit_lower": limit.lower,
        "limit_upper": limit.upper,
        "identified": limit.identified,
        "misfit": fit.misfit,
        "note_kinds": "; ".join(dict.fromkeys(kind_of(note) for note in fit.notes)),
        "bounds_hit": "; ".join(fit.least_squares.bounds_hit),
        "edge_form": fit.least_squares.edge_form or "",
    }
    return pd.DataFrame([row])


def short(fit: Fit) -> str:
    """One line for `repr`."""
    return (
        f"<Fit {fit.run!r}: {fit.law.name}, {len(fit.points)} points "
        f"({fit.n_warmup} warm-up), {fit.limit()!r}>"
    )


def _describe_warmup(fit: Fit) -> str:
    if fit.n_warmup == 0:
        return f"no point left out (rule: {fit.warmup})"
    tokens = ", ".join(count_text(t) for t in fit.tokens[: fit.n_warmup])
    what = "first point" if fit.n_warmup == 1 else f"first {fit.n_warmup} points"
    return f"{what} left out (rule: {fit.warmup}), at {tokens} tokens"


def summary(fit: Fit, level: float) -> str:
    """See `Fit.summary`."""
    limit = fit.limit(level)
    percent = f"{100 * level:g}%"
    lines = [
        f"Run {fit.run}",
        f"  law       {fit.law.equation}   ({fit.law.source}; {fit.law_reason})",
        f"  points    {len(fit.points)} usable of {len(fit.frame)} rows, "
        f"{count_text(fit.tokens[0])} to {count_text(fit.tokens[-1])} tokens",
        f"  warm-up   {_describe_warmup(fit)}",
        f"  method    {fit.method}: least squares for the coefficients; intervals averaged over "
        "warm-up choices and noise models",
        "",
        f"  {'term':<8}"
        + "".join(f"{head:>13}" for head in ("estimate", "std error", f"{percent} low", "high")),
    ]
    for row in records(tidy(fit, level)):
        numbers = (row.estimate, row.std_error, row.lower, row.upper)
        lines.append(f"  {row.term:<8}" + "".join(f"{number:>13.5g}" for number in numbers))
    estimate = f"  median of the draws: limit {limit.estimate:.{limit.decimals}f}"
    if fit.response == "activation_ratio":
        estimate += f", limit sparsity ratio {limit.sparsity!r}"
    lines += ["", f"  {limit.sentence}", estimate]
    lines += [f"  note: {note}" for note in fit.notes]
    lines += [f"  prior on the law's shape: {fit.averaged.prior_text}"]
    return "\n".join(lines)


def html(fit: Fit) -> str:
    """Notebook representation."""
    table = tidy(fit, 0.9).drop(columns=["run", "law"])
    notes = "".join(f"<li>{escape(note)}</li>" for note in fit.notes)
    return (
        f"<h4>{escape(fit.run)}: {escape(fit.law.name)}</h4>"
        f"<p><code>{escape(fit.law.equation)}</code>, {len(fit.points)} points, "
        f"{escape(_describe_warmup(fit))}.</p>"
        f"{table.to_html(index=False, float_format='{:.5g}'.format, na_rep='-')}"
        f"<p>{escape(fit.limit().sentence)}</p>" + (f"<ul>{notes}</ul>" if notes else "")
    )
