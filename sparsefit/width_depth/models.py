"""The continuous models with one break, and each of them with one quantity held fixed.

`line_plateau` is ``a + b min(x, tau)``: a line up to the break, level after it (the paper's
Section 5.2). `line_line` is ``a + b x + d max(x - tau, 0)``. A quantity of interest (the break, a
slope, the law at a ratio, the saving between a ratio and the plateau) is held at a value by
rewriting the model so that the value enters as an offset, as the fixed coefficient of the column,
or as the fixed break; everything else stays free and is minimised exactly by `kernel`.

The law grows up to its break: with the sign "rising", slopes of `line_plateau` below 0 are outside
the model. `line_line` takes any slopes.

All arrays here are in internal units (`fit` scales the ratio and the response).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from sparsefit.width_depth.kernel import Array, Kernel, Stretches, linear_fit, prepare

ModelName = Literal["line_plateau", "line_line"]
MODELS: tuple[ModelName, ...] = ("line_plateau", "line_line")
Sign = Literal["rising", "any"]
SIGNS: tuple[Sign, ...] = ("rising", "any")
# Parameters of the mean, the break included.
N_MEAN = {"line_plateau": 3, "line_line": 4}


class Held(NamedTuple):
    """Fit with one quantity held: residual sum of squares, fitted values, break."""

    rss: float
    fitted: Array
    at: float


@dataclass(frozen=True)
class Constraint:
    """A model with one quantity held at a value.

    Attributes
    ----------
    name : str
        Quantity.
    kernel : Kernel or None
        Model with the quantity taken out; None for the break itself.
    offset : ndarray, shape (n,), or None
        The quantity enters as ``value * offset``; None where it is the column's coefficient.
    """

    name: str
    kernel: Kernel | None
    offset: Array | None

    def allows(self, value: float) -> bool:
        """Whether the model holds the value: where it rises, coefficients below 0 are outside."""
        is_coefficient = self.kernel is not None and self.offset is None
        return not (is_coefficient and self.kernel.rising and value < 0)  # type: ignore[union-attr]

    def fit(self, design: Design, y: Array, value: float) -> Held:
        """Fit one response of shape (n,) with the quantity held at `value`."""
        if self.kernel is None:
            columns = design.columns(value)
            fitted = linear_fit(columns, y, design.rising)[1]
            return Held(float(np.sum((y - fitted) ** 2)), fitted, value)
        if self.offset is None:
            best = self.kernel.minimise_given(y[None], value)
        else:
            best = self.kernel.minimise((y - value * self.offset)[None])
        at, stretch = float(best.at[0]), int(best.stretch[0])
        column = self.kernel.parts.column(stretch, at)
        base = self.kernel.parts.base
        if self.offset is None:
            known = value * column
            fitted = known + linear_fit(base, y - known)[1]
        else:
            known = value * self.offset
            free = np.column_stack([base, column])
            fitted = known + linear_fit(free, y - known, self.kernel.rising)[1]
        return Held(float(np.sum((y - fitted) ** 2)), fitted, at)

    def rss(self, y: Array, value: float) -> Array:
        """Residual sums of squares of many responses (m, n) with the quantity held at `value`."""
        assert self.kernel is not None
        if self.offset is None:
            return self.kernel.minimise_given(y, value).rss
        return self.kernel.minimise(y - value * self.offset).rss


@dataclass(frozen=True)
class Design:
    """One model at given ratios and weights.

    Attributes
    ----------
    model : str
        "line_plateau" or "line_line".
    x : ndarray, shape (n,)
        Ratios.
    root_weight : ndarray, shape (n,)
        Square roots of the weights; responses given to the methods are already multiplied by them.
    knots : ndarray
        The distinct ratios, ascending.
    kernel : Kernel
        The free model. Breaks before the second distinct ratio are left out: they give the same
        curves through the points as a break on that ratio.
    """

    model: ModelName
    x: Array
    root_weight: Array
    knots: Array
    kernel: Kernel

    @property
    def n_mean(self) -> int:
        """Parameters of the mean, the break included."""
        return N_MEAN[self.model]

    @property
    def rising(self) -> bool:
        """Whether slopes below 0 are outside the model."""
        return self.kernel.rising

    @property
    def sign(self) -> Sign:
        """Slopes that the model may have."""
        return "rising" if self.rising else "any"

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest break that the points can tell apart."""
        last = self.knots[-1] if self.model == "line_plateau" else self.knots[-2]
        return float(self.knots[1]), float(last)

    def columns(self, tau: float) -> Array:
        """Weighted columns of the linear parameters at one break, shape (n, 2 or 3)."""
        one = np.ones_like(self.x)
        if self.model == "line_plateau":
            columns = np.column_stack([one, np.minimum(self.x, tau)])
        else:
            columns = np.column_stack([one, self.x, np.maximum(self.x - tau, 0.0)])
        return columns * self.root_weight[:, None]

    def moving(self, taus: Array) -> Array:
        """The weighted column that the break moves, at many breaks, shape (T, n)."""
        if self.model == "line_plateau":
            column = np.minimum(self.x, taus[:, None])
        else:
            column = np.maximum(self.x - taus[:, None], 0.0)
        return column * self.root_weight

    def line(self) -> Array:
        """Weighted columns of the straight line, shape (n, 2)."""
        return np.column_stack([np.ones_like(self.x), self.x]) * self.root_weight[:, None]

    def constant(self) -> Array:
        """Weighted column of one level, shape (n, 1)."""
        return self.root_weight[:, None]

    def constraint(self, name: str, at: float = np.inf) -> Constraint:
        """Hold a quantity: "breakpoint", "slope", "slope_after", "law" or "saving".

        Parameters
        ----------
        name : str
            Quantity; "law" is the mean at the ratio `at` (infinity: the plateau), "saving" is the
            plateau minus the mean at the ratio `at`.
        at : float
            Ratio, internal units.
        """
        if name == "breakpoint":
            return Constraint(name, None, None)
        x, one = self.x, np.ones_like(self.x)
        empty = np.zeros((len(x), 0))
        extra = at if np.isfinite(at) else None
        if self.model == "line_plateau":
            if name == "slope":
                return self._build(name, one[:, None], capped_column(x, self._grid()), None)
            if name == "law":
                pieces = _shift(capped_column(x, self._grid(extra)), at, capped=True)
                return self._build(name, empty, pieces, one)
            if name == "saving":
                return self._build(name, one[:, None], _saving(x, self._grid(at), at), None)
        else:
            if name == "slope":
                return self._build(name, one[:, None], hinge_column(x, self._grid()), x)
            if name == "slope_after":
                return self._build(name, one[:, None], capped_column(x, self._grid()), x)
            if name == "law":
                pieces = _shift(hinge_column(x, self._grid(extra)), at, capped=False)
                return self._build(name, (x - at)[:, None], pieces, one)
        raise ValueError(f"{self.model} has no quantity {name!r}")

    def _grid(self, extra: float | None = None) -> Array:
        first, last = self.knots[0], self.knots[-1]
        if extra is None or not first < extra < last:
            return self.knots
        return np.unique(np.append(self.knots, extra))

    def _build(
        self,
        name: str,
        base: Array,
        pieces: tuple[Array, Array, Array, Array],
        offset: Array | None,
    ) -> Constraint:
        kernel = prepare(Stretches(base, *pieces).scaled(self.root_weight), self.rising)
        return Constraint(name, kernel, None if offset is None else offset * self.root_weight)


def design(model: ModelName, x: Array, weight: Array, sign: Sign = "any") -> Design:
    """Build the design of a model.

    Parameters
    ----------
    model : str
        "line_plateau" or "line_line".
    x, weight : ndarray, shape (n,)
        Ratios and weights (inverse variances up to a factor).
    sign : {"rising", "any"}
        Slopes that `line_plateau` may have.
    """
    knots = np.unique(x)
    root_weight = np.sqrt(weight)
    one = np.ones_like(x)
    if model == "line_plateau":
        parts = Stretches(one[:, None], *capped_column(x, knots[1:]))
    else:
        parts = Stretches(np.column_stack([one, x]), *hinge_column(x, knots[1:-1]))
    rising = sign == "rising" and model == "line_plateau"
    kernel = prepare(parts.scaled(root_weight), rising)
    return Design(model, x, root_weight, knots, kernel)


def capped_column(x: Array, grid: Array) -> tuple[Array, Array, Array, Array]:
    """min(x, t) on each stretch of the grid."""
    lower, upper = grid[:-1], grid[1:]
    below = x[None, :] <= lower[:, None]
    return np.where(below, x, 0.0), np.where(below, 0.0, 1.0), lower, upper


def hinge_column(x: Array, grid: Array) -> tuple[Array, Array, Array, Array]:
    """max(x - t, 0) on each stretch of the grid."""
    lower, upper = grid[:-1], grid[1:]
    above = x[None, :] >= upper[:, None]
    return np.where(above, x, 0.0), np.where(above, -1.0, 0.0), lower, upper


def _shift(
    pieces: tuple[Array, Array, Array, Array], at: float, capped: bool
) -> tuple[Array, Array, Array, Array]:
    """Subtract the column's own value at the ratio `at`, which lies on the grid or outside it."""
    u, v, lower, upper = pieces
    if capped:
        before = at <= lower
        fixed, moving = np.where(before, at if np.isfinite(at) else 0.0, 0.0), ~before * 1.0
    else:
        after = at >= upper
        fixed, moving = np.where(after, at, 0.0), after * -1.0
    return u - fixed[:, None], v - moving[:, None], lower, upper


def _saving(x: Array, grid: Array, at: float) -> tuple[Array, Array, Array, Array]:
    """The column of the saving s = b (tau - at), for breaks after `at`.

    The mean is ``plateau - s (tau - x)_+ / (tau - at)``, linear in ``q = 1 / (tau - at)``: the
    break parameter of these stretches is q, in ascending order.
    """
    grid = grid[grid >= at][::-1]
    lower, upper = grid[1:], grid[:-1]
    below = x[None, :] <= lower[:, None]
    u = np.where(below, -1.0, 0.0)
    v = np.where(below, x - at, 0.0)
    with np.errstate(divide="ignore"):
        q_low, q_high = 1.0 / (upper - at), 1.0 / (lower - at)
    # A break on `at` itself would need an infinite slope; cap it far beyond any point.
    return u, v, q_low, np.minimum(q_high, 1e6 * q_low[0])
