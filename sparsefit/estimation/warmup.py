"""Warm-up: which numbers of first points may be left out, and what leaving one out costs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.condense import condense
from sparsefit.estimation.evidence import LEAST_NOISE
from sparsefit.estimation.least_squares import fit_least_squares
from sparsefit.estimation.points import Points
from sparsefit.laws import Law

# Numbers of warm-up points up to this one are all considered.
_EACH_UP_TO = 30

WIDTH = 30.0
"""Width of the uniform density of a warm-up point, in standard deviations of the points that every
choice keeps: leaving out a point of the same noise costs log(30 / sqrt(2 pi e)) = 2.0 nats. Chosen
by the coverage of intervals on simulated runs."""


def warmup_choices(n: int, n_parameters: int) -> NDArray[np.intp]:
    """Numbers of first points that ``warmup="auto"`` considers leaving out.

    Up to a third of the points, and never so many that fewer than the law's parameters plus five
    stay: fewer predict the first points so loosely that leaving those out always looks better.
    Beyond 30 points, numbers grow by tenths: a log of 20,000 points has 90 choices, not 6,667.
    """
    most = max(0, min(n // 3, n - n_parameters - 5))
    choices = list(range(min(most, _EACH_UP_TO) + 1))
    while choices[-1] < most:
        choices.append(min(most, math.ceil(1.1 * choices[-1])))
    return np.array(choices)


def log_warmup_width(law: Law, points: Points, drops: NDArray[np.intp]) -> float:
    """Log of the width of the uniform density of a warm-up point, in the unit of the response.

    One width for all shapes and noise models. In units of the noise of each shape, the points left
    out would speak for the shapes under which the others look quiet, and intervals would be too
    narrow.

    Parameters
    ----------
    law : Law
        Law fitted.
    points : Points
        All points of the run.
    drops : ndarray of int
        Warm-up choices, ascending. The noise is that of least squares to the points which every
        one of them keeps.
    """
    if drops.size == 1:
        return 0.0
    kept, lost = condense(points.since(int(drops[-1])))
    ssr = fit_least_squares(law, kept, polish=False).ssr + lost.ssr
    freedom = max(len(kept) + lost.points - law.n_parameters, 1)
    noise = np.hypot(np.sqrt(ssr / freedom), LEAST_NOISE * points.range)
    return float(np.log(WIDTH * noise))
