"""Training tokens that a range of targets needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.checks import check_above
from sparsefit.errors import ArgumentError, quoted
from sparsefit.plots import canvas
from sparsefit.plots import style as looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike, NDArray

    from sparsefit.results.estimates import Budget
    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

_TARGETS = 60


def budget(
    result: Fit | Fits,
    ax: Axes | None = None,
    *,
    runs: Sequence[str] | None = None,
    targets: ArrayLike | None = None,
    level: float = 0.9,
    most: float = 100.0,
    sparsity: bool = True,
    style: looks.Style = None,
) -> Axes:
    """Draw the tokens at which the curve meets each of a range of targets.

    The line is the median, the band the interval. Hatched: targets that may never be met (the
    interval has no upper end); the line stops where at least half of the draws never get there.
    Runs that fall and runs that rise share an axis of the further change since the last checkpoint,
    unless `targets` are given.

    Parameters
    ----------
    result : Fit or Fits
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    runs : sequence of str, optional
        Runs to draw, in this order (default: all).
    targets : array_like, optional
        Targets in the unit of the response (activation ratios as fractions); by default from the
        curve at half the tokens seen, or at the first point used, to the limit and a little beyond.
    level : float
        Level of the intervals.
    most : float
        Top of the token axis as a multiple of the most tokens seen.
    sparsity : bool
        Whether to show the sparsity ratio on a second axis.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    chosen = canvas.all_fits(result, runs)
    response = canvas.one_response(chosen)
    check_above("most", most, 1.0)
    given = None if targets is None else _check_targets(targets, response)
    single = len(chosen) == 1
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        axes.set_yscale("log")
        signs = {fit.law.sign for fit in chosen.values()}
        relative = len(signs) > 1 and given is None
        seen = [float(fit.tokens[-1]) for fit in chosen.values()]
        top = most * max(seen)
        texts = canvas.run_texts(chosen)
        for index, (run, fit) in enumerate(chosen.items()):
            goals = _targets(fit, level) if given is None else given
            now = float(fit.forecast(fit.tokens[-1], level)["median"].iloc[0])
            x = fit.law.sign * (now - goals) if relative else goals
            _draw_run(axes, fit, index, texts[run], goals, x, level, top, single)
        axes.set_ylim(0.4 * min(seen), top)
        if single:
            axes.axhspan(0.4 * seen[0], seen[0], color=looks.tone(0.93), linewidth=0, zorder=0)
            axes.annotate(
                f"seen: {canvas.count_text(seen[0])}",
                (0.01, seen[0]),
                xycoords=axes.get_yaxis_transform(),
                xytext=(2, -3),
                textcoords="offset points",
                va="top",
                fontsize="small",
                color=looks.tone(0.25),
            )
        # Further training leads to the right.
        if signs == {1}:
            axes.invert_xaxis()
        canvas.token_axis(axes, "y", "training tokens needed")
        noun = "activation ratio (fraction)" if response == "activation_ratio" else "loss (nats)"
        axes.set_xlabel(f"further change of the {noun}" if relative else f"target {noun}")
        if sparsity and not relative and response == "activation_ratio":
            canvas.sparsity_axis(axes, "x")
        canvas.legend_of_runs(axes, len(chosen), "upper left" if single else "best")
    return axes


def _check_targets(targets: ArrayLike, response: str) -> NDArray[np.float64]:
    top = 1.0 if response == "activation_ratio" else np.inf
    try:
        array = np.sort(np.atleast_1d(np.asarray(targets, dtype=float)).ravel())
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.size < 2 or not np.all(np.isfinite(array) & (array > 0) & (array < top)):
        unit = "fractions between 0 and 1" if top == 1.0 else "positive numbers"
        raise ArgumentError(f"targets must be two or more {unit}, got {quoted(targets)}")
    return array


def _targets(fit: Fit, level: float) -> NDArray[np.float64]:
    """Targets from the curve at half the tokens seen to a little beyond the limit."""
    seen = float(fit.tokens[-1])
    # Before its first point a young run's curve may go anywhere.
    early = max(0.5 * seen, float(fit.tokens[fit.n_warmup]))
    start, now, far = fit.forecast([early, seen, 100.0 * seen], level)["median"]
    beyond = far - fit.law.sign * 0.25 * abs(now - far)
    low, high = sorted((float(start), float(beyond)))
    top = 1.0 if fit.response == "activation_ratio" else np.inf
    return np.linspace(max(low, 1e-6), min(high, top - 1e-6), _TARGETS)


def _ask(fit: Fit, target: float, level: float) -> Budget:
    if fit.response == "loss":
        return fit.tokens_to(loss=target, level=level)
    return fit.tokens_to(activation_ratio=target, level=level)


def _draw_run(
    axes: Any,
    fit: Fit,
    index: int,
    name: str,
    goals: NDArray[np.float64],
    x: NDArray[np.float64],
    level: float,
    top: float,
    single: bool,
) -> None:
    colour, _, dash = looks.series_look(index)
    if fit.misfit:
        # No curve: a line out of sight keeps the targets on the axis and the run in the legend.
        label = f"{name}: not described by its law"
        unseen = np.full(goals.size, 1e-9 * top)
        axes.plot(x, unseen, color=colour, linestyle="-" if single else dash, label=label)
        return
    found = [_ask(fit, float(goal), level) for goal in goals]
    lower = np.array([budget.lower for budget in found])
    middle = np.array([budget.estimate for budget in found])
    upper = np.array([budget.upper for budget in found])
    floor = 1e-3 * top / 1e6
    percent = f"{100 * level:g}%"
    axes.fill_between(
        x,
        np.clip(lower, floor, 10 * top),
        np.clip(upper, floor, 10 * top),
        where=np.isfinite(lower),
        color=colour,
        alpha=0.22 if single else 0.12,
        linewidth=0,
        label=f"{percent} interval" if single else "_",
    )
    open_end = np.isinf(upper) & (lower < top)
    if single and open_end.any():
        axes.fill_between(
            x,
            np.clip(lower, floor, 10 * top),
            10 * top,
            where=open_end,
            facecolor="none",
            edgecolor=colour,
            alpha=0.5,
            hatch="///",
            linewidth=0,
            label="may never be met",
        )
    met = np.isfinite(middle)
    axes.plot(
        x[met],
        np.maximum(middle[met], floor),
        color=colour,
        linestyle="-" if single else dash,
        label="median" if single else name,
    )
