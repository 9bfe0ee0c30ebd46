"""Token budgets of a fit: when its curve meets a target, or comes near its limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit import checks
from sparsefit.errors import ArgumentError, quoted
from sparsefit.results.bands import budget, without_answer
from sparsefit.results.estimates import Budget
from sparsefit.results.limits import edge_of

if TYPE_CHECKING:
    from sparsefit.laws import Law
    from sparsefit.results.fit import Fit

Array = NDArray[np.float64]


def target_and_words(
    response: str, activation_ratio: float | None, sparsity: float | None, loss: float | None
) -> tuple[float, str]:
    """The target in the response's unit, and in words."""
    if response == "loss":
        if loss is None or activation_ratio is not None or sparsity is not None:
            raise ArgumentError("a fit of the loss takes tokens_to(loss=...) and nothing else")
        return checks.check_positive("loss (nats per token)", loss), f"a loss of {loss:g}"
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
    target, asked = target_and_words(fit.response, activation_ratio, sparsity, loss)
    crossing = fit.law.inverse(target, fit.averaged.draws.theta(fit.law))
    if sparsity is not None:
        first: float | Array = fit.points.d[0]
        if target < fit.points.y.min():
            # No point had it, and a draw says nothing about those that it sets aside as warm-up.
            first = fit.points.d[fit.averaged.draws.drop]
        crossing = _ahead(fit.law, crossing, first)
    edge = edge_of(fit)
    beside = [(edge, crossing[edge.rows])]
    found = budget(crossing, target, asked, level, fit.points.span, beside)
    return without_answer(found) if fit.misfit else found


def tokens_within(fit: Fit, share: float, level: float) -> Budget:
    """See `Fit.tokens_within`; `level` is checked."""
    _check_share(share)
    draws = fit.averaged.draws
    targets = draws.limit * (1.0 + fit.law.sign * share)
    asked, target = f"a distance of {100 * share:g}% from the limit", float(np.median(targets))
    crossing = fit.law.inverse(targets, draws.theta(fit.law))
    found = budget(crossing, target, asked, level, fit.points.span)
    return without_answer(found) if fit.misfit else found


def tokens_to_unseen(
    law: Law,
    theta: Array,
    first: float,
    activation_ratio: float | None,
    sparsity: float | None,
    loss: float | None,
    level: float,
) -> Budget:
    """Budget of a run without data; `level` is checked.

    Parameters
    ----------
    law : Law
        Its law.
    theta : ndarray, shape (m, p)
        Draws of its coefficients.
    first : float
        Billions of tokens from which on curves are known: a target met earlier is met by then.
    activation_ratio, sparsity, loss, level
        As in `Fit.tokens_to`.
    """
    target, asked = target_and_words(law.response, activation_ratio, sparsity, loss)
    crossing = law.inverse(target, theta)
    if sparsity is not None:
        crossing = _ahead(law, crossing, first)
    return budget(np.maximum(crossing, first), target, asked, level, (first, 0.0))


def tokens_within_unseen(
    law: Law, theta: Array, first: float, share: float, level: float
) -> Budget:
    """Budget of a run without data to within a share of its limit (see `tokens_to_unseen`)."""
    _check_share(share)
    targets = law.limit(theta) * (1.0 + law.sign * share)
    asked, target = f"a distance of {100 * share:g}% from the limit", float(np.median(targets))
    crossing = np.maximum(law.inverse(targets, theta), first)
    return budget(crossing, target, asked, level, (first, 0.0))


def _ahead(law: Law, crossing: Array, first: float | Array) -> Array:
    """Crossings of a sparsity that more training brings.

    Sparsity falls along a rising law: one that the run had before its first checkpoint, or the
    first that a draw describes, if ever, is not reached by training on.
    """
    return np.where(crossing < first, np.inf, crossing) if law.sign < 0 else crossing


def _check_share(share: float) -> None:
    if not (isinstance(share, int | float | np.floating) and 0.0 < share < 1.0):
        raise ArgumentError(f"share must lie strictly between 0 and 1, got {quoted(share)}")
