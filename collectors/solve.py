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
# Above, hardly any neuron is left: what Algorithm 1 finds there hardly differs.
LOWEST, HIGHEST = 1e-4, 0.99
_MAX_FACTOR = 3.0
_MIN_WIDTH = 1e-3
_MAX_EVALUATIONS = 40
# Relative jaggedness of the log ratio (1% at 16k tokens of a 135M-parameter model: 2.5%), the
# spread of its exponent over models, and how much the exponent drifts away from the root.
_NOISE = 0.025
_EXPONENT_SD = 0.4
_DRIFT = 0.1
# Two CETT values closer than this skip nearly the same neurons: the second tells nothing new.
_SPACING = 0.004


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
    guess_error: float = 0.3,
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
    guess_error : float
        Relative standard error of the log ratio at `guess`, were the target what it promised.
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
    likeliest = smooth_root(points, target, guess=guess, guess_error=guess_error)
    # The lowest crossing from below to above, where perplexity is not monotone.
    for low, high in pairwise(points):
        if low.log_ratio < target <= high.log_ratio:
            return _inside(low, high, points, target, likeliest)
    edge = points[0] if points[0].log_ratio >= target else points[-1]
    return _outward(edge, target, points, likeliest)


def smooth_root(
    history: Sequence[Evaluation], target: float, *, guess: float, guess_error: float
) -> float:
    """CETT of the target on a power law through all evaluations and the guess.

    A secant through two jagged points near the root goes anywhere; a line through all points, in
    logarithms, averages their jaggedness out. Points far from the target count less, since the
    exponent drifts; the exponent is drawn towards `DEFAULT_EXPONENT`.
    """
    usable = [point for point in history if point.log_ratio > 0]
    x = np.log([guess, *(point.cett for point in usable)])
    y = np.log([1.0, *(point.log_ratio / target for point in usable)])
    sd = np.hypot(_NOISE, _DRIFT * y)
    # What was found nearest to the guess tells what the guess is worth.
    nearest = y[1:][np.argmin(np.abs(x[1:] - x[0]))] if len(usable) else 0.0
    sd[0] = np.hypot(guess_error, nearest)
    # Unknowns: the root's log CETT and the exponent, y = exponent (x - root).
    weights = sd**-2.0
    centre = float(weights @ x / weights.sum())
    level = float(weights @ y / weights.sum())
    spread = x - centre
    information = float(weights @ spread**2) + _EXPONENT_SD**-2.0
    gained = float(weights @ (spread * (y - level))) + DEFAULT_EXPONENT * _EXPONENT_SD**-2.0
    exponent = float(np.clip(gained / information, 0.5, 6.0))
    return float(np.exp(centre - level / exponent))


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
    edge: Evaluation, target: float, points: Sequence[Evaluation], likeliest: float
) -> Step:
    upward = edge.log_ratio < target
    if upward and edge.cett >= HIGHEST:
        return Step(edge.cett, "below", f"perplexity stays below the target up to CETT {HIGHEST:g}")
    if not upward and edge.cett <= LOWEST:
        return Step(
            edge.cett, "above", f"perplexity is above the target at the smallest CETT ({LOWEST:g})"
        )
    factor = likeliest / edge.cett if edge.log_ratio > 0 else _MAX_FACTOR
    # After many misses on the same side, go past the estimate: a bracket is worth more.
    least = 1.0 + _SPACING
    push = 1.0 + 0.02 * max(0, len(points) - 3)
    factor = max(factor, least) * push if upward else min(factor, 1 / least) / push
    factor = float(np.clip(factor, 1 / _MAX_FACTOR, _MAX_FACTOR))
    return Step(float(np.clip(edge.cett * factor, LOWEST, HIGHEST)), "continue")


def _inside(
    low: Evaluation,
    high: Evaluation,
    points: Sequence[Evaluation],
    target: float,
    likeliest: float,
) -> Step:
    a, b = np.log(low.cett), np.log(high.cett)
    width = b - a
    if width < _MIN_WIDTH:
        nearer = min(low, high, key=lambda point: abs(point.log_ratio - target))
        return Step(
            nearer.cett,
            "jagged",
            f"log perplexity ratio jumps from {low.log_ratio:.6f} to {high.log_ratio:.6f} "
            f"between CETT {low.cett:.6g} and {high.cett:.6g}",
        )
    share = (np.log(likeliest) - a) / width
    # A curve that is no power law can hold one end for ever: every third evaluation inside halves
    # the bracket.
    inside = sum(low.cett * 0.25 <= point.cett <= high.cett * 4 for point in points)
    if inside > 4 and len(points) % 3 == 0:
        share = 0.5
    edge = min(0.5, max(0.05, _SPACING / width))
    share = float(np.clip(share, edge, 1 - edge))
    return Step(float(np.exp(a + share * width)), "continue")
