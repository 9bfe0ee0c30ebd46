"""Token budgets of a fit: when its curve meets a target, or comes near its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from sparsefit import checks
from sparsefit.errors import ArgumentError
from sparsefit.results.bands import budget, without_answer
from sparsefit.results.estimates import Budget
from sparsefit.results.limits import draws_near_bound

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit


def _target(
    response: str, activation_ratio: float | None, sparsity: float | None, loss: float | None
) -> tuple[float, str]:
    """The target in the response's unit, and in words."""
    if response == "loss":
        if loss is None or activation_ratio is not None or sparsity is not None:
            raise ArgumentError("a fit of the loss takes tokens_to(loss=...) and nothing else")
        if not (np.isfinite(loss) and loss > 0):
            raise ArgumentError(f"loss must be finite and > 0 (nats per token), got {loss!r}")
        return float(loss), f"a loss of {loss:g}"
    if loss is not None:
        raise ArgumentError("loss= needs a fit of the loss: sf.fit(table, response='loss')")
    target = checks.check_target(activation_ratio, sparsity)
    if sparsity is None:
        return target, f"activation ratio {activation_ratio:g}"
    return target, f"sparsity {sparsity:g}"


def tokens_to(
    fit: Fit,
    activation_ratio: float | None,
    sparsity: float | None,
    loss: float | None,
    level: float,
) -> Budget:
    """See `Fit.tokens_to`; `level` is checked."""
    target, asked = _target(fit.response, activation_ratio, sparsity, loss)
    crossing = fit.law.inverse(target, fit.averaged.draws.theta(fit.law))
    if sparsity is not None and fit.law.sign < 0:
        # Sparsity falls along a rising law: a sparsity that the run had before its first
        # checkpoint, if ever, is not one that more training brings.
        crossing = np.where(crossing < fit.points.d[0], np.inf, crossing)
    found = budget(crossing, target, asked, level, fit.points.span, draws_near_bound(fit, level))
    return without_answer(found) if fit.misfit else found


def tokens_within(fit: Fit, share: float, level: float) -> Budget:
    """See `Fit.tokens_within`; `level` is checked."""
    if not (isinstance(share, int | float | np.floating) and 0.0 < share < 1.0):
        raise ArgumentError(f"share must lie strictly between 0 and 1, got {share!r}")
    draws = fit.averaged.draws
    targets = draws.limit * (1.0 + fit.law.sign * share)
    asked, target = f"a distance of {100 * share:g}% from the limit", float(np.median(targets))
    crossing = fit.law.inverse(targets, draws.theta(fit.law))
    found = budget(crossing, target, asked, level, fit.points.span)
    return without_answer(found) if fit.misfit else found
