"""Do chains agree, and how many independent draws are they worth? Asked of ArviZ 0.x and 1.x."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# ArviZ 0.x takes these for the tails; 1.x takes others by default.
_TAILS = (0.05, 0.95)


class Convergence(NamedTuple):
    """Checks of Markov chains, the worst over all columns.

    Attributes
    ----------
    rhat : float
        Largest rank-normalised split R-hat.
    bulk, tail : float
        Smallest effective sample sizes; the tails are the 5% and 95% points.
    """

    rhat: float
    bulk: float
    tail: float


def convergence(chains: NDArray[np.float64]) -> Convergence:
    """Check chains.

    Parameters
    ----------
    chains : ndarray, shape (chains, draws, p)
        Draws of p quantities.
    """
    import arviz as az

    # One quantity at a time: arrays of two dimensions mean the same to every version.
    columns = [chains[:, :, j] for j in range(chains.shape[2])]
    return Convergence(
        max(float(az.rhat(column)) for column in columns),
        min(float(az.ess(column, method="bulk")) for column in columns),
        min(float(az.ess(column, method="tail", prob=_TAILS)) for column in columns),
    )
