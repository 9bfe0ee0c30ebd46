"""Does another law describe a run that goes against its own?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparsefit import laws
from sparsefit.estimation.engine import average
from sparsefit.estimation.misfit import goes_against
from sparsefit.estimation.points import Points
from sparsefit.estimation.warmup import warmup_choices
from sparsefit.laws import Law

# Log evidence by which another law has to be ahead before a note names it.
_CLEARLY = 3.0
# The evidence does not depend on the draws.
_DRAWS = 100


def better_law(
    law: Law, points: Points, drops: NDArray[np.intp], auto: bool
) -> tuple[Law, float] | None:
    """The registered law that describes a run clearly better, if one does.

    Parameters
    ----------
    law, points : Law, Points
        The law that was fitted, and all points of the run.
    drops : ndarray of int
        Its warm-up choices.
    auto : bool
        Whether they are those of ``warmup="auto"``, which depend on the law.

    Returns
    -------
    tuple of Law and float, or None
        The law and by how many nats its evidence is higher (at least 3). It is of the same
        response, and the points do not go against it.
    """
    # How far outliers are down-weighted belongs to the law fitted.
    points = replace(points, robust_inflation=None)
    n = len(points)

    def evidence(candidate: Law) -> float:
        choices = warmup_choices(n, candidate.n_parameters) if auto else drops
        rng = np.random.default_rng(0)
        return average(candidate, points, choices, rng, size=_DRAWS).log_evidence

    others = [
        other
        for other in map(laws.get, laws.names())
        if other.name != law.name
        and other.response == law.response
        and n - int(drops.min()) >= other.n_parameters + 2
        and goes_against(other, points) is None
    ]
    if not others:
        return None
    found = {other.name: evidence(other) for other in others}
    best = max(others, key=lambda other: found[other.name])
    ahead = found[best.name] - evidence(law)
    return (best, ahead) if ahead >= _CLEARLY else None
