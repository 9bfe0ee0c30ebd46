"""What a Bayesian fit knows about its own posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.population import Located
from sparsefit.bayes.priors import Priors
from sparsefit.bayes.psis import KHAT_LIMIT
from sparsefit.estimation.draws import Draws

Array = NDArray[np.float64]

RHAT_LIMIT = 1.01
ESS_FLOOR = 400.0


@dataclass(frozen=True)
class Sampling:
    """How the draws were made and whether they can be trusted.

    Attributes
    ----------
    engine : {"importance", "nuts"}
        Engine that made the draws.
    ess : float
        Effective sample size: of the weights (importance), the smallest of all parameters, bulk or
        tail (NUTS).
    khat : float or None
        Pareto shape of the importance weights.
    rhat : float or None
        Largest split R-hat of all parameters (NUTS).
    divergences : int or None
        Divergent transitions (NUTS).
    evaluated : int
        Draws that the engine evaluated.
    chains : int
        Chains that the draws come from, one after the other (1 for independent draws).
    """

    engine: str
    ess: float
    khat: float | None = None
    rhat: float | None = None
    divergences: int | None = None
    evaluated: int = 0
    chains: int = 1

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the draws should not be trusted (empty if they can be)."""
        found = []
        if self.khat is not None and not self.khat <= KHAT_LIMIT:
            found.append(
                f"the Pareto k-hat of the importance weights is {self.khat:.2f}, above {KHAT_LIMIT}"
            )
        if self.rhat is not None and not self.rhat <= RHAT_LIMIT:
            found.append(f"the chains disagree (R-hat {self.rhat:.3f}, above {RHAT_LIMIT})")
        if self.divergences:
            found.append(f"{self.divergences} transitions diverged")
        if not self.ess >= ESS_FLOOR:
            found.append(f"the effective sample size is {self.ess:.0f}, below {ESS_FLOOR:.0f}")
        return tuple(found)

    @property
    def reliable(self) -> bool:
        """Whether every check of the sampler passed."""
        return not self.problems

    @property
    def sentence(self) -> str:
        """The checks in words."""
        checks = [f"effective sample size {self.ess:.0f}"]
        if self.khat is not None:
            checks.append(f"k-hat {self.khat:.2f}")
        if self.rhat is not None:
            checks.append(f"R-hat {self.rhat:.3f}")
        if self.divergences is not None:
            checks.append(f"{self.divergences} divergences")
        words = f"engine {self.engine}: {', '.join(checks)}"
        if self.problems:
            return f"DO NOT TRUST THIS POSTERIOR: {'; '.join(self.problems)} ({words})"
        return words


@dataclass(frozen=True)
class Posterior:
    """Model and sampler behind a `BayesFit`.

    Attributes
    ----------
    priors : Priors
        Priors of the law's parameters and the noise.
    likelihood : str
        Likelihood asked for.
    sampling : Sampling
        How the draws were made.
    measured : Draws
        Draws of the law of the measured values. The fit's own draws are these plus the error that
        all checkpoints share, where one was measured.
    se : ndarray, shape (n,), optional
        Measured standard errors, own to each point.
    se_shared : float
        Standard error that all checkpoints share (0 if none was measured).
    population : Located, optional
        Prior that other runs gave this one, where runs were pooled.
    """

    priors: Priors
    likelihood: str
    sampling: Sampling
    measured: Draws
    se: Array | None = None
    se_shared: float = 0.0
    population: Located | None = None
