"""A law that users write is refused, with the part that is wrong, before anything is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparsefit import laws
from sparsefit.errors import ArgumentError
from sparsefit.laws import Law, Parameter, check_law


class Reciprocal(Law):
    """A(D) = K / D^p + A0."""

    name = "Reciprocal"
    equation = "A(D) = K / D^p + A0"
    source = "this test"
    sign = 1
    parameters = (
        Parameter("p", "-", 0.0, np.inf, "power"),
        Parameter("K", "fraction", 0.0, np.inf, "excess at D = 1"),
        Parameter("A0", "fraction", 0.0, 1.0, "limit"),
    )
    edge_form = "straight line in log D"
    edge_has_limit = False
    n_shape = 1

    def value(self, d: Any, theta: Any) -> Any:
        p, k, limit = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)[..., None]
        return k * np.asarray(d) ** -p + limit

    def gradient(self, d: Any, theta: Any) -> Any:
        p, k, _ = theta
        power = np.asarray(d) ** -p
        return np.stack([-k * np.log(d) * power, power, np.ones_like(power)], axis=-1)

    def derivative(self, d: Any, theta: Any) -> Any:
        p, k, _ = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)[..., None]
        return -p * k * np.asarray(d) ** (-p - 1)

    def inverse(self, value: Any, theta: Any) -> Any:
        p, k, limit = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)
        with np.errstate(all="ignore"):
            return np.where(value > limit, (k / np.abs(value - limit)) ** (1 / p), np.inf)

    def basis(self, d: Any, shape: Any, span: Any) -> Any:
        return (d / span[0])[None] ** -shape[:, :1]

    def shape_grid(self, span: Any, size: int) -> Any:
        return (np.geomspace(*self.alpha_bounds, size),)

    def to_theta(self, shape: Any, amplitude: Any, limit: Any, span: Any) -> Any:
        return np.stack([shape[..., 0], amplitude * span[0] ** shape[..., 0], limit], axis=-1)

    def from_theta(self, theta: Any, span: Any) -> Any:
        p, k, limit = np.moveaxis(np.asarray(theta, dtype=float), -1, 0)
        return p[..., None], k * span[0] ** -p, limit


def twice(method: str) -> Any:
    """The method of `Reciprocal` that returns twice what it should."""
    return lambda self, *given: 2 * np.asarray(getattr(Reciprocal, method)(self, *given))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": ""}, "name has to be a text"),
    "aliases as a text": ({"aliases": "other"}, "aliases has to be a tuple"),
    "parameters as names": ({"parameters": ("p", "K", "A0")}, "tuple of Parameter"),
    "response": ({"response": "sparsity"}, "response has to be activation_ratio or loss"),
    "sign": ({"sign": 0}, "sign has to be 1 or -1"),
    "other sign": ({"sign": -1}, r"value\(to_theta"),
    "shapes": ({"n_shape": 2}, "shape_grid has to return a tuple of n_shape = 2"),
    "bounds": ({"alpha_bounds": (0.0, 6.0)}, "alpha_bounds"),
    "basis of one shape": ({"basis": lambda *_: np.ones(9)}, "one row for each shape"),
    "basis that rises": (
        {"basis": lambda self, d, shape, span: (d / span[0])[None] ** shape[:, :1]},
        "fall towards 0",
    ),
    "basis not a number": (
        {"basis": lambda self, d, shape, span: np.full((len(shape), d.size), np.nan)},
        "finite for every shape",
    ),
    "value": ({"value": twice("value")}, r"value\(to_theta"),
    "to_theta": ({"to_theta": lambda *_: np.ones(2)}, "the 3 coefficients"),
    "from_theta": (
        {
            "from_theta": lambda self, theta, span: (
                theta[..., :1],
                theta[..., 1] / 2,
                theta[..., 2],
            )
        },
        "from_theta",
    ),
    "inverse": ({"inverse": twice("inverse")}, r"inverse\(value\(d\)\)"),
    "inverse that always arrives": (
        {"inverse": lambda self, v, t: (t[..., 1] / np.abs(v - t[..., 2])) ** (1 / t[..., 0])},
        "inf for a value beyond the limit",
    ),
    "derivative": ({"derivative": twice("derivative")}, "derivative and the slope"),
    "gradient": ({"gradient": twice("gradient")}, "the change of value with p"),
    "gradient of another shape": ({"gradient": lambda *_: np.ones(3)}, r"shape \(n, 3\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_part_that_is_wrong_is_named(case: str) -> None:
    changed, message = WRONG[case]
    law = type("Changed", (Reciprocal,), changed)()
    with pytest.raises(ArgumentError, match=message) as raised:
        laws.register(law)
    assert (law.name or "Changed") in str(raised.value)
    with pytest.raises(ArgumentError, match=message):
        laws.get(law)


@pytest.mark.parametrize("missing", ["name", "sign", "parameters", "edge_has_limit", "n_shape"])
def test_a_part_that_is_missing_is_named(missing: str) -> None:
    kept = {k: v for k, v in vars(Reciprocal).items() if k != missing and k[:2] != "__"}
    law = type("Incomplete", (Law,), kept)()
    with pytest.raises(ArgumentError, match=f"{missing} has to be"):
        laws.register(law)
    with pytest.raises(ArgumentError, match=f"{missing} has to be"):
        laws.get(law)


@pytest.mark.parametrize("name", laws.names())
def test_laws_that_ship_pass(name: str) -> None:
    check_law(laws.get(name))


def test_a_name_with_capitals_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(laws, "_LAWS", dict(laws._LAWS))
    monkeypatch.setattr(laws, "_BY_ALIAS", dict(laws._BY_ALIAS))
    law = laws.register(Reciprocal())
    assert laws.get("Reciprocal") is laws.get(" reciprocal") is law
    with pytest.raises(ArgumentError, match="already belongs to the law 'Reciprocal'"):
        laws.register(type("Same", (Reciprocal,), {"name": "RECIPROCAL"})())
