"""One-dimensional priors, each truncated to the interval that physics leaves.

Every prior of the Bayesian model is a distribution of one quantity on an interval that depends on
the quantities drawn before it. Knowing its density, distribution function and quantile function on
the whole line is enough to draw from it, to weigh draws, and to write it down for another sampler.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from sparsefit.checks import check_positive
from sparsefit.errors import ArgumentError, quoted

Array = NDArray[np.float64]


class Distribution(ABC):
    """A distribution on the line, or an improper one that is proper on any finite interval."""

    name: ClassVar[str]

    @abstractmethod
    def log_density(self, x: Array) -> Array:
        """Log density (for an improper one, of its measure)."""

    @abstractmethod
    def cdf(self, x: Array) -> Array:
        """Distribution function (for an improper one, any antiderivative of its measure)."""

    @abstractmethod
    def quantile(self, p: Array) -> Array:
        """Inverse of `cdf`."""

    @property
    def text(self) -> str:
        """Name with its parameters."""
        values = ", ".join(f"{getattr(self, f.name):.4g}" for f in fields(self))  # type: ignore[arg-type]
        return f"{self.name}({values})"

    def to_dict(self) -> dict[str, Any]:
        """Name and parameters, JSON-ready; `from_dict` reads them back."""
        return {"name": self.name, **{f.name: getattr(self, f.name) for f in fields(self)}}  # type: ignore[arg-type]

    def log_density_within(self, x: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> Array:
        """Log density after truncation to [lower, upper]; -inf outside it."""
        x, lower, upper = (np.asarray(v, dtype=float) for v in (x, lower, upper))
        mass = self.cdf(upper) - self.cdf(lower)
        with np.errstate(divide="ignore", invalid="ignore"):
            found = self.log_density(x) - np.log(mass)
        return np.where((x >= lower) & (x <= upper) & (mass > 0), found, -np.inf)

    def draw_within(self, u: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> Array:
        """Draws truncated to [lower, upper] from uniforms `u`, by inversion."""
        lower, upper = np.asarray(lower, dtype=float), np.asarray(upper, dtype=float)
        low, high = self.cdf(lower), self.cdf(upper)
        return np.clip(self.quantile(low + np.asarray(u) * (high - low)), lower, upper)


@dataclass(frozen=True)
class Uniform(Distribution):
    """Flat over whatever interval physics leaves."""

    name: ClassVar[str] = "Uniform"

    def log_density(self, x: Array) -> Array:
        """See `Distribution.log_density`."""
        return np.zeros_like(x)

    def cdf(self, x: Array) -> Array:
        """See `Distribution.cdf`."""
        return np.asarray(x, dtype=float)

    def quantile(self, p: Array) -> Array:
        """See `Distribution.quantile`."""
        return np.asarray(p, dtype=float)


@dataclass(frozen=True)
class Exponential(Distribution):
    """Exponential with a mean."""

    mean: float = 1.0
    name: ClassVar[str] = "Exponential"

    def __post_init__(self) -> None:
        _positive(self, "mean")

    def log_density(self, x: Array) -> Array:
        """See `Distribution.log_density`."""
        return -x / self.mean - np.log(self.mean)

    def cdf(self, x: Array) -> Array:
        """See `Distribution.cdf`."""
        return -np.expm1(-np.asarray(x) / self.mean)

    def quantile(self, p: Array) -> Array:
        """See `Distribution.quantile`."""
        return -self.mean * np.log1p(-np.asarray(p))


@dataclass(frozen=True)
class LogNormal(Distribution):
    """Log-normal with a median and the standard deviation of the log."""

    median: float
    sd_log: float
    name: ClassVar[str] = "LogNormal"

    def __post_init__(self) -> None:
        _positive(self, "median")
        _positive(self, "sd_log")

    def log_density(self, x: Array) -> Array:
        """See `Distribution.log_density`."""
        with np.errstate(divide="ignore"):
            log_x = np.log(x)
        z = (log_x - np.log(self.median)) / self.sd_log
        return -0.5 * z**2 - log_x - np.log(self.sd_log) - 0.5 * np.log(2 * np.pi)

    def cdf(self, x: Array) -> Array:
        """See `Distribution.cdf`."""
        with np.errstate(divide="ignore"):
            return ndtr((np.log(np.maximum(x, 0.0)) - np.log(self.median)) / self.sd_log)

    def quantile(self, p: Array) -> Array:
        """See `Distribution.quantile`."""
        return self.median * np.exp(self.sd_log * ndtri(p))


@dataclass(frozen=True)
class Normal(Distribution):
    """Normal with a mean and a standard deviation."""

    mean: float
    sd: float
    name: ClassVar[str] = "Normal"

    def __post_init__(self) -> None:
        if not isinstance(self.mean, int | float | np.number) or not np.isfinite(self.mean):
            raise ArgumentError(f"Normal: mean must be finite, got {quoted(self.mean)}")
        _positive(self, "sd")

    def log_density(self, x: Array) -> Array:
        """See `Distribution.log_density`."""
        return -0.5 * ((x - self.mean) / self.sd) ** 2 - np.log(self.sd) - 0.5 * np.log(2 * np.pi)

    def cdf(self, x: Array) -> Array:
        """See `Distribution.cdf`."""
        return ndtr((np.asarray(x) - self.mean) / self.sd)

    def quantile(self, p: Array) -> Array:
        """See `Distribution.quantile`."""
        return self.mean + self.sd * ndtri(p)


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    kind.name: kind for kind in (Uniform, Exponential, LogNormal, Normal)
}


def from_dict(plain: dict[str, Any]) -> Distribution:
    """Inverse of `Distribution.to_dict`.

    Raises
    ------
    ArgumentError
        For an unknown name or parameters that do not fit.
    """
    values = dict(plain)
    kind = DISTRIBUTIONS.get(str(values.pop("name", None)))
    if kind is None:
        raise ArgumentError(
            f"a distribution is named by one of {', '.join(DISTRIBUTIONS)}, got {quoted(plain)}"
        )
    try:
        return kind(**values)
    except TypeError:
        names = ", ".join(f.name for f in fields(kind)) or "no parameter"  # type: ignore[arg-type]
        raise ArgumentError(f"{kind.name} takes {names}; got {quoted(plain)}") from None


def _positive(distribution: Distribution, name: str) -> None:
    check_positive(f"{distribution.name}: {name}", getattr(distribution, name))
