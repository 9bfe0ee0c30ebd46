"""What a law is: a limit plus an amplitude times a decaying basis.

Every law that sparsefit fits has the form

    A(D) = A0 + sign * K * g(D; shape),   K > 0,  g > 0 falling to 0 as D grows,

so that it is linear in (A0, K) once its shape is known. Estimation relies on that: the linear pair
is solved exactly for every shape on a grid, which makes the global optimum deterministic.

Only numpy is needed here. D is in billions of tokens, as in the paper; the verbs of a fit take raw
token counts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

TOKENS_PER_UNIT = 1e9
"""Tokens in one unit of D (Appendix G of the paper divides token counts by 1e9)."""


@dataclass(frozen=True)
class Parameter:
    """One coefficient of a law.

    Attributes
    ----------
    name : str
        Name as in the law's equation.
    unit : str
        Unit, with D in billions of tokens.
    lower, upper : float
        Physical bounds; estimates, draws and interval ends stay inside.
    meaning : str
        What it is, in one phrase.
    """

    name: str
    unit: str
    lower: float
    upper: float
    meaning: str


class Law(ABC):
    """A convergent law A(D) = A0 + sign * K * g(D; shape).

    Subclasses state the basis and the map between (shape, K, A0) and the published coefficients;
    value, gradients, inverse and derivatives are written in the published coefficients.

    Shapes are one or two positive numbers, searched in their logarithms. The first of them is the
    first coefficient and has the bounds `alpha_bounds`; the last coefficient is the limit.

    Attributes
    ----------
    name, aliases : str, tuple of str
        Names that `get` accepts.
    equation, source : str
        The formula in plain text and where it stands.
    response : str
        ``"activation_ratio"`` or ``"loss"``.
    sign : int
        +1 if the curve falls to its limit, -1 if it rises to it.
    parameters : tuple of Parameter
        The published coefficients, in the order of `theta`.
    limit_bounds : tuple of float
        Physical bounds of the limit.
    alpha_bounds : tuple of float
        Between which the first shape is searched.
    edge_form : str
        The limiting form as the first shape (the exponent alpha) goes to its lower bound.
    edge_has_limit : bool
        Whether that limiting form still has a finite limit. If not, it is a straight line in log D,
        and points that speed up in log D are noted.
    n_shape : int
        Number of shapes, 1 or 2.
    shape_density_text : str
        `log_shape_density` in words, with what is flat beside it.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    equation: ClassVar[str]
    source: ClassVar[str]
    response: ClassVar[str] = "activation_ratio"
    sign: ClassVar[int]
    parameters: ClassVar[tuple[Parameter, ...]]
    limit_bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    alpha_bounds: ClassVar[tuple[float, float]] = (0.01, 6.0)
    shape_density_text: ClassVar[str] = (
        "flat in the logarithm of the shape, in the last value and in the change over the data"
    )
    edge_form: ClassVar[str]
    edge_has_limit: ClassVar[bool]
    n_shape: ClassVar[int]

    def __repr__(self) -> str:
        return f"<Law {self.name}: {self.equation}>"

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the coefficients, in the order of `theta`."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def n_parameters(self) -> int:
        """Number of coefficients."""
        return len(self.parameters)

    @property
    def least_points(self) -> int:
        """Points that a fit needs: two more than coefficients."""
        return self.n_parameters + 2

    @abstractmethod
    def value(self, d: ArrayLike, theta: ArrayLike) -> Array:
        """Value of the law.

        Parameters
        ----------
        d : array_like, shape (n,)
            Billions of tokens, > 0.
        theta : array_like, shape (..., p)
            Coefficients in the order of `parameters`; leading axes are draws.

        Returns
        -------
        ndarray, shape (..., n)
        """

    @abstractmethod
    def gradient(self, d: ArrayLike, theta: ArrayLike) -> Array:
        """Analytic gradient of the value in the coefficients, shape (n, p)."""

    @abstractmethod
    def derivative(self, d: ArrayLike, theta: ArrayLike) -> Array:
        """Analytic dA/dD per billion tokens, shape (..., n)."""

    @abstractmethod
    def inverse(self, value: ArrayLike, theta: ArrayLike) -> Array:
        """Billions of tokens at which the law takes `value` (a number, or one a draw).

        Returns
        -------
        ndarray, shape (...)
            ``inf`` where the curve never comes that far, ``0`` where it starts beyond `value`.
        """

    def limit(self, theta: ArrayLike) -> Array:
        """Limit A0 as D goes to infinity, shape (...)."""
        return np.asarray(theta, dtype=float)[..., -1]

    @abstractmethod
    def basis(self, d: Array, shape: Array, span: tuple[float, float]) -> Array:
        """Decaying basis g, scaled to 1 at the start of `span`.

        Parameters
        ----------
        d : ndarray, shape (n,)
            Billions of tokens.
        shape : ndarray, shape (m, n_shape)
            Shapes, see `shape_grid`.
        span : tuple of float
            First and last D of the points fitted.

        Returns
        -------
        ndarray, shape (m, n)
        """

    @abstractmethod
    def shape_grid(self, span: tuple[float, float], size: int) -> tuple[Array, ...]:
        """Axes of the grid of shapes searched, each ascending."""

    def log_shape_density(self, shape: Array) -> Array:
        """What is assumed of the shape before seeing any curve: flat in its logarithm.

        `sparsefit.fit` averages over shapes with it; to tell what the points say of the limit it
        divides out what this implies for it. The laws of the paper have measures of their own
        (`sparsefit.estimation.priors`).

        Parameters
        ----------
        shape : ndarray, shape (m, n_shape)
            Shapes.

        Returns
        -------
        ndarray, shape (m,)
            Log density over d(shape), up to a constant.
        """
        return np.asarray(-np.log(shape).sum(axis=-1))

    @abstractmethod
    def to_theta(
        self, shape: Array, amplitude: Array, limit: Array, span: tuple[float, float]
    ) -> Array:
        """Published coefficients of (shape, amplitude at the start of the span, limit)."""

    @abstractmethod
    def from_theta(self, theta: Array, span: tuple[float, float]) -> tuple[Array, Array, Array]:
        """Inverse of `to_theta`: (shape, amplitude, limit)."""


def span_ratio(span: tuple[float, float]) -> float:
    """log(D_last / D_first) of a span."""
    return float(np.log(span[1] / span[0]))
