"""Fit the width-depth law to a table, to fits, or to arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from sparsefit.checks import check_choice, check_whole
from sparsefit.errors import ArgumentError, FitError
from sparsefit.seeds import Rng, seed_of
from sparsefit.width_depth.arguments import check_numbers
from sparsefit.width_depth.intervals import Inference
from sparsefit.width_depth.models import MODELS, SIGNS, ModelName, Sign
from sparsefit.width_depth.points import (
    Points,
    Replicates,
    read_points,
    require_enough,
)
from sparsefit.width_depth.result import BreakpointFit
from sparsefit.width_depth.scaled import scale

_INF = float("inf")


def fit_width_depth(
    points: Any,
    *,
    ratios: Any = None,
    model: ModelName = "line_plateau",
    sign: Sign = "rising",
    replicates: Replicates = "error",
    draws: int = 999,
    rng: Rng = 0,
) -> BreakpointFit:
    """Fit the law of the limit activation ratio over the width-depth ratio.

    The limit rises linearly with the ratio up to a break and is level after it (Section 5.2 and
    Figure 5 of the paper). The break is found by exact profile least squares, without a start
    value; its interval and the test of no break hold their level with few points.

    Parameters
    ----------
    points : DataFrame, or mapping of run to a fit
        Table with one row per architecture: `width_depth_ratio` (or `hidden_size` and `n_layers`),
        `limit` (fraction) and optionally `se` (standard error of the limit), `run` and
        `identified` (as in `Fits.glance`). Or the fits themselves (`sparsefit.fit` of several
        runs), whose intervals give the standard errors. Runs whose limit is not identified are left
        out and named (`points.left_out`).
    ratios : mapping of run to ratio, or DataFrame with `run` and the architecture, optional
        Needed with fits.
    model : {"line_plateau", "line_line"}
        Law.
    sign : {"rising", "any"}
        Slopes before the plateau. The law rises up to its break, so by default points that fall
        with the ratio get slope 0 and the result says "no break can be placed". "any" also fits a
        fall that levels off. No effect on "line_line".
    replicates : {"error", "keep"}
        What to do with several points at one ratio, such as other seeds: refuse or keep them.
    draws : int
        Simulated samples behind intervals and tests.
    rng : int or numpy.random.Generator
        Seed, or a Generator that gives one.

    Returns
    -------
    BreakpointFit

    Raises
    ------
    TableError
        Listing every fault of the table with its row and column.
    FitError
        With fewer than five distinct ratios, naming the runs left out.
    ArgumentError
        For an unknown model or an argument that cannot be used.

    Examples
    --------
    >>> import pandas as pd, sparsefit as sf
    >>> table = pd.DataFrame({"width_depth_ratio": [20, 40, 60, 90, 130, 200, 300],
    ...                       "limit": [.050, .057, .062, .0715, .0805, .0795, .080]})
    >>> fit = sf.fit_width_depth(table)
    >>> fit.located
    True
    """
    read = read_points(points, ratios=ratios, replicates=replicates)
    require_enough(read)
    return fit_points(read, model, sign, draws, rng, bounds=(0.0, 1.0))


def fit_segmented(
    x: Any,
    y: Any,
    se: Any = None,
    *,
    model: ModelName = "line_line",
    sign: Sign = "any",
    draws: int = 999,
    rng: Rng = 0,
) -> BreakpointFit:
    """Fit a continuous law with one break to any two arrays (no physical range assumed).

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Points, in any order; repeated x are allowed.
    se : array_like, shape (n,), optional
        Standard errors of y.
    model, sign, draws, rng
        As in `fit_width_depth`.

    Raises
    ------
    ArgumentError
        For arrays of unequal length or with non-finite entries.
    FitError
        With fewer than five distinct x.
    """
    given = {"x": x, "y": y} if se is None else {"x": x, "y": y, "se": se}
    arrays = [check_numbers(name, values) for name, values in given.items()]
    for name, a in zip(given, arrays, strict=True):
        if a.ndim != 1:
            raise ArgumentError(f"{name}: expected numbers in one dimension, got shape {a.shape}")
        if a.size != arrays[0].size:
            raise ArgumentError(f"{name}: expected {arrays[0].size} numbers, got {a.size}")
    if se is not None and np.any(arrays[2] <= 0):
        raise ArgumentError("se: standard errors must be positive")
    order = np.argsort(arrays[0], kind="stable")
    label = tuple(str(i) for i in order)
    ordered = [a[order] for a in arrays]
    read = Points(ordered[0], ordered[1], ordered[2] if se is not None else None, label)
    require_enough(read)
    return fit_points(read, model, sign, draws, rng, bounds=(-_INF, _INF))


def fit_points(
    points: Points,
    model: ModelName,
    sign: Sign,
    draws: int,
    rng: Rng,
    bounds: tuple[float, float],
) -> BreakpointFit:
    """Fit points that have been read, within the physical range of their values."""
    check_choice("model", model, MODELS)
    check_choice("sign", sign, SIGNS)
    draws = check_whole("draws", draws, 99)
    seed = seed_of(rng)
    scaled = scale(model, points.ratio, points.value, points.se, sign)
    if scaled.weights.df < 1:
        raise FitError(f"{len(points.ratio)} points leave no degree of freedom for {model!r}")
    inference = Inference(scaled, draws, seed)
    slope = inference.estimate("slope")
    level = model == "line_plateau"
    residual = scaled.residual()
    return BreakpointFit(
        model=model,
        sign=scaled.design.sign,
        breakpoint=scaled.breakpoint * scaled.x_scale,
        slope=slope,
        intercept=inference.estimate("law", 0.0),
        plateau=inference.estimate("law") if level else None,
        slope_after=0.0 if level else inference.estimate("slope_after"),
        sigma=float(np.sqrt(residual @ residual / scaled.weights.df)),
        scatter=(
            None
            if scaled.weights.scatter is None
            else float(scaled.weights.scatter * scaled.y_scale)
        ),
        points=points,
        bounds=bounds,
        draws=draws,
        seed=seed,
        _inference=inference,
    )
