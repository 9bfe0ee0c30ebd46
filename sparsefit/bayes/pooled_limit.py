"""What a run's own points and the other runs together say about its limit.

Whether a physical bound is excluded is the likelihood's to say, not a prior's. The other runs that
a pooled run learns from are data too: their share of the likelihood is the ratio of the pooled
prior to the prior of a run alone, averaged over all else at each limit.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.limit_likelihood import LimitLikelihood

Array = NDArray[np.float64]

_BINS = 40


def with_others(
    own: LimitLikelihood,
    limit: Array,
    log_alone: Array,
    log_pooled: Array,
    log_evidence: tuple[float, float],
) -> LimitLikelihood:
    """Likelihood of the limit from a run's own points and from other runs.

    With L the likelihood of all parameters, a and m the two priors and draws from both posteriors
    together, the ratio at a limit is sum(m w) / sum(a w) over draws near it, w = 1 / (a / Z_a +
    m / Z_m): L cancels, and no draw has a large weight.

    Parameters
    ----------
    own : LimitLikelihood
        Of the run's own points.
    limit : ndarray, shape (n,)
        Limits of as many draws from the posterior alone as from the pooled one.
    log_alone, log_pooled : ndarray, shape (n,)
        Log prior density of each draw: of a run alone, and of the pooled run.
    log_evidence : tuple of float
        Log evidence under either prior.

    Returns
    -------
    LimitLikelihood
    """
    top = np.maximum(log_alone, log_pooled)
    alone, pooled = np.exp(log_alone - top), np.exp(log_pooled - top)
    shift = max(log_evidence)
    evidence = np.exp(np.array(log_evidence) - shift)
    weight = 1.0 / (alone / evidence[0] + pooled / evidence[1])
    order = np.argsort(limit)
    centre, log_ratio = [], []
    for part in np.array_split(order, min(_BINS, len(order) // 50 or 1)):
        centre.append(float(np.median(limit[part])))
        shares = float(pooled[part] @ weight[part]), float(alone[part] @ weight[part])
        log_ratio.append(float(np.log(max(shares[0], 1e-300)) - np.log(max(shares[1], 1e-300))))
    log = np.log(np.maximum(own.relative, 1e-300)) + np.interp(own.limit, centre, log_ratio)
    return replace(own, relative=np.exp(log - log.max()))
