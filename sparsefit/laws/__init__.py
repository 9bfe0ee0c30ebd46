"""The laws of activation sparsity as frozen objects (numpy only).

>>> from sparsefit import laws
>>> law = laws.get("eq4")
>>> float(law.value([41.6], [0.101, -0.0151, 3.20, 0.0614])[0])
0.0706...
"""

from __future__ import annotations

from sparsefit.errors import ArgumentError, quoted
from sparsefit.laws.base import TOKENS_PER_UNIT, Law, Parameter
from sparsefit.laws.contract import check_law
from sparsefit.laws.logspace_power import LogspacePower
from sparsefit.laws.vanilla_power import LossPower, VanillaPower

__all__ = [
    "TOKENS_PER_UNIT",
    "Law",
    "LogspacePower",
    "LossPower",
    "Parameter",
    "VanillaPower",
    "candidates",
    "check_law",
    "get",
    "names",
    "register",
]

# Activations with exact zeros follow the falling law, smooth ones the rising law.
_FALLING = ("relu", "relu2", "relu^2", "squared_relu", "fatrelu", "drelu")
_RISING = ("silu", "swish", "gelu", "gelu_new", "gelu_pytorch_tanh", "swiglu", "geglu")

_LAWS: dict[str, Law] = {}
_BY_ALIAS: dict[str, str] = {}


def _key(name: str) -> str:
    return name.strip().lower()


def register(law: Law) -> Law:
    """Make a law available by name, in upper or lower case, to `get`, `sf.fit` and `sf.load_fit`.

    Parameters
    ----------
    law : Law
        An instance of a subclass of `Law`.

    Raises
    ------
    ArgumentError
        If one of its names is taken, or its parts do not agree (see `check_law`).
    """
    if not isinstance(law, Law):
        call = f": call it, {law.__name__}()" if isinstance(law, type) else ""
        raise ArgumentError(
            f"register takes an instance of sparsefit.laws.Law, got {quoted(law)}{call}"
        )
    check_law(law)
    return _add(law)


def _add(law: Law) -> Law:
    for name in (law.name, *law.aliases):
        if _key(name) in _BY_ALIAS:
            owner = _BY_ALIAS[_key(name)]
            raise ArgumentError(
                f"the name {name!r} already belongs to the law {owner!r}; choose another"
            )
    _LAWS[law.name] = law
    for name in (law.name, *law.aliases):
        _BY_ALIAS[_key(name)] = law.name
    return law


def names() -> tuple[str, ...]:
    """Names of the registered laws."""
    return tuple(_LAWS)


def get(name: str | Law) -> Law:
    """Return a law by name, alias, or itself.

    Raises
    ------
    ArgumentError
        Lists the known names; for a `Law` of your own, names the part that is missing or wrong.
    """
    if isinstance(name, Law):
        if not any(name is known for known in _LAWS.values()):
            check_law(name)
        return name
    if isinstance(name, type) and issubclass(name, Law):
        raise ArgumentError(f"law={name.__name__}: give an instance, {name.__name__}()")
    key = _key(str(name))
    if key not in _BY_ALIAS:
        known = ", ".join(sorted(_BY_ALIAS))
        raise ArgumentError(
            f"unknown law {quoted(name)}; known names: {known}. A law of your own is made known by "
            "sparsefit.laws.register"
        )
    return _LAWS[_BY_ALIAS[key]]


def candidates(activation: str | None, response: str = "activation_ratio") -> tuple[Law, ...]:
    """Return the law for a run, or both for the activation ratio where its activation tells none.

    Parameters
    ----------
    activation : str or None
        Activation function, in lower case.
    response : {"activation_ratio", "loss"}
        Column to fit.
    """
    if response == "loss":
        return (get("loss_power"),)
    if activation in _FALLING:
        return (get("logspace_power"),)
    if activation in _RISING:
        return (get("vanilla_power"),)
    return get("logspace_power"), get("vanilla_power")


for _law in (LogspacePower(), VanillaPower(), LossPower()):
    _add(_law)
