"""Fits of the width-depth law as JSON."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.errors import ArgumentError
from sparsefit.provenance import provenance
from sparsefit.results.serialize import pack, unpack, write_document
from sparsefit.width_depth.points import Points

if TYPE_CHECKING:
    from pathlib import Path

    from sparsefit.width_depth.posterior_result import PosteriorFit
    from sparsefit.width_depth.result import BreakpointFit


def dump_breakpoint_fit(fit: BreakpointFit, path: str | Path | None = None) -> str:
    """See `BreakpointFit.to_json`."""
    names = ("breakpoint", "slope", "intercept", "plateau", "slope_after", "sigma", "scatter")
    plain = {
        "model": fit.model,
        "sign": fit.sign,
        "points": _points_to_dict(fit.points),
        "bounds": [_number(end) for end in fit.bounds],
        "draws": fit.draws,
        "seed": fit.seed,
        # For other readers: the fit is exact, so that it follows from what is above.
        "estimates": {name: getattr(fit, name) for name in names},
    }
    return _dump({"width_depth": plain}, fit.seed, path)


def dump_posterior_fit(fit: PosteriorFit, path: str | Path | None = None) -> str:
    """See `PosteriorFit.to_json`."""
    test = fit.test
    plain = {
        "model": fit.model,
        "points": _points_to_dict(fit.points),
        "bounds": [_number(end) for end in fit.bounds],
        "seed": fit.seed,
        "engine": fit.engine,
        "diagnostics": {name: _number(value) for name, value in fit.diagnostics.items()},
        "test": {
            "p_no_break": test.p_no_break,
            "log_bayes_factor": _number(test.log_bayes_factor),
            "null": test.null,
            "alternative": test.alternative,
        },
        "draws": {str(name): pack(column.to_numpy()) for name, column in fit.draws_table.items()},
        "density": {str(name): pack(column.to_numpy()) for name, column in fit.density.items()},
    }
    return _dump({"width_depth_posterior": plain}, fit.seed, path)


def width_depth_from(document: dict[str, Any]) -> BreakpointFit | PosteriorFit:
    """Inverse of both.

    Raises
    ------
    ArgumentError
        For a document of another kind.
    """
    if "width_depth" in document:
        return _breakpoint_fit_from(document["width_depth"])
    if "width_depth_posterior" in document:
        return _posterior_fit_from(document["width_depth_posterior"])
    raise ArgumentError("not a fit written by sparsefit's to_json")


def _breakpoint_fit_from(plain: dict[str, Any]) -> BreakpointFit:
    from sparsefit.width_depth.fit import fit_points

    return fit_points(
        _points_from(plain["points"]),
        plain["model"],
        plain["sign"],
        plain["draws"],
        plain["seed"],
        _bounds_from(plain),
    )


def _posterior_fit_from(plain: dict[str, Any]) -> PosteriorFit:
    import pandas as pd

    from sparsefit.width_depth.posterior_result import PosteriorBreakTest, PosteriorFit

    tables = [
        pd.DataFrame({name: unpack(packed) for name, packed in plain[key].items()})
        for key in ("draws", "density")
    ]
    test = {**plain["test"], "log_bayes_factor": float(plain["test"]["log_bayes_factor"])}
    diagnostics = {
        name: float(value) if isinstance(value, str) else value
        for name, value in plain["diagnostics"].items()
    }
    return PosteriorFit(
        draws_table=tables[0],
        points=_points_from(plain["points"]),
        test=PosteriorBreakTest(**test),
        density=tables[1],
        engine=plain["engine"],
        diagnostics=diagnostics,
        bounds=_bounds_from(plain),
        seed=plain["seed"],
        model=plain["model"],
    )


def _dump(document: dict[str, Any], seed: int, path: str | Path | None) -> str:
    return write_document({**document, "provenance": provenance(seed=seed)}, path)


def _points_to_dict(points: Points) -> dict[str, Any]:
    return {
        "ratio": points.ratio.tolist(),
        "value": points.value.tolist(),
        "se": None if points.se is None else points.se.tolist(),
        "label": list(points.label),
        "left_out": dict(points.left_out),
    }


def _points_from(plain: dict[str, Any]) -> Points:
    return Points(
        np.array(plain["ratio"], dtype=float),
        np.array(plain["value"], dtype=float),
        None if plain["se"] is None else np.array(plain["se"], dtype=float),
        tuple(plain["label"]),
        plain["left_out"],
    )


def _bounds_from(plain: dict[str, Any]) -> tuple[float, float]:
    lower, upper = map(float, plain["bounds"])
    return lower, upper


def _number(value: float) -> float | str:
    # JSON has neither infinities nor NaN.
    return value if isfinite(value) else str(value)
