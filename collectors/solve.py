"""Find the CETT value at which perplexity rises by exactly p%: a pure bracketing root finder.

Nothing here touches a model. `next_step` looks at the evaluations so far and says which CETT to
evaluate next, or that it is done; the same history always gives the same answer, so a run that was
killed continues where it stopped. Perplexity against CETT is jagged and can even fall: the result
is always an evaluated point, and what the evaluations do not bracket is flagged, never
extrapolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from sparsefit.errors import ArgumentError

# Log perplexity ratio grows about as the square of the error of the FFN outputs.
DEFAULT_EXPONENT = 2.0
DEFAULT_TOLERANCE = 3e-4
# Above, hardly any neuron is left and per-layer curves fold back where outputs cancel.
LOWEST, HIGHEST = 1e-4, 0.9
_MAX_FACTOR = 3.0
_MIN_WIDTH = 1e-3
_MAX_EVALUATIONS = 40


@dataclass(frozen=True)
class Evaluation:
    """One evaluated point.

    Attributes
    ----------
    cett : float
        CETT value, fraction.
    log_ratio : float
        Log of the mean over checkpoints of exp(sparse loss - dense loss).
    """

    cett: float
    log_ratio: float


@dataclass(frozen=True)
class Step:
    """What to do next.

    Attributes
    ----------
    cett : float
        CETT to evaluate, or the result where `status` is not ``continue``.
    status : str
        ``continue``; ``converged`` (within tolerance at an evaluated point); ``jagged`` (the
        perplexity jumps over the target between two CETT values 0.1% apart: the nearer side is
        returned); ``below`` / ``above`` (every value evaluated lies on one side of the target);
        ``exhausted`` (evaluation limit reached: best point).
    message : str
        What a flagged status means, in words; empty where converged.
    """

    cett: float
    status: str
    message: str = ""

    @property
    def done(self) -> bool:
        """True where no further evaluation is wanted."""
        return self.status != "continue"


def next_step(
    history: Sequence[Evaluation],
    target: float,
    *,
    guess: float,
    exponent: float = DEFAULT_EXPONENT,
    tolerance: float = DEFAULT_TOLERANCE,
) -> Step:
    """Return the next CETT to evaluate, or the result.

    Parameters
    ----------
    history : sequence of Evaluation
        Every point evaluated so far, in any order.
    target : float
        Log perplexity ratio wanted, log(1 + p/100); positive.
    guess : float
        First CETT, fraction.
    exponent : float
        Assumed local exponent of the log ratio in CETT until two points tell.
    tolerance : float
        Largest absolute difference to the target, in log perplexity ratio.

    Returns
    -------
    Step
    """
    if not target > 0:
        raise ArgumentError(f"target={target}: the perplexity must be allowed to rise")
    if not history:
        return Step(float(np.clip(guess, LOWEST, HIGHEST)), "continue")
    points = sorted(history, key=lambda point: point.cett)
    best = min(points, key=lambda point: abs(point.log_ratio - target))
    if abs(best.log_ratio - target) <= tolerance:
        return Step(best.cett, "converged")
    if len(points) >= _MAX_EVALUATIONS:
        return Step(best.cett, "exhausted", f"no root within {_MAX_EVALUATIONS} evaluations")
    # The lowest crossing from below to above, where perplexity is not monotone.
    for low, high in pairwise(points):
        if low.log_ratio < target <= high.log_ratio:
            return _inside(low, high, points, target)
    if points[0].log_ratio >= target:
        return _outward(points[0], target, exponent, points)
    return _outward(points[-1], target, exponent, points)


def local_exponent(
    history: Sequence[Evaluation], cett: float, fallback: float = DEFAULT_EXPONENT
) -> float:
    """Exponent d log(log ratio) / d log CETT near a value, from the two nearest evaluated points.

    Points closer than 2% or with a log ratio at or below 0 say nothing about a slope; then
    `fallback` is returned. The result is kept within 0.5 to 6.
    """
    usable = sorted(
        (point for point in history if point.log_ratio > 0),
        key=lambda point: abs(np.log(point.cett / cett)),
    )
    for other in usable[1:]:
        first = usable[0]
        gap = np.log(other.cett / first.cett)
        if abs(gap) >= 0.02:
            return float(np.clip(np.log(other.log_ratio / first.log_ratio) / gap, 0.5, 6.0))
    return fallback


def root_exponent(history: Sequence[Evaluation], cett: float) -> float:
    """Exponent d log(log ratio) / d log CETT at a root, for standard errors.

    Evaluations gather round the root, where jaggedness (about 5% of the log ratio) drowns a slope
    between two of them: a straight line through all points within a factor 3, drawn towards
    `DEFAULT_EXPONENT` (with a standard deviation of 0.5).
    """
    near = [
        point
        for point in history
        if point.log_ratio > 0 and abs(np.log(point.cett / cett)) < np.log(3.0)
    ]
    x = np.log([point.cett for point in near])
    y = np.log([point.log_ratio for point in near])
    noise, prior = 0.05, 0.5
    spread = x - x.mean() if x.size else x
    information = float(spread @ spread) / noise**2
    gained = float(spread @ y) / noise**2
    return (gained + DEFAULT_EXPONENT / prior**2) / (information + 1 / prior**2)


def _outward(
    edge: Evaluation, target: float, exponent: float, points: Sequence[Evaluation]
) -> Step:
    upward = edge.log_ratio < target
    if upward and edge.cett >= HIGHEST:
        return Step(edge.cett, "below", f"perplexity stays below the target up to CETT {HIGHEST:g}")
    if not upward and edge.cett <= LOWEST:
        return Step(
            edge.cett, "above", f"perplexity is above the target at the smallest CETT ({LOWEST:g})"
        )
    if edge.log_ratio > 0:
        factor = (target / edge.log_ratio) ** (1 / local_exponent(points, edge.cett, exponent))
    else:
        factor = _MAX_FACTOR
    # After the second miss on the same side, go past the estimate: a bracket is worth more.
    push = 1.0 + 0.02 * (len(points) - 1)
    factor = max(factor, 1.002) * push if upward else min(factor, 1 / 1.002) / push
    factor = float(np.clip(factor, 1 / _MAX_FACTOR, _MAX_FACTOR))
    return Step(float(np.clip(edge.cett * factor, LOWEST, HIGHEST)), "continue")


def _inside(
    low: Evaluation,
    high: Evaluation,
    points: Sequence[Evaluation],
    target: float,
) -> Step:
    a, b = np.log(low.cett), np.log(high.cett)
    if b - a < _MIN_WIDTH:
        nearer = min(low, high, key=lambda point: abs(point.log_ratio - target))
        return Step(
            nearer.cett,
            "jagged",
            f"log perplexity ratio jumps from {low.log_ratio:.6f} to {high.log_ratio:.6f} "
            f"between CETT {low.cett:.6g} and {high.cett:.6g}",
        )
    if low.log_ratio > 0:
        share = np.log(target / low.log_ratio) / np.log(high.log_ratio / low.log_ratio)
    else:
        share = (target - low.log_ratio) / (high.log_ratio - low.log_ratio)
    # A jagged curve can hold one end for ever: every third evaluation inside halves the bracket.
    inside = sum(low.cett * 0.25 <= point.cett <= high.cett * 4 for point in points)
    if inside > 4 and len(points) % 3 == 0:
        share = 0.5
    share = float(np.clip(share, 0.05, 0.95))
    return Step(float(np.exp(a + share * (b - a))), "continue")
