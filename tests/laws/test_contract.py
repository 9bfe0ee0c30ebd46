"""A law that users write is refused, with the part that is wrong, before anything is fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sparsefit import laws
from sparsefit.errors import ArgumentError
from sparsefit.laws import Law, LossPower, Parameter, check_law


class Reciprocal(LossPower):
    """A(D) = K / D^p + A0: the form of the loss, for an activation ratio."""

    name = "Reciprocal"
    aliases = ()
    response = "activation_ratio"
    limit_bounds = (0.0, 1.0)
    parameters = (
        Parameter("p", "-", 0.0, np.inf, "power"),
        Parameter("K", "fraction", 0.0, np.inf, "excess at D = 1"),
        Parameter("A0", "fraction", 0.0, 1.0, "limit"),
    )


def twice(method: str) -> Any:
    """The method of `Reciprocal` that returns twice what it should."""
    return lambda self, *given: 2 * np.asarray(getattr(Reciprocal, method)(self, *given))


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": ""}, "name has to be a text"),
    "aliases as a text": ({"aliases": "other"}, "aliases has to be a tuple"),
    "parameters as names": ({"parameters": ("p", "K", "A0")}, "tuple of Parameter"),
    "response": ({"response": "sparsity"}, "response has to be activation_ratio or loss"),
    "sign": ({"sign": 0}, "sign has to be 1 or -1"),
    "other sign": (
        {"sign": -1, "value": lambda self, d, theta: Reciprocal().value(d, theta)},
        r"value\(to_theta",
    ),
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
    above = [kind for kind in Reciprocal.__mro__[::-1] if kind not in Law.__mro__]
    parts = {name: part for kind in above for name, part in vars(kind).items()}
    kept = {name: part for name, part in parts.items() if name != missing and name[:2] != "__"}
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
