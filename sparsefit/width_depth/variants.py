"""Compare laws without a break, with one and with two.

The likelihood is Gaussian; with standard errors the scatter beyond them is estimated for each law
by maximum likelihood. Every break counts as a parameter, and so does the scatter.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from sparsefit.width_depth.kernel import Array, Stretches, linear_fit, prepare
from sparsefit.width_depth.models import design, hinge_column

# Parameters of the mean, breaks included.
VARIANTS = {"constant": 1, "line": 2, "line_plateau": 3, "line_line": 4, "two_breaks": 6}

# Three segments of two distinct ratios each, none shared.
MIN_RATIOS_TWO_BREAKS = 6


class Best(NamedTuple):
    """Least-squares fit of one law: weighted residuals (n,) and its breaks."""

    residual: Array
    breaks: tuple[float, ...]


def compare_variants(x: Array, y: Array, se: Array | None) -> pd.DataFrame:
    """Compare the laws by information criteria.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Ratios, ascending, and values.
    se : ndarray, shape (n,), or None
        Standard errors of the values.

    Returns
    -------
    DataFrame
        Index `model`; columns n_params, log_likelihood, aicc, bic, weight (Akaike weight from
        AICc), breaks, break_errors (first-order standard errors of the breaks). AICc is NaN, and
        the weight 0, where there are too few points for it: such a law cannot be judged on them.
    """
    n = len(x)
    rows = []
    distinct = len(np.unique(x))
    for model, n_mean in VARIANTS.items():
        k = n_mean + 1
        log_likelihood = np.nan
        breaks: tuple[float, ...] = ()
        errors: tuple[float, ...] = ()
        if model != "two_breaks" or distinct >= MIN_RATIOS_TWO_BREAKS:
            log_likelihood, breaks, weight = _maximise(model, x, y, se)
            errors = break_errors(model, x, y, breaks, weight)
        aicc = np.nan
        if n - k - 1 > 0:
            aicc = -2 * log_likelihood + 2 * k + 2 * k * (k + 1) / (n - k - 1)
        bic = -2 * log_likelihood + k * np.log(n)
        rows.append((model, k, log_likelihood, aicc, bic, breaks, errors))
    columns = ["model", "n_params", "log_likelihood", "aicc", "bic", "breaks", "break_errors"]
    table = pd.DataFrame(rows, columns=columns).set_index("model")
    relative = np.exp(-0.5 * (table["aicc"] - table["aicc"].min())).fillna(0.0)
    table.insert(4, "weight", relative / relative.sum())
    return table


def best_fit(model: str, x: Array, y: Array, weight: Array) -> Best:
    """Global least squares of one law at fixed weights."""
    root = np.sqrt(weight)
    one = np.ones_like(x)
    if model in ("constant", "line"):
        columns = one[:, None] if model == "constant" else np.column_stack([one, x])
        return Best(y * root - linear_fit(columns * root[:, None], y * root)[1], ())
    if model == "two_breaks":
        return _two_breaks(x, y, root)
    built = design(model, x, weight)  # type: ignore[arg-type]
    tau = float(built.kernel.minimise((y * root)[None]).at[0])
    return Best(y * root - linear_fit(built.columns(tau), y * root)[1], (tau,))


def break_errors(
    model: str, x: Array, y: Array, breaks: tuple[float, ...], weight: Array
) -> tuple[float, ...]:
    """First-order standard errors of the breaks (Muggeo 2003), from the residual variance."""
    one = np.ones_like(x)
    root = np.sqrt(weight)[:, None]
    hinges = [np.maximum(x - t, 0.0) for t in breaks]
    if model == "line_plateau":
        columns = np.column_stack([one, np.minimum(x, breaks[0])]) * root
        changes = [-linear_fit(columns, y * root[:, 0])[0][1]]
    else:
        columns = np.column_stack([one, x, *hinges]) * root
        changes = list(linear_fit(columns, y * root[:, 0])[0][2:])
    moved = [-c * (x > t) * root[:, 0] for c, t in zip(changes, breaks, strict=True)]
    columns_all = np.column_stack([columns, *moved])
    df = len(x) - columns_all.shape[1]
    # A break on a measured ratio has no derivative on one side; two may share their column.
    singular = np.linalg.matrix_rank(columns_all) < columns_all.shape[1]
    if not breaks or df < 1 or singular:
        return tuple(float("nan") for _ in breaks)
    residual = y * root[:, 0] - linear_fit(columns, y * root[:, 0])[1]
    covariance = np.linalg.pinv(columns_all.T @ columns_all) * float(residual @ residual) / df
    return tuple(np.sqrt(np.diag(covariance))[-len(breaks) :].tolist())


def _maximise(
    model: str, x: Array, y: Array, se: Array | None
) -> tuple[float, tuple[float, ...], Array]:
    """Maximum log-likelihood, the breaks there, and the weights used."""
    n = len(x)
    floor = 1e-24 * max(float(np.sum((y - y.mean()) ** 2)), float(np.mean(y)) ** 2 * 1e-12, 1e-280)
    if se is None:
        best = best_fit(model, x, y, np.ones_like(x))
        variance = max(float(best.residual @ best.residual), floor) / n
        return -0.5 * n * (np.log(2 * np.pi * variance) + 1), best.breaks, np.ones_like(x)

    def negative(scatter: float) -> float:
        variance = se**2 + scatter**2
        residual = best_fit(model, x, y, 1.0 / variance).residual
        return 0.5 * float(np.sum(np.log(2 * np.pi * variance)) + residual @ residual)

    from scipy.optimize import minimize_scalar

    spread = max(float(np.std(y)), float(np.max(se)))
    found = minimize_scalar(
        negative, bounds=(0.0, 2 * spread), method="bounded", options={"xatol": 1e-4 * spread}
    )
    scatter = float(found.x) if found.fun < negative(0.0) else 0.0
    weight = 1.0 / (se**2 + scatter**2)
    return -negative(scatter), best_fit(model, x, y, weight).breaks, weight


def _two_breaks(x: Array, y: Array, root: Array, per_stretch: int = 12) -> Best:
    """Line, line, line with two distinct ratios or more in every segment.

    The first break is exact given the second; the second is searched on a grid and refined.
    """
    from scipy.optimize import minimize_scalar

    knots = np.unique(x)
    one = np.ones_like(x)

    def first_break(second: float) -> tuple[float, float]:
        held = int(np.searchsorted(knots, second, side="right")) - 1
        # Breaks from the second ratio on, with two ratios between them and the second break.
        grid = knots[1:held]
        if len(grid) < 2:
            return np.inf, np.nan
        base = np.column_stack([one, x, np.maximum(x - second, 0.0)])
        kernel = prepare(Stretches(base, *hinge_column(x, grid)).scaled(root))
        best = kernel.minimise((y * root)[None])
        return float(best.rss[0]), float(best.at[0])

    best_rss, best_second = float("inf"), float("nan")

    for low, high in pairwise(knots[3:-1]):
        trial = np.linspace(low, high, per_stretch)
        values = [first_break(float(t))[0] for t in trial]
        k = int(np.argmin(values))
        if not np.isfinite(values[k]):
            continue
        ends = (float(trial[max(k - 1, 0)]), float(trial[min(k + 1, len(trial) - 1)]))
        width = (knots[-1] - knots[0]) * 1e-10
        found = minimize_scalar(
            lambda t: first_break(float(t))[0],
            bounds=ends,
            method="bounded",
            options={"xatol": width},
        )
        candidates = ((values[k], float(trial[k])), (float(found.fun), float(found.x)))
        rss, second = min(candidates)
        if rss < best_rss:
            best_rss, best_second = rss, second
    first = first_break(best_second)[1]
    columns = (
        np.column_stack([one, x, np.maximum(x - first, 0.0), np.maximum(x - best_second, 0.0)])
        * root[:, None]
    )
    return Best(y * root - linear_fit(columns, y * root)[1], (first, best_second))
