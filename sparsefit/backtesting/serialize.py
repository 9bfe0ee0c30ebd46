"""Stacked forecasts as JSON: the backtest is kept, the methods are run again by their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from sparsefit.backtesting.cells import Skipped
from sparsefit.backtesting.correction import Errors
from sparsefit.backtesting.past_errors import NEGLIGIBLE
from sparsefit.backtesting.registry import METHODS, Method, MethodsGiven, resolve
from sparsefit.backtesting.result import Backtest
from sparsefit.backtesting.stacked import BestForecast
from sparsefit.errors import ArgumentError
from sparsefit.provenance import provenance
from sparsefit.results.frames import frame_from_dict, frame_to_dict
from sparsefit.results.serialize import pack, unpack, write_document

if TYPE_CHECKING:
    from pathlib import Path

KEY = "forecast_best"
_TABLES = ("points", "cells", "budgets")
_ARRAYS = ("horizon", "z", "relative")


def dump_best(best: BestForecast, path: str | Path | None = None) -> str:
    """See `BestForecast.to_json`."""
    plain = {
        "weights": {name: float(weight) for name, weight in best.weights.items()},
        "why": best.why,
        "table": frame_to_dict(best.table),
        "methods": [_method_to_dict(method) for method in best.methods],
        "errors": [_errors_to_dict(one) for one in best.errors],
        "backtest": None if best.backtest is None else _backtest_to_dict(best.backtest),
        "seed": best.seed,
    }
    return write_document({KEY: plain, "provenance": provenance(seed=best.seed)}, path)


def best_from(plain: dict[str, Any], given: MethodsGiven | None = None) -> BestForecast:
    """Inverse of `dump_best`.

    Parameters
    ----------
    plain : dict
        What stands under `KEY`.
    given : names, functions or a mapping, optional
        The user's own methods, see `sf.load_fit`.

    Raises
    ------
    ArgumentError
        For a method of the user's that takes part and is not given, or one that is given in vain.
    """
    import pandas as pd

    weights = pd.Series(plain["weights"], name="weight", dtype=float).rename_axis("method")
    names = [one["name"] for one in plain["methods"]]
    if names != list(weights.index) or not np.isclose(weights.sum(), 1.0):
        raise ValueError("the weights are not those of the methods")
    own = _given(given, plain["methods"])
    return BestForecast(
        weights,
        None if plain["backtest"] is None else _backtest_from(plain["backtest"]),
        plain["why"],
        frame_from_dict(plain["table"]),
        tuple(_method_from(one, own, float(weights[one["name"]])) for one in plain["methods"]),
        plain["seed"],
        tuple(_errors_from(one) for one in plain["errors"]),
    )


def _ours(method: Method) -> bool:
    """Whether a method ships with sparsefit, so that its name says all about it."""
    target = method.target
    return METHODS.get(method.name) == method and str(target).startswith("sparsefit.")


def _method_to_dict(method: Method) -> dict[str, Any]:
    return {
        "name": method.name,
        "ours": _ours(method),
        "description": method.description,
        "pooled": method.pooled,
        "needs_own": method.needs_own,
    }


def _given(given: MethodsGiven | None, known: list[dict[str, Any]]) -> dict[str, Method]:
    """The user's own methods by name; ours may be named as well, but not replaced."""
    own = {}
    ours = {one["name"]: one["ours"] for one in known}
    for method in () if given is None else resolve(given):
        if method.name not in ours:
            raise ArgumentError(
                f"methods: the forecast has no method {method.name!r}; it has {', '.join(ours)}"
            )
        if ours[method.name] and not _ours(method):
            raise ArgumentError(
                f"methods: {method.name!r} of this forecast is sparsefit's own; leave it out"
            )
        if not ours[method.name]:
            own[method.name] = method
    return own


def _method_from(plain: dict[str, Any], own: Mapping[str, Method], weight: float) -> Method:
    name = plain["name"]
    known = METHODS.get(name)
    if plain["ours"]:
        if known is None or not _ours(known):
            raise ArgumentError(f"this release has no method {name!r}, which the forecast needs")
        return known
    found = own.get(name, known)
    if found is None or _ours(found):
        if weight > NEGLIGIBLE:
            _missing(name)
        # It takes no part in forecasts.
        found = Method(name, partial(_missing, name))
    rest = {key: plain[key] for key in ("description", "pooled", "needs_own")}
    return replace(found, **rest)


def _missing(name: str, *_: Any) -> NoReturn:
    raise ArgumentError(
        f"the forecast needs {name!r}, a method of your own, which a file cannot hold: give it as "
        f"load_fit(..., methods={{{name!r}: function}}), or make it known before by "
        "sf.register_method"
    )


def _errors_to_dict(one: Errors) -> dict[str, Any]:
    arrays = {name: pack(getattr(one, name)) for name in _ARRAYS}
    return {"run": one.run, "kind": one.kind, **arrays, "covered": one.covered.tolist()}


def _errors_from(plain: dict[str, Any]) -> Errors:
    arrays = {name: unpack(plain[name]) for name in _ARRAYS}
    covered = np.array(plain["covered"], dtype=bool)
    return Errors(plain["run"], plain["kind"], **arrays, covered=covered)


def _backtest_to_dict(found: Backtest) -> dict[str, Any]:
    return {
        **{name: frame_to_dict(getattr(found, name)) for name in _TABLES},
        "skipped": [
            # JSON has no NaN, which stands for all cuts of a run.
            [one.run, one.cut if isfinite(one.cut) else None, one.reason]
            for one in found.skipped
        ],
        "methods": list(found.methods),
        "cuts": list(found.cuts),
        "scheme": found.scheme,
        "others": found.others,
        "seed": found.seed,
        "samples": [[*cell, pack(sample)] for cell, sample in found.samples.items()],
    }


def _backtest_from(plain: dict[str, Any]) -> Backtest:
    points, cells, budgets = (frame_from_dict(plain[name]) for name in _TABLES)
    return Backtest(
        points=points,
        cells=cells,
        budgets=budgets,
        skipped=tuple(
            Skipped(run, float("nan") if cut is None else cut, reason)
            for run, cut, reason in plain["skipped"]
        ),
        methods=tuple(plain["methods"]),
        cuts=tuple(plain["cuts"]),
        scheme=plain["scheme"],
        others=plain["others"],
        seed=plain["seed"],
        samples={
            (method, run, cut): unpack(sample) for method, run, cut, sample in plain["samples"]
        },
    )
