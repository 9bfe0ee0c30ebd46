"""Exact least squares over one break: no grid, no start value.

Every model of this package has the form ``y = Z g + c (u_k + t v_k) + noise`` on the stretch k of
the break parameter t, i.e. one column that is linear in t between two neighbouring measured ratios.
For given t the fit is linear; over t the residual sum of squares of one stretch has a closed-form
minimum, so the global minimum over t is the best of finitely many numbers (Hudson 1966, J. Am.
Stat. Assoc. 61, 1097-1129). All functions take many responses at once, because the intervals need
thousands of refits.

Where the law rises, the column's coefficient may not be negative. Within a stretch the gain of the
column has one maximum besides its zero, so that the constrained minimum lies there, at an end, or
(where the coefficient would be negative everywhere) at the fit without the column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Relative size under which a column is treated as lying in the span of the base columns.
_DEGENERATE = 1e-12


class Minimum(NamedTuple):
    """Global minimum over the break parameter, one entry per response.

    Attributes
    ----------
    rss : ndarray, shape (m,)
        Residual sum of squares.
    at : ndarray, shape (m,)
        Break parameter at the minimum.
    stretch : ndarray of int, shape (m,)
        Stretch that holds the minimum.
    """

    rss: Array
    at: Array
    stretch: NDArray[np.intp]


@dataclass(frozen=True)
class Stretches:
    """One column that is linear in the break parameter, stretch by stretch.

    Attributes
    ----------
    base : ndarray, shape (n, q)
        Columns whose coefficients are free and that do not depend on the break (q may be 0).
    u, v : ndarray, shape (K, n)
        The column is ``u[k] + t * v[k]`` for ``lower[k] <= t <= upper[k]``.
    lower, upper : ndarray, shape (K,)
        Ends of the stretches, ascending and contiguous.
    """

    base: Array
    u: Array
    v: Array
    lower: Array
    upper: Array

    def scaled(self, root_weight: Array) -> Stretches:
        """Multiply every row by the square root of its weight."""
        return Stretches(
            self.base * root_weight[:, None],
            self.u * root_weight,
            self.v * root_weight,
            self.lower,
            self.upper,
        )

    def column(self, stretch: int, t: float) -> Array:
        """The column at one value of the break parameter, shape (n,)."""
        return self.u[stretch] + t * self.v[stretch]


@dataclass(frozen=True)
class Kernel:
    """`Stretches` with the base projected out, ready for repeated fits (build with `prepare`).

    With `rising`, coefficients of the column below 0 are outside the model.
    """

    parts: Stretches
    basis: Array
    u: Array
    v: Array
    uu: Array
    uv: Array
    vv: Array
    tiny: float
    degenerate: bool
    rising: bool

    def residual(self, y: Array) -> Array:
        """Remove the base from responses of shape (m, n)."""
        if self.basis.shape[1] == 0:
            return y
        return y - (y @ self.basis) @ self.basis.T

    def minimise(self, y: Array) -> Minimum:
        """Minimise over the break, the base and the column's own coefficient.

        Parameters
        ----------
        y : ndarray, shape (m, n)
            Responses.
        """
        r = self.residual(y)
        total = np.einsum("ij,ij->i", r, r)
        a, b = r @ self.u.T, r @ self.v.T
        lower, upper = self.parts.lower, self.parts.upper
        # d/dt of (a + b t)^2 / (uu + 2 uv t + vv t^2) has one zero where the gain is not 0.
        with np.errstate(divide="ignore", invalid="ignore"):
            at = (a * self.uv - b * self.uu) / (b * self.uv - a * self.vv)
        # fmax and fmin turn the NaN of a column that does not depend on t into an end.
        np.fmin(np.fmax(at, lower, out=at), upper, out=at)
        gain = self._gain(a, b, at)
        # Outside its stretch the zero says nothing about which end is better. Stretches are
        # contiguous, so the upper ends and the first lower end are all the ends there are.
        end_gain = self._gain(a, b, upper)
        better = end_gain > gain
        np.copyto(gain, end_gain, where=better)
        np.copyto(at, np.broadcast_to(upper, at.shape), where=better)
        first = self._gain(a[:, :1], b[:, :1], lower[:1], slice(0, 1))[:, 0]
        better_first = first > gain[:, 0]
        gain[better_first, 0] = first[better_first]
        at[better_first, 0] = lower[0]
        k = np.argmax(gain, axis=1)
        row = np.arange(len(k))
        return Minimum(np.maximum(total - gain[row, k], 0.0), at[row, k], k)

    def minimise_given(self, y: Array, coefficient: float) -> Minimum:
        """Minimise over the break and the base with the column's coefficient held fixed.

        The caller keeps the coefficient to the sign that the model allows.
        """
        r = self.residual(y)
        total = np.einsum("ij,ij->i", r, r)
        c = coefficient
        a, b = r @ self.u.T, r @ self.v.T
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (b - c * self.uv) / (c * self.vv)
        lower, upper = self.parts.lower, self.parts.upper
        t = np.where(np.isfinite(t), t, lower)
        t = np.minimum(np.maximum(t, lower), upper)
        change = c * c * (self.uu + 2 * t * self.uv + t * t * self.vv) - 2 * c * (a + t * b)
        k = np.argmin(change, axis=1)
        row = np.arange(len(k))
        return Minimum(np.maximum(total + change[row, k], 0.0), t[row, k], k)

    def _gain(self, a: Array, b: Array, t: Array, which: slice = slice(None)) -> Array:
        """Fall of the residual sum of squares when the column enters."""
        square = self.uu[which] + t * (2 * self.uv[which] + t * self.vv[which])
        top = a + t * b
        if self.rising:
            np.maximum(top, 0.0, out=top)
        top *= top
        if not self.degenerate:
            top /= square
            return top
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(square > self.tiny, top / square, 0.0)


def prepare(parts: Stretches, rising: bool = False) -> Kernel:
    """Project the base out of the stretches once."""
    basis = orthonormal(parts.base)
    u = parts.u - (parts.u @ basis) @ basis.T
    v = parts.v - (parts.v @ basis) @ basis.T
    uu = np.einsum("ij,ij->i", u, u)
    uv = np.einsum("ij,ij->i", u, v)
    vv = np.einsum("ij,ij->i", v, v)
    size = np.max(np.abs(parts.u)) + np.max(np.abs(parts.v)) * np.max(np.abs(parts.upper))
    tiny = _DEGENERATE * max(float(size) ** 2, np.finfo(float).tiny)
    # Smallest square of the column on each stretch, at an end or between them.
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = np.where(vv > 0, -uv / vv, parts.lower)
    inner = np.clip(inner, parts.lower, parts.upper)
    smallest = min(
        float(np.min(uu + t * (2 * uv + t * vv))) for t in (parts.lower, parts.upper, inner)
    )
    return Kernel(parts, basis, u, v, uu, uv, vv, tiny, smallest <= tiny, rising)


def orthonormal(columns: Array) -> Array:
    """Orthonormal basis of the span of the columns, shape (n, rank)."""
    if columns.shape[1] == 0:
        return np.zeros((columns.shape[0], 0))
    left, singular, _ = np.linalg.svd(columns, full_matrices=False)
    return np.asarray(left[:, singular > _DEGENERATE * singular[0]], dtype=float)


def linear_fit(columns: Array, y: Array, rising: bool = False) -> tuple[Array, Array]:
    """Least squares on fixed columns: coefficients (q,) and fitted values (n,).

    With `rising` the last coefficient is kept from being negative.
    """
    if columns.shape[1] == 0:
        return np.zeros(0), np.zeros_like(y)
    coefficients = np.asarray(np.linalg.lstsq(columns, y, rcond=None)[0], dtype=float)
    if rising and coefficients[-1] < 0:
        rest, fitted = linear_fit(columns[:, :-1], y)
        return np.append(rest, 0.0), fitted
    return coefficients, columns @ coefficients
