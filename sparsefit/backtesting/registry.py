"""Registry of forecasting methods: a name for a plain function.

A method is a function ``(seen, tokens, rng) -> MethodForecast``: `seen` the measurement table up to
the cut, `tokens` an array of raw token counts to be forecast, `rng` a numpy Generator.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from sparsefit.backtesting.forecast import MethodForecast
from sparsefit.errors import ArgumentError, quoted

if TYPE_CHECKING:
    import pandas as pd

MethodFunction: TypeAlias = Callable[
    ["pd.DataFrame", np.ndarray, np.random.Generator], MethodForecast
]


@dataclass(frozen=True)
class Method:
    """A forecasting method and how to find it.

    Attributes
    ----------
    name : str
        Name in tables.
    target : str or callable
        ``"module:function"``, imported when first called, or the function itself.
    description : str
        One line.
    pooled : bool
        Whether it also wants the points of other runs; the run to forecast is then named by
        `sparsefit.backtesting.target_of(seen)`. A function says so by an attribute ``pooled``.
    needs_own : bool
        Whether a pooled method cannot do without points of the run itself.
    """

    name: str
    target: str | MethodFunction
    description: str = ""
    pooled: bool = False
    needs_own: bool = False

    def function(self) -> MethodFunction:
        """Import and return the function."""
        if callable(self.target):
            return self.target
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


MethodGiven: TypeAlias = str | Method | MethodFunction
MethodsGiven: TypeAlias = Iterable[MethodGiven] | Mapping[str, MethodGiven]

_HERE = "sparsefit.backtesting"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "fit",
            f"{_HERE}.methods_fit:fit",
            "sf.fit: the run's law, averaged over noise and warm-up",
        ),
        Method(
            "fit_bayes",
            f"{_HERE}.methods_fit:fit_bayes",
            "sf.fit_bayes with its defaults, the run alone",
        ),
        Method(
            "fit_bayes_pooled",
            f"{_HERE}.methods_fit:fit_bayes_pooled",
            "sf.fit_bayes, partially pooled over smaller runs of the same activation",
            pooled=True,
        ),
        Method(
            "last_value",
            f"{_HERE}.methods_simple:last_value",
            "the last seen value; random-walk interval",
        ),
        Method(
            "log_linear",
            f"{_HERE}.methods_simple:log_linear",
            "least-squares line in log tokens through the last half; t interval",
        ),
        Method(
            "log_law",
            f"{_HERE}.methods_curve_fit:logarithmic_law",
            "A0 + c log(aD + b) by curve_fit; delta-method interval",
        ),
        Method(
            "sigmoid_law",
            f"{_HERE}.methods_curve_fit:sigmoid_law",
            "A0 - 1/(1 + b exp(cD + d)) by curve_fit; delta-method interval",
        ),
        Method(
            "damped_smoothing",
            f"{_HERE}.methods_smoothing:damped_smoothing",
            "exponential smoothing with a damped trend (statsmodels); simulated interval",
        ),
        Method(
            "curve_fit",
            f"{_HERE}.methods_curve_fit:single_start",
            "Eq. 4 or 5 by curve_fit from one start, tokens in billions; delta-method interval",
        ),
        Method(
            "lm_multistart",
            f"{_HERE}.methods_multistart:multistart",
            "Eq. 4 or 5 by Levenberg-Marquardt from many starts; delta-method interval",
        ),
        Method(
            "lm_bootstrap",
            f"{_HERE}.methods_multistart:bootstrap",
            "Eq. 4 or 5 by multi-start Levenberg-Marquardt; residual-bootstrap interval",
        ),
        Method(
            "best",
            f"{_HERE}.best:best",
            "forecast_best: methods stacked and corrected by a backtest inside the seen points",
            pooled=True,
            needs_own=True,
        ),
    )
}


def register_method(
    name: str,
    target: str | MethodFunction,
    *,
    description: str = "",
    pooled: bool = False,
) -> Method:
    """Add a method under a name (replacing none: a taken name is an error).

    A backtest of no methods in particular runs it too, as all that are registered.

    Raises
    ------
    ArgumentError
        Where the name is taken.
    """
    if name in METHODS:
        raise ArgumentError(f"name: a method called {name!r} is registered already.")
    METHODS[name] = Method(name, target, description, pooled)
    return METHODS[name]


def resolve(
    methods: MethodsGiven | str | None,
) -> tuple[Method, ...]:
    """Turn what a user passes as `methods` into a tuple of `Method`; None is all registered.

    Raises
    ------
    ArgumentError
        For an unknown name (close ones are offered), a repeated name or an empty list.
    """
    if methods is None:
        methods = list(METHODS)
    if isinstance(methods, str):
        methods = [methods]
    if isinstance(methods, Mapping):
        found = [replace(_resolve_one(item), name=name) for name, item in methods.items()]
    else:
        found = [_resolve_one(item) for item in methods]
    if not found:
        raise ArgumentError("methods: the list is empty; name at least one method.")
    names = [method.name for method in found]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ArgumentError(f"methods: {', '.join(repeated)} given more than once.")
    return tuple(found)


def _resolve_one(item: MethodGiven) -> Method:
    if isinstance(item, Method):
        return item
    if callable(item):
        name = getattr(item, "__name__", type(item).__name__)
        return Method(name, item, pooled=bool(getattr(item, "pooled", False)))
    if item in METHODS:
        return METHODS[item]
    close = difflib.get_close_matches(str(item), METHODS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ArgumentError(
        f"methods: no method is called {quoted(item)}.{hint} Known: {', '.join(METHODS)}."
    )
