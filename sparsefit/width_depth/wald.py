"""Regressions behind the law, by statsmodels: first-order errors and the separate segments.

The first-order (Wald) standard errors are those of Muggeo (2003, Stat. Med. 22, 3055-3071), as
printed by R's segmented and by piecewise-regression: the law is linearised in the break, and the
coefficient of the derivative column has the break's standard error. They are the common currency
for comparison with those packages; with few points they are too small, which is why
`BreakpointFit.conf_int` does not use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sparsefit.checks import check_choice, check_level
from sparsefit.errors import FitError
from sparsefit.width_depth.kernel import Array

if TYPE_CHECKING:
    from sparsefit.width_depth.result import BreakpointFit

COV_TYPES = ("nonrobust", "HC1", "HC2", "HC3", "HAC")
_COLUMNS = ["estimate", "std_error", "lower", "upper", "level", "kind"]


def wald_table(fit: BreakpointFit, level: float, cov_type: str) -> pd.DataFrame:
    """First-order standard errors and intervals of the parameters.

    Parameters
    ----------
    fit : BreakpointFit
        The fit.
    level : float
        Coverage aimed at.
    cov_type : {"nonrobust", "HC1", "HC2", "HC3", "HAC"}
        Covariance of the linearised regression; HAC takes the points in the order of the ratio.

    Returns
    -------
    DataFrame
        Index `term`; columns estimate, std_error, lower, upper, level, kind.

    Raises
    ------
    FitError
        For a best fit without a break inside the points: no slope, or no point after it.
    """
    x, tau = fit.points.ratio, fit.breakpoint
    after = (x > tau).astype(float)
    one = np.ones_like(x)
    if fit.model == "line_plateau":
        names = ["intercept", "slope", "breakpoint"]
        columns = np.column_stack([one, np.minimum(x, tau), fit.slope * after])
        estimates = [fit.intercept, fit.slope, tau]
        derived = {"plateau": (float(fit.plateau or 0.0), np.array([1.0, tau, fit.slope]))}
    else:
        change = fit.slope_after - fit.slope
        names = ["intercept", "slope", "slope_change", "breakpoint"]
        columns = np.column_stack([one, x, np.maximum(x - tau, 0.0), -change * after])
        estimates = [fit.intercept, fit.slope, change, tau]
        derived = {"slope_after": (fit.slope_after, np.array([0.0, 1.0, 1.0, 0.0]))}
    scaled = columns / np.maximum(np.max(np.abs(columns), axis=0), 1e-300)
    if np.linalg.matrix_rank(scaled) < columns.shape[1]:
        raise FitError(
            "wald: the best fit has no slope before its break, or no point after it, so that a "
            "linearised regression says nothing of the break: use conf_int()"
        )
    regression = _regress(fit, x, columns, fit.points.value, cov_type)
    covariance = np.asarray(regression.cov_params())
    rows = list(zip(names, estimates, np.sqrt(np.diag(covariance)), strict=True))
    for name, (estimate, gradient) in derived.items():
        rows.append((name, float(estimate), float(np.sqrt(gradient @ covariance @ gradient))))
    kind = f"Wald, {cov_type}"
    return _table(rows, float(regression.df_resid), level, kind).set_index("term")


def segment_table(fit: BreakpointFit, level: float, cov_type: str) -> pd.DataFrame:
    """Regress the points on each side of the break on their own, without continuity.

    A check on the law: the second slope should be compatible with 0, and the two lines should
    nearly meet at the break. Segments of fewer than three points are returned without errors.

    Returns
    -------
    DataFrame
        Columns segment, term, n_points, estimate, std_error, lower, upper, level, kind.
    """
    x, y = fit.points.ratio, fit.points.value
    tables = []
    for segment, rows in (("before", x <= fit.breakpoint), ("after", x > fit.breakpoint)):
        names = ["intercept", "slope"]
        if len(np.unique(x[rows])) < 2:
            continue
        columns = np.column_stack([np.ones(rows.sum()), x[rows]])
        if rows.sum() < 3:
            estimates = np.linalg.lstsq(columns, y[rows], rcond=None)[0]
            pairs = [(n, float(v), np.nan) for n, v in zip(names, estimates, strict=True)]
            table = _table(pairs, 1.0, level, "too few points for an error")
        else:
            regression = _regress(fit, x[rows], columns, y[rows], cov_type, rows)
            errors = np.sqrt(np.diag(np.asarray(regression.cov_params())))
            pairs = list(zip(names, np.asarray(regression.params), errors, strict=True))
            table = _table(pairs, float(regression.df_resid), level, f"Wald, {cov_type}")
        table.insert(0, "segment", segment)
        table.insert(2, "n_points", int(rows.sum()))
        tables.append(table)
    columns_out = ["segment", "term", "n_points", *_COLUMNS]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=columns_out)


def _regress(
    fit: BreakpointFit,
    x: Array,
    columns: Array,
    y: Array,
    cov_type: str,
    rows: Any = slice(None),
) -> _Rescaled:
    from statsmodels.regression.linear_model import WLS

    check_choice("cov_type", cov_type, COV_TYPES)
    se = fit.points.se
    weight = np.ones_like(x)
    if se is not None:
        weight = 1.0 / (se[rows] ** 2 + (fit.scatter or 0.0) ** 2)
    arguments: dict[str, Any] = {}
    if cov_type == "HAC":
        # The usual rule for the number of lags.
        arguments["cov_kwds"] = {"maxlags": max(1, int(4 * (len(x) / 100) ** (2 / 9)))}
    # Columns of very different sizes would look singular to the solver.
    size = np.max(np.abs(columns), axis=0)
    size[size == 0] = 1.0
    result = WLS(y, columns / size, weights=weight).fit(cov_type=cov_type, use_t=True, **arguments)
    return _Rescaled(result, size)


class _Rescaled:
    """A regression's results in the units before its columns were scaled."""

    def __init__(self, result: Any, size: Array) -> None:
        self.params = np.asarray(result.params) / size
        self.df_resid = result.df_resid
        self._covariance = np.asarray(result.cov_params()) / np.outer(size, size)

    def cov_params(self) -> Array:
        return self._covariance


def _table(
    rows: list[tuple[str, float, float]], df: float, level: float, kind: str
) -> pd.DataFrame:
    from scipy.stats import t

    check_level(level)
    table = pd.DataFrame(rows, columns=["term", "estimate", "std_error"])
    half = float(t.ppf(0.5 + level / 2, df)) * table["std_error"]
    table["lower"] = table["estimate"] - half
    table["upper"] = table["estimate"] + half
    table["level"] = level
    table["kind"] = kind
    return table
