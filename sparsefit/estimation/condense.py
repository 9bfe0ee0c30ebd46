"""Long runs averaged in narrow bins of log D, for scans that would take minutes.

The laws are smooth in log D. Within a bin of a five-hundredth of the run they are nearly lines, so
that the mean of a bin's points lies on the curve as well as the points do. A least-squares fit to
the means, weighted by the points behind them, is the fit to the points.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sparsefit.estimation.points import Points

MOST = 500
"""Runs of up to twice as many points are left as they are."""


@dataclass(frozen=True)
class Within:
    """What averaging took from the points.

    Attributes
    ----------
    ssr : float
        Weighted sum of squares of the points about the means of their bins.
    points : int
        How many fewer points there are.
    """

    ssr: float
    points: int


NOTHING = Within(0.0, 0)


def condense(points: Points) -> tuple[Points, Within]:
    """Weighted means of the points in bins of log D, and what they have lost."""
    if len(points) <= 2 * MOST:
        return points, NOTHING
    log_d = np.log(points.d)
    share = (log_d - log_d[0]) / (log_d[-1] - log_d[0])
    starts = np.flatnonzero(np.diff(np.floor(MOST * share), prepend=-1.0))
    weights = points.weights
    total = np.add.reduceat(weights, starts)
    means = [np.add.reduceat(weights * values, starts) / total for values in (log_d, points.y)]
    about = points.y - np.repeat(means[1], np.diff(starts, append=len(points)))
    lost = Within(float(weights @ about**2), len(points) - starts.size)
    return Points(np.exp(means[0]), means[1], total**-0.5), lost
