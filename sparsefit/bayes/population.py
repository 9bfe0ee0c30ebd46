"""How the law's parameters move with scale: features, and the distribution of a new run's.

Features of a run do not depend on where its points lie. With E(D) = |A(D) - A0| and a reference D
common to the runs they are

    logit A0 (log of the limit for a loss), log E(D_ref), log of -dlog E / dlog D at D_ref
    (Eq. 4 only), log alpha, log of the noise scale at D_ref.

The noise scale is referred to D_ref as well: it mostly falls with D, so that the scale at the last
of few points is not that at the end of a long run. Each is normal about a straight line in log N
(and other logged covariates).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.mixture import log_sum_exp
from sparsefit.checks import check_positive
from sparsefit.errors import ArgumentError
from sparsefit.laws import Law
from sparsefit.laws.base import span_ratio

Array = NDArray[np.float64]


def feature_names(law: Law) -> tuple[str, ...]:
    """Names of the features, in the order of `features`."""
    level = "logit limit" if law.response == "activation_ratio" else "log limit"
    steep = ("log steepness",) if law.n_shape == 2 else ()
    return (level, "log excess", *steep, "log alpha", "log sigma")


def features(
    law: Law,
    d_ref: float,
    span: tuple[float, float],
    shape: Array,
    amplitude: Array,
    limit: Array,
    sigma: Array,
    spread: Array | float = 0.0,
) -> Array:
    """Features of draws, shape (m, number of features).

    Parameters
    ----------
    law, d_ref : Law, float
        Law and reference D.
    span : tuple of float
        First and last D of the run.
    shape, amplitude, limit, sigma : ndarray
        Draws, see `coordinates.Described`.
    spread : float or ndarray, shape (m,)
        Spread exponent of each draw's noise model, `NoiseModel.spread_exponent`.
    """
    alpha = shape[:, 0]
    reach = np.log(d_ref / span[0])
    noise = np.log(sigma) + spread * np.log(span[1] / d_ref)
    with np.errstate(divide="ignore", over="ignore"):
        if law.response == "activation_ratio":
            level = np.log(limit) - np.log1p(-limit)
        else:
            level = np.log(limit)
        if law.n_shape == 1:
            return np.column_stack([level, np.log(amplitude) - alpha * reach, np.log(alpha), noise])
        whole = np.log(np.expm1(alpha * span_ratio(span)))
        gone = shape[:, 1] * np.expm1(alpha * reach) / np.exp(whole)
        steep = np.log(shape[:, 1]) + np.log(alpha) + alpha * reach - whole
    return np.column_stack([level, np.log(amplitude) - gone, steep, np.log(alpha), noise])


def log_level_jacobian(law: Law, limit: Array) -> Array:
    """Log of |d features / d (last, log change, log shape, log sigma)|: only the limit counts."""
    with np.errstate(divide="ignore"):
        if law.response == "activation_ratio":
            return -np.log(limit) - np.log1p(-limit)
        return -np.log(limit)


def to_theta(law: Law, d_ref: float, z: Array) -> Array:
    """Published coefficients of features, shape (m, p)."""
    if law.response == "activation_ratio":
        limit = 1.0 / (1.0 + np.exp(-z[:, 0]))
    else:
        limit = np.exp(z[:, 0])
    alpha = np.exp(z[:, -2])
    if law.n_shape == 1:
        return np.column_stack([alpha, np.exp(z[:, 1]) * d_ref**alpha, limit])
    rate = np.exp(z[:, 2]) / alpha
    return np.column_stack([alpha, z[:, 1] + rate, rate * d_ref**-alpha, limit])


@dataclass(frozen=True)
class Population:
    """Posterior of how features move with scale, as draws of the hyper-parameters.

    Attributes
    ----------
    names : tuple of str
        Features.
    covariates : tuple of str
        Columns that enter as logs: ``n_params`` first.
    centre : ndarray, shape (c,)
        Mean of the logged covariates over the runs.
    d_ref : float
        Reference D, billions of tokens.
    coefficients : ndarray, shape (s, features, 1 + c)
        Intercept at the centre and slopes per unit of each logged covariate.
    spread : ndarray, shape (s, features)
        Standard deviation of runs about the line.
    runs : tuple of str
        Runs that it was learnt from.
    """

    names: tuple[str, ...]
    covariates: tuple[str, ...]
    centre: Array
    d_ref: float
    coefficients: Array
    spread: Array
    runs: tuple[str, ...]

    def design(self, values: dict[str, float]) -> Array:
        """Row (1, logged and centred covariates) of a run.

        Raises
        ------
        ArgumentError
            For a covariate that is missing or no positive number.
        """
        row = [1.0]
        for name, middle in zip(self.covariates, self.centre, strict=True):
            value = values.get(name)
            if value is None:
                known = ", ".join(self.covariates)
                raise ArgumentError(f"covariates: {name!r} is missing; the fit uses {known}")
            row.append(float(np.log(check_positive(name, value)) - middle))
        return np.array(row)

    def log_density(self, z: Array, row: Array) -> Array:
        """Log predictive density of a run's features, averaged over the hyper-parameters."""
        mean, spread = self.coefficients @ row, self.spread
        found = np.empty(z.shape[0])
        # Distances from a common centre, multiplied out: one product instead of an array per draw.
        centre = mean.mean(axis=0)
        off, precision = mean - centre, spread**-2.0
        constant = -0.5 * (off**2 * precision).sum(axis=1) - np.log(spread).sum(axis=1)
        for at in np.array_split(np.arange(z.shape[0]), max(1, z.shape[0] // 2000)):
            x = z[at] - centre
            log = (off * precision) @ x.T - 0.5 * precision @ (x**2).T + constant[:, None]
            found[at] = log_sum_exp(log)
        return found - np.log(len(mean)) - 0.5 * z.shape[1] * np.log(2 * np.pi)

    def draw(self, row: Array, size: int, rng: np.random.Generator) -> Array:
        """Features of new runs, shape (size, features)."""
        pick = rng.permutation(np.arange(size) % len(self.spread))
        mean = self.coefficients[pick] @ row
        return np.asarray(mean + self.spread[pick] * rng.standard_normal(mean.shape))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "names": list(self.names),
            "covariates": list(self.covariates),
            "centre": self.centre.tolist(),
            "d_ref": self.d_ref,
            "coefficients": self.coefficients.tolist(),
            "spread": self.spread.tolist(),
            "runs": list(self.runs),
        }

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> Population:
        """Inverse of `to_dict`."""
        return cls(
            tuple(plain["names"]),
            tuple(plain["covariates"]),
            np.array(plain["centre"]),
            plain["d_ref"],
            np.array(plain["coefficients"]),
            np.array(plain["spread"]),
            tuple(plain["runs"]),
        )


@dataclass(frozen=True)
class Located:
    """A population seen from one run: the prior that the other runs give it.

    Attributes
    ----------
    population : Population
        Learnt from the other runs.
    row : ndarray, shape (1 + c,)
        The run's own covariates, see `Population.design`.
    """

    population: Population
    row: Array

    def log_density(
        self,
        law: Law,
        span: tuple[float, float],
        shape: Array,
        amplitude: Array,
        limit: Array,
        sigma: Array,
        spread: Array | float,
    ) -> Array:
        """Log density over (last, log change, log shape, log sigma), see `features`."""
        z = features(law, self.population.d_ref, span, shape, amplitude, limit, sigma, spread)
        usable = np.isfinite(z).all(axis=1)
        found = np.full(len(z), -np.inf)
        found[usable] = self.population.log_density(z[usable], self.row)
        found[usable] += log_level_jacobian(law, limit[usable])
        return found
