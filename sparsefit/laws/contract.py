"""What `Law` asks of a law that users write, checked before anything is fitted with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsefit.errors import ArgumentError, quoted
from sparsefit.laws.base import Array, Law, Parameter

# Billions of tokens at which a law is tried.
_SPAN = (1.0, 50.0)
# Amplitude, and the limits of an activation ratio and of a loss.
_AMPLITUDE, _LIMITS = 0.05, {"activation_ratio": 0.3, "loss": 2.0}
# Of values that two of its methods compute, and of slopes against differences of values.
_SAME, _SLOPE = 1e-6, 1e-3


def check_law(law: Law) -> None:
    """Check that the parts of a law are there and agree with each other.

    Raises
    ------
    ArgumentError
        Names the law, the part that is missing or wrong, and what it has to be.
    """
    _check_attributes(law)
    span, d = _SPAN, np.geomspace(*_SPAN, 9)
    with np.errstate(all="ignore"):
        axes = law.shape_grid(span, 12)
        _require(
            law,
            isinstance(axes, tuple) and len(axes) == law.n_shape,
            f"shape_grid has to return a tuple of n_shape = {law.n_shape} arrays",
        )
        shapes = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=-1)
        _check_basis(law, shapes, d)
        # Shapes from the middle of the grid: at its ends coefficients may overflow.
        middle = np.stack([np.quantile(axis, [0.4, 0.6]) for axis in axes], axis=-1)
        for shape in middle:
            _check_theta(law, shape, d)


def _require(law: Law, holds: bool, message: str) -> None:
    if not holds:
        name = getattr(law, "name", None) or type(law).__name__
        raise ArgumentError(f"law {quoted(name)}: {message}; see sparsefit.laws.Law")


def _check_attributes(law: Law) -> None:
    def of(name: str) -> Any:
        return getattr(law, name, None)

    for name in ("name", "equation", "source", "edge_form"):
        _require(law, isinstance(of(name), str) and bool(of(name)), f"{name} has to be a text")
    _require(
        law,
        isinstance(of("aliases"), tuple) and all(isinstance(a, str) for a in law.aliases),
        "aliases has to be a tuple of texts",
    )
    _require(
        law,
        isinstance(of("parameters"), tuple)
        and len(law.parameters) >= 2
        and all(isinstance(p, Parameter) for p in law.parameters),
        "parameters has to be a tuple of Parameter, the limit last",
    )
    for name, allowed in (
        ("response", tuple(_LIMITS)),
        ("sign", (1, -1)),
        ("n_shape", (1, 2)),
        ("edge_has_limit", (True, False)),
    ):
        _require(law, of(name) in allowed, f"{name} has to be {' or '.join(map(str, allowed))}")
    low, high = law.alpha_bounds
    _require(law, 0 < low < high < np.inf, "alpha_bounds has to be 0 < lower < upper")


def _check_basis(law: Law, shapes: Array, d: Array) -> None:
    basis = np.asarray(law.basis(d, shapes, _SPAN))
    wanted = (len(shapes), d.size)
    _require(
        law,
        basis.shape == wanted,
        f"basis has to return one row for each shape and one column for each d, shape {wanted}, "
        f"not {basis.shape}",
    )
    falls = bool(np.isfinite(basis).all() and (np.diff(basis, axis=1) <= _SAME).all())
    _require(
        law,
        falls and bool(np.allclose(basis[:, 0], 1.0, atol=_SAME) and (basis >= 0).all()),
        "basis has to be 1 at the start of the span and fall towards 0, finite for every shape of "
        "shape_grid",
    )


def _check_theta(law: Law, shape: Array, d: Array) -> None:
    limit = _LIMITS[law.response]
    theta = np.asarray(law.to_theta(shape, np.asarray(_AMPLITUDE), np.asarray(limit), _SPAN))
    _require(
        law,
        theta.shape == (law.n_parameters,) and bool(np.isfinite(theta).all()),
        f"to_theta has to return the {law.n_parameters} coefficients of parameters, as last axis",
    )
    value = np.asarray(law.value(d, theta))
    expected = limit + law.sign * _AMPLITUDE * law.basis(d, shape[None], _SPAN)[0]
    _agree(law, value, expected, "value(to_theta(...)) and limit + sign * amplitude * basis")
    _agree(law, law.limit(theta), np.asarray(limit), "limit(to_theta(...)) and the limit given")
    again = law.to_theta(*law.from_theta(theta, _SPAN), _SPAN)
    _agree(law, again, theta, "to_theta(*from_theta(theta)) and theta")
    for i in range(0, d.size, 4):
        _agree(law, law.inverse(value[i], theta), d[i], "inverse(value(d)) and d")
    beyond = limit - law.sign * _AMPLITUDE
    never = np.asarray(law.inverse(beyond, theta))
    _require(law, bool(np.isinf(never).all()), "inverse has to be inf for a value beyond the limit")
    _check_slopes(law, theta, d)


def _check_slopes(law: Law, theta: Array, d: Array) -> None:
    step = 1e-5
    slope = (law.value(d * (1 + step), theta) - law.value(d * (1 - step), theta)) / (2 * step * d)
    _agree(law, law.derivative(d, theta), slope, "derivative and the slope of value", _SLOPE)
    gradient = np.asarray(law.gradient(d, theta))
    _require(
        law,
        gradient.shape == (d.size, law.n_parameters),
        f"gradient has to have shape (n, {law.n_parameters}), here {(d.size, law.n_parameters)}, "
        f"not {gradient.shape}",
    )
    for j, parameter in enumerate(law.parameters):
        move = np.zeros(law.n_parameters)
        move[j] = step * max(abs(theta[j]), 1e-3)
        change = (law.value(d, theta + move) - law.value(d, theta - move)) / (2 * move[j])
        both = f"gradient and the change of value with {parameter.name}"
        _agree(law, gradient[:, j], change, both, _SLOPE)


def _agree(law: Law, found: Any, expected: Any, what: str, tolerance: float = _SAME) -> None:
    found, expected = np.asarray(found, dtype=float), np.asarray(expected, dtype=float)
    size = max(float(np.max(np.abs(expected))), np.finfo(float).tiny)
    agree = found.shape == expected.shape and bool(
        (np.abs(found - expected) <= tolerance * size).all()
    )
    _require(law, agree, f"{what} have to agree")
