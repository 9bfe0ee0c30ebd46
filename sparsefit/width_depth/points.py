"""From tables or fits to the arrays of the width-depth law, with every fault named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sparsefit.checks import check_choice, check_positive
from sparsefit.errors import ArgumentError, Fault, FitError, TableError, quoted
from sparsefit.width_depth.checkpoints import ratios_of_runs, refuse_checkpoints
from sparsefit.width_depth.columns import number_column, ratio_column
from sparsefit.width_depth.kernel import Array

if TYPE_CHECKING:
    from sparsefit.results.estimates import Limit

Replicates = Literal["error", "keep"]

MIN_RATIOS = 5


@dataclass(frozen=True, eq=False)
class Points:
    """Points of the width-depth law, ascending in the ratio.

    Attributes
    ----------
    ratio : ndarray, shape (n,)
        Width-depth ratios (hidden size / number of layers).
    value : ndarray, shape (n,)
        Limit activation ratios (fractions) or losses (nats).
    se : ndarray, shape (n,), or None
        Standard errors of `value`.
    label : tuple of str
        Run of each point.
    left_out : mapping
        Runs that are no point of the law, and why: those without a fit, and those whose limit is
        not identified, so that it has no standard error.
    """

    ratio: Array
    value: Array
    se: Array | None
    label: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)


def read_points(
    points: Any,
    *,
    ratios: Any = None,
    column: str = "limit",
    fraction: bool = True,
    replicates: Replicates = "error",
    level: float = 0.9,
) -> Points:
    """Validate points given as a table or as fits.

    Only limits that are identified become points: an interval that ends on a physical bound has no
    standard error. The others are named in `Points.left_out`.

    Parameters
    ----------
    points : DataFrame, or mapping of run to a fit
        Table with `width_depth_ratio` (or `hidden_size` and `n_layers`), `column` and optionally
        `se`, `run` and, of limits, `identified` ("yes" where a row is to become a point); or fits
        whose ``limit(level)`` has estimate, lower and upper.
    ratios : mapping of run to ratio, or DataFrame with `run`, optional
        Architectures of the fits (not for tables).
    column : str
        Column of the values.
    fraction : bool
        Whether values must lie in [0, 1).
    replicates : {"error", "keep"}
        What to do with several points at one ratio.
    level : float
        Level of the limits' intervals that become standard errors.

    Raises
    ------
    TableError
        Listing every fault with its row and column.
    FitError
        No limit is identified.
    ArgumentError
        For arguments of another kind.
    """
    if isinstance(points, Mapping):
        table, left_out = _table_of_fits(points, ratios, column, level)
        if table.empty and left_out:
            raise FitError(f"no run has a limit to use. {_said(left_out)}")
    elif isinstance(points, pd.DataFrame):
        if ratios is not None:
            raise ArgumentError(
                "ratios: only used with fits; give the table a column 'width_depth_ratio' "
                "or the columns 'hidden_size' and 'n_layers'"
            )
        table, left_out = points.reset_index(drop=True), {}
    else:
        raise ArgumentError(
            f"points: expected a DataFrame or a mapping of run to fit, got {type(points).__name__}"
        )
    check_choice("replicates", replicates, ("error", "keep"))
    read = _points_of_table(table, column, fraction, replicates, isinstance(points, Mapping))
    return replace(read, left_out={**left_out, **read.left_out})


def require_enough(points: Points) -> None:
    """Refuse points that no law with a break could be fitted to.

    Raises
    ------
    FitError
        With fewer than five distinct ratios.
    """
    distinct = len(np.unique(points.ratio))
    if distinct < MIN_RATIOS:
        left = f" {_said(points.left_out)}" if points.left_out else ""
        raise FitError(
            f"{distinct} distinct width-depth ratio{'s' if distinct != 1 else ''}: the law has "
            f"three parameters and needs at least {MIN_RATIOS}. Measure more architectures at the "
            f"same parameter scale.{left}"
        )


def _said(left_out: Mapping[str, str]) -> str:
    return " ".join(f"Left out: {why.rstrip('.')}." for why in left_out.values())


def _points_of_table(
    table: pd.DataFrame, column: str, fraction: bool, replicates: Replicates, of_fits: bool
) -> Points:
    faults: list[Fault] = []
    if table.empty:
        raise TableError([Fault(None, None, "has no rows", "Give one row per architecture")])
    refuse_checkpoints(table)
    label = np.asarray(table.get("run", table.index), dtype=object).astype(str)
    kept, left_out = _identified(table, column, label)
    ratio = ratio_column(table, faults)
    value = number_column(table, column, faults)
    if fraction:
        for row in np.flatnonzero((value < 0) | (value >= 1)):
            faults.append(
                Fault(
                    int(row),
                    column,
                    f"{value[row]:g} is not a fraction in [0, 1)",
                    "Give activation ratios as fractions, not percent",
                )
            )
    se = number_column(table, "se", faults, positive=True) if "se" in table else None
    if replicates == "error":
        repeated = _repeated(np.where(kept, ratio, np.nan), column, label if of_fits else None)
        faults.extend(repeated)
    # A limit that is not identified hardly has a standard error, and needs none.
    faults = [fault for fault in faults if fault.row is None or kept[fault.row]]
    if faults:
        raise TableError(faults)
    if not kept.any():
        raise FitError(f"no run has a limit to use. {_said(left_out)}")
    order = np.flatnonzero(kept)[np.argsort(ratio[kept], kind="stable")]
    return Points(
        ratio[order],
        value[order],
        None if se is None else se[order],
        tuple(label[order].tolist()),
        left_out,
    )


def _identified(
    table: pd.DataFrame, column: str, label: NDArray[np.str_]
) -> tuple[NDArray[np.bool_], dict[str, str]]:
    """Rows to use, by what the table says of its limits, and why the others are left out.

    In a table of limits and losses, the column `identified` is about the limits.
    """
    if column != "limit" or "identified" not in table:
        return np.ones(len(table), dtype=bool), {}
    said = table["identified"].tolist()
    kept = np.array([word == "yes" or word is True for word in said])
    return kept, {
        str(name): f"run {str(name)!r}: its limit is not identified (the table says {quoted(word)})"
        for name, word, use in zip(label, said, kept, strict=True)
        if not use
    }


def _repeated(ratio: Array, column: str, runs: NDArray[np.str_] | None) -> list[Fault]:
    """Name ratios that several points have, by their runs where the points are fits."""
    remedy = (
        "Give one row per ratio, such as the mean of its runs"
        if column == "loss"
        else 'If they are different runs (other seeds), pass replicates="keep" (--keep-replicates)'
    )
    faults = []
    first: dict[float, int] = {}
    for row, value in enumerate(ratio):
        if not np.isfinite(value):
            continue
        seen = first.setdefault(value, row)
        if seen != row:
            fault = (
                Fault(row, "width_depth_ratio", f"{value:g} is already in row {seen}", remedy)
                if runs is None
                else Fault(
                    None,
                    "width_depth_ratio",
                    f"runs {str(runs[seen])!r} and {str(runs[row])!r} both have {value:g}",
                    remedy,
                )
            )
            faults.append(fault)
    return faults


def _table_of_fits(
    fits: Mapping[Any, Any], ratios: Any, column: str, level: float
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Identified limits as a table of points, and the runs that are left out."""
    if ratios is None:
        raise ArgumentError(
            "ratios: fits do not know their architecture; give a mapping of run to width-depth "
            "ratio, or a table with the columns run, hidden_size, n_layers"
        )
    ratio_of = _ratio_of_run(ratios)
    left_out = dict(getattr(fits, "left_out", {}))
    faults, rows = [], []
    for row, (run, fit) in enumerate(fits.items()):
        if not (hasattr(fit, "limit") and hasattr(fit, "misfit")):
            raise ArgumentError(
                f"points: run {quoted(run)} is of type {type(fit).__name__}; give fits of "
                "sf.fit or sf.fit_bayes, or a table"
            )
        limit = fit.limit(level)
        if not limit.is_identified:
            law = " Its points go against its law." if fit.misfit else ""
            left_out[str(run)] = f"run {str(run)!r}: {limit.sentence}{law}"
            continue
        estimate, se = _estimate_and_se(limit)
        if se <= 0:
            faults.append(
                Fault(
                    row,
                    column,
                    f"the interval of the limit of run {quoted(run)} has no width",
                    "Leave the run out, or give the limits in a table with a column 'se'",
                )
            )
        if str(run) not in ratio_of:
            remedy = "Add it to `ratios`"
            faults.append(
                Fault(row, "width_depth_ratio", f"run {quoted(run)} has no architecture", remedy)
            )
            continue
        rows.append((str(run), ratio_of[str(run)], estimate, se))
    if faults:
        raise TableError(faults)
    return pd.DataFrame(rows, columns=["run", "width_depth_ratio", column, "se"]), left_out


def _estimate_and_se(limit: Limit) -> tuple[float, float]:
    """An identified limit's estimate, and the standard error that its interval stands for."""
    from scipy.stats import norm

    half = 0.5 * (limit.upper - limit.lower)
    return limit.estimate, half / float(norm.ppf(0.5 + limit.level / 2))


def _ratio_of_run(ratios: Any) -> dict[str, float]:
    if isinstance(ratios, pd.DataFrame):
        try:
            return ratios_of_runs(ratios)
        except TableError as error:
            raise TableError(error.faults, source="ratios") from None
    if isinstance(ratios, Mapping):
        return {
            str(run): check_positive(f"ratios: the ratio of run {quoted(run)}", value)
            for run, value in ratios.items()
        }
    raise ArgumentError(
        f"ratios: expected a mapping of run to ratio or a DataFrame, got {type(ratios).__name__}"
    )
