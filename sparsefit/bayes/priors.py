"""The joint prior of the Bayesian model: proper, in quantities that a reader can judge.

With D1 and D2 the first and last D of the run, the law is described by

    last      A(D2), the law's value at the last point,
    change    |A(D2) - A(D1)|, what the curve moves over the data,
    alpha     its exponent,
    excess    |A(D2) - A0|, what is still to come (Eq. 4 only: elsewhere alpha decides it),
    sigma     the noise scale at the last point,

each with a prior truncated to what physics leaves once the ones before it are known, so that
0 <= A0 <= 1 and 0 < A <= 1 within the data hold for every draw. None of the defaults looks at the
data or was fitted to a series: see `default_priors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.distributions import (
    Distribution,
    Exponential,
    LogNormal,
    Uniform,
    from_dict,
)
from sparsefit.checks import check_choice
from sparsefit.errors import ArgumentError, quoted
from sparsefit.estimation.priors import ShapePrior, arcsine_prior, has_formula
from sparsefit.laws import Law
from sparsefit.laws.base import span_ratio

Array = NDArray[np.float64]

# Range of Eq. 4's e-foldings within the data, as in the law's grid of shapes.
KAPPA_BOUNDS = (0.01, 40.0)

WARMUP_DOF = 1.0
WARMUP_SCALE = 0.2
"""Warm-up points depart from the law by Cauchy noise with this scale in units of `change`: small
departures cost about what leaving a point out costs in the least-squares fits."""

SIGMA_FLOOR = {"activation_ratio": 1e-6, "loss": 1e-5}
"""Smallest noise scale by response: nothing is measured more exactly. Without this bound, points
without noise would make a posterior too narrow for floating-point numbers."""

EXCESSES = ("reference", "uniform")

# Least probability that a prior must give to what physics leaves.
_LEAST_MASS = 1e-9
_REDRAWS = 1000


@dataclass(frozen=True)
class Priors:
    """Priors of the Bayesian model.

    Attributes
    ----------
    last : Distribution
        Law's value at the last point, within the physical range of the response.
    change : Distribution
        Change of the law over the data, within what `last` leaves.
    alpha : Distribution
        Exponent, within the law's bounds and, for a power law, where the limit is physical.
    excess : {"reference", "uniform"}
        Eq. 4's distance of the last value from the limit: density 1 / sqrt(e (e + change)), which
        is the arcsine measure of the share of the fall still to come, or uniform in the limit.
    sigma : Distribution
        Noise scale at the last point, above `SIGMA_FLOOR`.
    """

    last: Distribution
    change: Distribution
    alpha: Distribution
    excess: str
    sigma: Distribution

    def __post_init__(self) -> None:
        check_choice("priors: excess", self.excess, EXCESSES)
        for name in ("last", "change", "alpha", "sigma"):
            if not isinstance(getattr(self, name), Distribution):
                raise ArgumentError(
                    f"priors: {name} must be a distribution of sparsefit.bayes (LogNormal, ...), "
                    f"got {quoted(getattr(self, name))}"
                )
        if isinstance(self.sigma, Uniform):
            raise ArgumentError("priors: sigma needs a proper prior, for example LogNormal")

    def text(self, law: Law) -> tuple[str, ...]:
        """One line a prior."""
        unit = "fraction" if law.response == "activation_ratio" else "nats"
        lines = [
            f"value at the last point ({unit}) ~ {self.last.text} on the physical range",
            f"change over the data ({unit}) ~ {self.change.text} on what that leaves",
            f"alpha ~ {self.alpha.text} on [{law.alpha_bounds[0]:g}, {law.alpha_bounds[1]:g}]"
            + ("" if law.n_shape == 2 else ", where the limit is physical"),
        ]
        if law.n_shape == 2:
            lines.append(
                "excess e over the limit at the last point: density 1 / sqrt(e (e + change))"
                if self.excess == "reference"
                else "limit ~ Uniform from 0 to the value at the last point"
            )
        floor = SIGMA_FLOOR[law.response]
        lines.append(f"noise scale at the last point ({unit}) ~ {self.sigma.text} above {floor:g}")
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            f.name: value.to_dict() if isinstance(value, Distribution) else value
            for f in fields(self)
            for value in [getattr(self, f.name)]
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Priors:
        """Inverse of `to_dict`."""
        values: dict[str, Any] = {
            k: from_dict(v) if isinstance(v, dict) else v for k, v in plain.items()
        }
        return cls(**values)


def default_priors(law: Law) -> Priors:
    """Priors that are used unless others are given.

    The data show the last value and the change: their priors are flat. They hardly show the
    exponent and the excess: these have the exponential prior of the least-squares fit and the
    arcsine measure. The noise scale is 0.001 within a factor of 50 (95%), as activation ratios are
    about a tenth and are measured to about a percent. For the loss, last value, change and noise
    scale are 3, 1 and 0.01 nats within wide factors.
    """
    if law.response == "activation_ratio":
        return Priors(Uniform(), Uniform(), Exponential(1.0), "reference", LogNormal(1e-3, 2.0))
    return Priors(
        LogNormal(3.0, 0.7),
        LogNormal(1.0, 1.5),
        Exponential(1.0),
        "reference",
        LogNormal(1e-2, 2.0),
    )


def check_priors(law: Law, priors: Priors | Mapping[str, Any] | None) -> Priors:
    """Return the priors asked for: all of them, some by name (the rest by default), or none.

    Raises
    ------
    ArgumentError
        For an unknown name, what is no prior, or a prior outside of the physical range.
    """
    if not has_formula(law):
        raise ArgumentError(
            f"law {law.name!r}: fit_bayes has priors for Eq. 4, Eq. 5 and the loss's power law "
            "only. sf.fit fits this one"
        )
    if priors is None:
        return default_priors(law)
    if isinstance(priors, Priors):
        return _within_physics(law, priors)
    if not isinstance(priors, Mapping):
        raise ArgumentError(
            "priors must be None, a mapping such as {'alpha': LogNormal(0.7, 0.8)} or Priors, "
            f"got {quoted(priors)}"
        )
    names = [f.name for f in fields(Priors)]
    unknown = sorted(set(priors) - set(names))
    if unknown:
        raise ArgumentError(
            f"priors: no prior is called {', '.join(map(quoted, unknown))}; names: "
            f"{', '.join(names)}"
        )
    if "excess" in priors and law.n_shape != 2:
        raise ArgumentError(
            f"priors: 'excess' belongs to Eq. 4; {law.name} has its limit from alpha"
        )
    return _within_physics(law, replace(default_priors(law), **dict(priors)))


def _within_physics(law: Law, priors: Priors) -> Priors:
    """Return priors that each leave some probability to the physical range."""
    ranges = {
        "last": last_range(law),
        "change": (0.0, last_range(law)[1]),
        "alpha": law.alpha_bounds,
        "sigma": (SIGMA_FLOOR[law.response], np.inf),
    }
    for name, (low, high) in ranges.items():
        prior: Distribution = getattr(priors, name)
        if not prior.cdf(np.array(high)) - prior.cdf(np.array(low)) > _LEAST_MASS:
            raise ArgumentError(
                f"priors: {name} ~ {prior.text} gives no probability to its physical range, "
                f"{low:g} to {high:g}"
            )
    return priors


# Physics ------------------------------------------------------------------------------------


def last_range(law: Law) -> tuple[float, float]:
    """Physical range of the value at the last point."""
    return (0.0, 1.0) if law.response == "activation_ratio" else (0.0, 1e3)


def change_room(law: Law, last: Array) -> Array:
    """Largest change over the data that leaves the first value in its range."""
    low, high = last_range(law)
    return np.asarray(high - last if law.sign > 0 else last - low)


def limit_room(law: Law, last: Array) -> Array:
    """Largest distance of the limit from the last value."""
    low, high = law.limit_bounds
    return np.asarray(last - low if law.sign > 0 else min(high, 1e6) - last)


def alpha_range(law: Law, last: Array, change: Array, span: tuple[float, float]) -> Array:
    """Bounds of alpha, shape (2, m): a power law's limit is physical only above a certain alpha."""
    low, high = law.alpha_bounds
    lower = np.full_like(last, low)
    if law.n_shape == 1:
        with np.errstate(divide="ignore", over="ignore"):
            lower = np.maximum(low, np.log1p(change / limit_room(law, last)) / span_ratio(span))
    return np.stack([lower, np.full_like(last, high)])


def excess_range(law: Law, last: Array, change: Array) -> Array:
    """Bounds of Eq. 4's excess, shape (2, m)."""
    fastest, slowest = KAPPA_BOUNDS[1], KAPPA_BOUNDS[0]
    return np.stack(
        [
            change / np.expm1(fastest),
            np.minimum(limit_room(law, last), change / np.expm1(slowest)),
        ]
    )


def excess_cdf(kind: str, excess: Array, change: Array) -> Array:
    """Antiderivative of the excess's measure."""
    return 2.0 * np.arcsinh(np.sqrt(excess / change)) if kind == "reference" else excess


def excess_quantile(kind: str, at: Array, change: Array) -> Array:
    """Inverse of `excess_cdf`."""
    return change * np.sinh(at / 2.0) ** 2 if kind == "reference" else at


def log_excess_density(kind: str, excess: Array, change: Array, bounds: Array) -> Array:
    """Log density of the excess within its bounds (shape (2, m))."""
    mass = excess_cdf(kind, bounds[1], change) - excess_cdf(kind, bounds[0], change)
    with np.errstate(divide="ignore", invalid="ignore"):
        measure = (
            -0.5 * np.log(excess) - 0.5 * np.log(excess + change) if kind == "reference" else 0.0
        )
        found = measure - np.log(mass)
    inside = (excess >= bounds[0]) & (excess <= bounds[1]) & (mass > 0)
    return np.where(inside, found, -np.inf)


# Density and draws --------------------------------------------------------------------------


def log_prior_terms(
    law: Law,
    priors: Priors,
    span: tuple[float, float],
    shape: Array,
    amplitude: Array,
    limit: Array,
    sigma: Array,
) -> dict[str, Array]:
    """Log density of each prior at draws, each in its own quantity, by name.

    Parameters
    ----------
    law, priors : Law, Priors
        The model.
    span : tuple of float
        First and last D of the run.
    shape : ndarray, shape (m, n_shape)
        See `Law.basis`.
    amplitude, limit, sigma : ndarray, shape (m,)
        Amplitude at the first point, limit, noise scale.

    Returns
    -------
    dict of str to ndarray, shape (m,)
        An impossible draw has -inf in at least one of them.
    """
    alpha = shape[:, 0]
    folds = alpha * span_ratio(span) if law.n_shape == 1 else shape[:, 1]
    excess = amplitude * np.exp(-folds)
    change = amplitude * -np.expm1(-folds)
    last = limit + law.sign * excess
    room = change_room(law, last)
    inside = (change > 0) & (room > 0) & (limit >= law.limit_bounds[0])
    inside &= limit <= law.limit_bounds[1]
    safe = np.where(inside, change, 1.0)
    lower, upper = alpha_range(law, np.where(inside, last, 0.5), safe, span)
    terms = {
        "last": np.where(inside, priors.last.log_density_within(last, *last_range(law)), -np.inf),
        "change": priors.change.log_density_within(change, 0.0, np.where(inside, room, 1.0)),
        "alpha": priors.alpha.log_density_within(alpha, lower, upper),
        "sigma": priors.sigma.log_density_within(sigma, SIGMA_FLOOR[law.response], np.inf),
    }
    if law.n_shape == 2:
        bounds = excess_range(law, np.where(inside, last, 0.5), safe)
        # The excess is a difference of rounded numbers: rounding must not throw a draw out.
        within = np.clip(excess, bounds[0], bounds[1])
        off = np.abs(within - excess) > 1e-9 * safe + 1e-12 * np.abs(last)
        density = log_excess_density(priors.excess, within, safe, bounds)
        terms["excess"] = np.where(off, -np.inf, density)
    return terms


def draw_prior(
    law: Law, priors: Priors, span: tuple[float, float], size: int, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array]:
    """Draws of (shape (m, n_shape), amplitude, limit, sigma) from the prior.

    Raises
    ------
    ArgumentError
        If the priors hardly ever agree with each other.
    """
    *drawn, impossible = _draw_once(law, priors, span, size, rng)
    left = np.flatnonzero(impossible)
    for _ in range(_REDRAWS):
        if not left.size:
            return drawn[0], drawn[1], drawn[2], drawn[3]
        *new, impossible = _draw_once(law, priors, span, left.size, rng)
        for kept, own in zip(drawn, new, strict=True):
            kept[left] = own
        left = left[impossible]
    raise ArgumentError(
        "priors: hardly any draw of last, change and alpha leaves the limit in its physical range; "
        "make them wider"
    )


def _draw_once(
    law: Law, priors: Priors, span: tuple[float, float], size: int, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array, NDArray[np.bool_]]:
    """As `draw_prior`, with a last array that says which draws are impossible."""
    u = rng.random((5, size))
    last = priors.last.draw_within(u[0], *last_range(law))
    change = np.maximum(priors.change.draw_within(u[1], 0.0, change_room(law, last)), 1e-12)
    lower, upper = alpha_range(law, last, change, span)
    sigma = priors.sigma.draw_within(u[3], SIGMA_FLOOR[law.response], np.inf)
    # Where no alpha in bounds makes the limit physical, the pair (last, change) is impossible.
    impossible = lower >= upper
    alpha = priors.alpha.draw_within(u[2], np.minimum(lower, upper), upper)
    if law.n_shape == 2:
        bounds = excess_range(law, last, change)
        low, high = (excess_cdf(priors.excess, b, change) for b in bounds)
        at = low + u[4] * (high - low)
        excess = excess_quantile(priors.excess, at, change)
        kappa = np.log1p(change / excess)
        shape = np.stack([alpha, kappa], axis=-1)
        amplitude = change + excess
        limit = last - excess
    else:
        folds = alpha * span_ratio(span)
        amplitude = change / -np.expm1(-folds)
        limit = last - law.sign * amplitude * np.exp(-folds)
        shape = alpha[:, None]
    limit = np.clip(limit, *law.limit_bounds)
    return shape, amplitude, limit, sigma, impossible


def shape_prior(law: Law, priors: Priors) -> ShapePrior:
    """Measure over shapes that steers the grid: the arcsine one with this prior of alpha."""
    reference = arcsine_prior(law)

    def density(shape: Array, span: tuple[float, float]) -> Array:
        alpha = shape[:, 0]
        found = reference.log_density(shape, span) + alpha + priors.alpha.log_density(alpha)
        if law.n_shape == 2 and priors.excess == "uniform":
            # Density 1 instead of 1 / sqrt(e (e + change)), in units of the change.
            found = found - 0.5 * shape[:, 1] - np.log(-np.expm1(-shape[:, 1]))
        return found

    return ShapePrior(density, reference.log_limit_density, "; ".join(priors.text(law)))
