"""Figures of a backtest: error against horizon, calibration, forecasts from successive cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.checks import check_choice
from sparsefit.errors import ArgumentError, quoted
from sparsefit.plots import canvas
from sparsefit.plots import style as looks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from sparsefit.backtesting import Backtest

_LABELS = {
    "mae": "mean absolute error",
    "crps": "CRPS",
    "winkler90": "Winkler score (90%)",
    "width90": "width of the 90% interval",
}


def error_by_horizon(
    result: Backtest,
    ax: Axes | None = None,
    *,
    score: str = "mae",
    methods: Sequence[str] | None = None,
    style: looks.Style = None,
) -> Axes:
    """Mean score of each method against how far ahead it forecast.

    Parameters
    ----------
    result : Backtest
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    score : {"mae", "crps", "winkler90", "width90"}
        Score, on a logarithmic axis.
    methods : sequence of str, optional
        Methods to draw, in this order (default: all, best CRPS first).
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    check_choice("score", score, tuple(_LABELS))
    _check_backtest(result)
    table = result.table("bucket")
    buckets = list(dict.fromkeys(table["bucket"]))
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        for index, method in enumerate(_chosen(result, methods)):
            own = table[table["method"] == method].set_index("bucket").reindex(buckets)
            colour, marker, dash = looks.series_look(index)
            axes.plot(
                np.arange(len(buckets)),
                own[score],
                color=colour,
                marker=marker,
                linestyle=dash,
                label=_label(method),
            )
        axes.set_yscale("log")
        canvas.plain_log_axis(axes.yaxis)
        axes.set_xticks(np.arange(len(buckets)), buckets)
        axes.set_xlabel("tokens forecast / tokens seen")
        axes.set_ylabel(f"{_LABELS[score]}\n(percentage points)")
        _legend_outside(axes)
    return axes


def calibration_curve(
    result: Backtest,
    ax: Axes | None = None,
    *,
    methods: Sequence[str] | None = None,
    style: looks.Style = None,
) -> Axes:
    """Coverage of central intervals against their level, with cluster-bootstrap bars.

    On the diagonal the intervals hold what they promise; below it they are too narrow.

    Parameters
    ----------
    result : Backtest
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    methods : sequence of str, optional
        Methods to draw, in this order (default: all, best CRPS first).
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    _check_backtest(result)
    table = result.calibration()
    chosen = _chosen(result, methods)
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        axes.plot([0, 1], [0, 1], color=looks.tone(0.6), linewidth=1, label="as promised")
        for index, method in enumerate(chosen):
            own = table[table["method"] == method]
            # Bars side by side rather than on top of each other.
            at = own["level"] + 0.008 * (index - (len(chosen) - 1) / 2)
            colour, marker, dash = looks.series_look(index)
            axes.plot(
                at, own["covered"], color=colour, marker=marker, linestyle=dash,
                label=_label(method),
            )  # fmt: skip
            axes.vlines(at, own["lower"], own["upper"], color=colour, alpha=0.35)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_xlabel("level of the interval")
        axes.set_ylabel("share of measurements inside")
        _legend_outside(axes)
    return axes


def forecast_fan(
    result: Backtest,
    ax: Axes | None = None,
    *,
    run: str | None = None,
    method: str | None = None,
    table: pd.DataFrame | None = None,
    style: looks.Style = None,
) -> Axes:
    """Forecasts of one run from successive cuts, over what was measured.

    Parameters
    ----------
    result : Backtest
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    run : str, optional
        Run to draw (default: the first).
    method : str, optional
        Method to draw (default: the one with the best CRPS).
    table : DataFrame, optional
        The measurement table, to show the points before the first cut as well.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
        The value axis covers the measured values and one and a half times their range on either
        side; wilder bands leave it.
    """
    _check_backtest(result)
    name = result.best() if method is None else _chosen(result, [method])[0]
    known = list(result.cells["run"].drop_duplicates())
    chosen = known[0] if run is None else run
    points = result.points[(result.points["run"] == chosen) & (result.points["method"] == name)]
    if points.empty:
        raise ArgumentError(
            f"run: {name} forecast nothing for {quoted(chosen)}; runs: {', '.join(known)}"
        )
    measured = points.drop_duplicates("tokens").sort_values("tokens")
    tokens, values = measured["tokens"].to_numpy(), measured["observed"].to_numpy()
    if table is not None:
        canvas.check_table("table", table, "activation_ratio")
        rows = table[(table["run"] == chosen) & table["activation_ratio"].notna()]
        tokens, values = rows["tokens"].to_numpy(), rows["activation_ratio"].to_numpy()
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        for index, cut in enumerate(result.cuts):
            own = points[points["cut"] == cut].sort_values("tokens")
            if not own.empty:
                _draw_cut(axes, own, index, cut)
        axes.plot(tokens, values, ".", color=looks.ink(), label="measured", zorder=3)
        canvas.token_axis(axes)
        axes.set_ylabel("activation ratio (fraction)")
        axes.set_title(
            f"{canvas.run_text(chosen)}: {_label(name)}, 90% bands for a new measurement"
        )
        span = float(np.ptp(values)) or 0.01
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, values.min() - 1.5 * span), min(high, values.max() + 1.5 * span))
        axes.legend()
    return axes


def _draw_cut(axes: Axes, own: pd.DataFrame, index: int, cut: float) -> None:
    colour, _, dash = looks.series_look(index)
    axes.fill_between(own["tokens"], own["lower90"], own["upper90"], color=colour, alpha=0.18)
    label = f"from {100 * cut:.0f}% seen"
    axes.plot(own["tokens"], own["median"], color=colour, linestyle=dash, label=label)
    start = own["tokens"].iloc[0] / own["horizon"].iloc[0]
    if np.isfinite(start):
        axes.axvline(start, color=colour, linewidth=0.8, linestyle=":")


def _check_backtest(result: Any) -> None:
    if not hasattr(result, "calibration"):
        raise ArgumentError(
            f"this plot takes what sf.backtest returns, got {type(result).__name__}"
        )


def _chosen(result: Backtest, methods: Sequence[str] | None) -> list[str]:
    if methods is None:
        return [str(name) for name in result.table().sort_values("crps")["method"]]
    if isinstance(methods, str) or not isinstance(methods, Sequence):
        raise ArgumentError(f"methods must be a sequence of names, got {quoted(methods)}")
    unknown = [name for name in methods if name not in result.methods]
    if unknown or not len(methods):
        raise ArgumentError(
            f"methods: {', '.join(map(str, unknown)) or 'nothing'} is not in this backtest, which "
            f"ran {', '.join(result.methods)}"
        )
    return list(methods)


def _label(method: str) -> str:
    return method.replace("_", " ")


def _legend_outside(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5))
