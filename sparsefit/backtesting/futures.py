"""Measurements that a run might still get: further tokens, denser checkpoints, more text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit.laws import TOKENS_PER_UNIT

if TYPE_CHECKING:
    from sparsefit.estimation.points import Points
    from sparsefit.results.fit import Fit

Array = NDArray[np.float64]
IntArray = NDArray[np.int64]

# A function of the number of the future that gives the points as they would then be.
Scenario = Callable[[int], "Points"]


def scenario(fit: Fit, what: str, factor: float, order: IntArray, seed: int) -> Scenario | None:
    """Points of simulated futures, None where the table says too little of them.

    Parameters
    ----------
    fit : Fit
        Of one run.
    what : {"tokens", "checkpoints", "text"}
        What there is `factor` times as much of.
    factor : float
        Above 1.
    order : ndarray of int
        Which draws are taken as the truth, one after the other.
    seed : int
        Seed of the new measurements.
    """
    if what == "text":
        return _more_text(fit, factor, order, seed)
    extra = _later(fit, factor) if what == "tokens" else _between(fit, int(factor))
    values = fit.simulate(extra * TOKENS_PER_UNIT, "observation", rng=seed)
    return lambda index: _with_points(fit.points, extra, values[order[index % len(order)]])


def _later(fit: Fit, factor: float) -> Array:
    """Checkpoints (billions) up to `factor` times the present tokens, at the present spacing."""
    d = fit.points.d
    recent = d[len(d) // 2 - 1 :]
    gaps, steps = np.diff(recent), np.diff(np.log(recent))
    # Steps in tokens or in log tokens go on, whichever vary less: on log-spaced checkpoints the
    # present gap in tokens would promise many more measurements than there will be.
    if gaps.std() / gaps.mean() <= steps.std() / steps.mean():
        count = max(round((factor - 1.0) * d[-1] / float(np.median(gaps))), 1)
        return np.linspace(d[-1], factor * d[-1], count + 1)[1:]
    count = max(round(np.log(factor) / float(np.median(steps))), 1)
    return d[-1] * np.geomspace(1.0, factor, count + 1)[1:]


def _between(fit: Fit, density: int) -> Array:
    """Checkpoints (billions) that divide each gap between present ones into `density` parts."""
    d = fit.points.d
    shares = np.arange(1, density) / density
    return np.sort((d[:-1, None] + np.diff(d)[:, None] * shares).ravel())


def _with_points(points: Points, d: Array, y: Array) -> Points:
    from sparsefit.estimation.points import Points

    order = np.argsort(np.concatenate([points.d, d]), kind="stable")

    def join(old: Array | None, new: float) -> Array | None:
        if old is None:
            return None
        return np.concatenate([old, np.full(len(d), new)])[order]

    return Points(
        np.concatenate([points.d, d])[order],
        np.concatenate([points.y, y])[order],
        join(points.relative_se, 1.0),
        join(points.robust_inflation, 1.0),
    )


def _more_text(fit: Fit, factor: float, order: IntArray, seed: int) -> Scenario | None:
    """Re-measurement: the part of each residual that is measurement error is drawn anew."""
    if fit.points.relative_se is None or "se" not in fit.frame:
        return None
    se = float(np.median(fit.frame["se"].dropna())) * fit.points.relative_se
    draws, points = fit.averaged.draws, fit.points
    curve = draws.curve(fit.law, points.d)
    variances = []
    for noise in fit.averaged.noises:
        load, own, memory = noise.parts(points)
        variances.append(load**2 * memory + own**2)

    def simulate(index: int) -> Points:
        rng = np.random.default_rng([seed, index])
        pick = int(order[index % len(order)])
        j = int(draws.noise[pick])
        total = draws.sigma[pick] ** 2 * variances[j]
        share = np.minimum(se**2 / total, 1.0)
        # Given the residual, its measurement-error part is normal around `share` of it.
        error = share * (points.y - curve[pick])
        error = error + se * np.sqrt(1.0 - share) * rng.normal(size=len(se))
        again = se / np.sqrt(factor) * rng.normal(size=len(se))
        changed = points.y - error + again
        # How far a warm-up point lies from the law says nothing of its measurement error.
        first = int(draws.drop[pick])
        changed[:first] = points.y[:first]
        return replace(points, y=changed)

    return simulate
