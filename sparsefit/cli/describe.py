"""A fit as the commands describe it: in one line, in sentences, and in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sparsefit.counts import count_text

if TYPE_CHECKING:
    from sparsefit.results.estimates import Limit
    from sparsefit.results.fit import Fit


def head_line(fit: Fit) -> str:
    """Name the run, its law and its data, with the value it has come to, in one line."""
    span = f"{count_text(fit.tokens[0])} to {count_text(fit.tokens[-1])} tokens"
    data = f"{len(fit.points)} checkpoints, {span}, the last at {fit.points.y[-1]:.4f}"
    return f"{fit.run}: {data}; {fit.law.name} ({fit.law_reason})"


def limit_sentence(limit: Limit) -> str:
    """State the limit, its interval and how far the data identify it."""

    def shown(value: float) -> str:
        return f"{value:.{limit.decimals}f}"

    percent = f"{100 * limit.level:g}%"
    ratio = limit.response == "activation_ratio"
    noun = "activation ratio" if ratio else "loss"

    if limit.identified == "yes":
        less, most = shown(1 - limit.upper), shown(1 - limit.lower)
        more = f" (sparsity {shown(1 - limit.estimate)}, {less} to {most})" if ratio else ""
        return (
            f"Limit: {noun} {shown(limit.estimate)}, {percent} interval {shown(limit.lower)} to "
            f"{shown(limit.upper)}{more}. Identified: yes."
        )
    if limit.identified == "no":
        return f"Limit: the data do not bound it on either side ({percent}). Identified: no."
    if limit.bounded[0]:
        known, other, end, open_side = "at least", "at most", limit.lower, "above"
    else:
        known, other, end, open_side = "at most", "at least", limit.upper, "below"
    sparsity = f" (sparsity {other} {shown(1 - end)})" if ratio else ""
    return (
        f"Limit: {noun} {known} {shown(end)}{sparsity} at {percent}; the data do not bound it "
        f"{open_side}. Median {shown(limit.estimate)}, which leans on the prior. "
        "Identified: one-sided."
    )


def note_lines(fit: Fit) -> list[str]:
    """Notes of a fit as lines."""
    return [f"  note: {note}" for note in fit.notes]


def run_document(fit: Fit, level: float) -> dict[str, Any]:
    """Describe a fit in JSON: what both `fit` and `forecast` report."""
    limit = fit.limit(level)
    document = {
        "run": fit.run,
        "method": fit.method,
        "law": fit.law.name,
        "law_reason": fit.law_reason,
        "response": fit.response,
        "n_points": len(fit.points),
        "n_warmup": fit.n_warmup,
        "warmup": fit.warmup,
        "tokens_seen": fit.tokens[-1],
        "last_measured": fit.points.y[-1],
        "limit": {**limit.to_dict(), "sentence": limit_sentence(limit)},
        "notes": list(fit.notes),
        "misfit": fit.misfit,
    }
    if limit.response == "activation_ratio":
        sparsity = limit.sparsity
        document["limit_sparsity"] = {
            "estimate": sparsity.estimate,
            "lower": sparsity.lower,
            "upper": sparsity.upper,
        }
    return document
