"""Figures of a backtest: error against horizon, calibration, forecasts from successive cuts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from sparsefit.backtesting import Backtest, Comparison

# Okabe & Ito's colours that show on white, each with its own marker for print without colour.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#7F7F7F")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
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

    Returns
    -------
    Axes
    """
    if score not in _LABELS:
        raise ArgumentError(f"score: one of {', '.join(_LABELS)} is expected, got {score!r}.")
    axes = _axes(ax)
    table = result.table("bucket")
    buckets = list(dict.fromkeys(table["bucket"]))
    chosen = _chosen(result, methods)
    for index, method in enumerate(chosen):
        own = table[table["method"] == method].set_index("bucket").reindex(buckets)
        axes.plot(
            np.arange(len(buckets)),
            own[score],
            color=_COLOURS[index % len(_COLOURS)],
            marker=_MARKERS[index % len(_MARKERS)],
            label=_label(method),
        )
    axes.set_yscale("log")
    _plain_log_ticks(axes)
    axes.set_xticks(np.arange(len(buckets)), buckets)
    axes.set_xlabel("tokens forecast / tokens seen")
    axes.set_ylabel(f"{_LABELS[score]}\n(percentage points)")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return axes


def calibration_curve(
    result: Backtest, ax: Axes | None = None, *, methods: Sequence[str] | None = None
) -> Axes:
    """Coverage of central intervals against their level, with cluster-bootstrap bars.

    On the diagonal the intervals hold what they promise; below it they are too narrow.
    """
    axes = _axes(ax)
    table = result.calibration()
    chosen = _chosen(result, methods)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="as promised")
    for index, method in enumerate(chosen):
        own = table[table["method"] == method]
        # Bars side by side rather than on top of each other.
        shift = 0.008 * (index - (len(chosen) - 1) / 2)
        colour = _COLOURS[index % len(_COLOURS)]
        axes.plot(
            own["level"] + shift,
            own["covered"],
            color=colour,
            marker=_MARKERS[index % len(_MARKERS)],
            markersize=4,
            label=_label(method),
        )
        axes.vlines(own["level"] + shift, own["lower"], own["upper"], color=colour, alpha=0.35)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("level of the interval")
    axes.set_ylabel("share of measurements inside")
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return axes


def forecast_fan(
    result: Backtest,
    run: str,
    method: str | None = None,
    ax: Axes | None = None,
    *,
    table: pd.DataFrame | None = None,
) -> Axes:
    """Forecasts of one run from successive cuts, over what was measured.

    Parameters
    ----------
    result : Backtest
        What to draw.
    run : str
        Run to draw.
    method : str, optional
        Method to draw (default: the one with the best CRPS).
    ax : Axes, optional
        Where to draw; a new figure by default.
    table : DataFrame, optional
        The measurement table, to show the points before the first cut as well.

    Returns
    -------
    Axes
    """
    name = result.best() if method is None else _chosen(result, [method])[0]
    points = result.points[(result.points["run"] == run) & (result.points["method"] == name)]
    if points.empty:
        known = ", ".join(result.cells["run"].unique())
        raise ArgumentError(f"run: nothing was forecast for {run!r}; runs: {known}.")
    axes = _axes(ax)
    measured = points.drop_duplicates("tokens").sort_values("tokens")
    tokens, values = measured["tokens"].to_numpy(), measured["observed"].to_numpy()
    if table is not None:
        rows = table[(table["run"] == run) & table["activation_ratio"].notna()]
        tokens, values = rows["tokens"].to_numpy(), rows["activation_ratio"].to_numpy()
    for index, cut in enumerate(result.cuts):
        own = points[points["cut"] == cut].sort_values("tokens")
        if own.empty:
            continue
        colour = _COLOURS[index % len(_COLOURS)]
        axes.fill_between(
            own["tokens"], 100 * own["lower90"], 100 * own["upper90"], color=colour, alpha=0.18
        )
        axes.plot(
            own["tokens"], 100 * own["median"], color=colour, label=f"from {100 * cut:.0f}% seen"
        )
        start = own["tokens"].iloc[0] / own["horizon"].iloc[0]
        if np.isfinite(start):
            axes.axvline(start, color=colour, linewidth=0.8, linestyle=":")
    axes.plot(tokens, 100 * values, ".", color="black", markersize=4, label="measured", zorder=3)
    _token_axis(axes)
    axes.set_ylabel("activation ratio (%)")
    axes.set_title(f"{_label(name)}: {run} (bands: 90%, new measurement)", fontsize="medium")
    # Wild bands must not hide the data.
    span = 100 * float(np.ptp(values)) or 1.0
    low, high = axes.get_ylim()
    middle = (100 * values.min() - 1.5 * span, 100 * values.max() + 1.5 * span)
    axes.set_ylim(max(low, middle[0]), min(high, middle[1]))
    axes.legend(frameon=False)
    return axes


def comparison(result: Comparison, ax: Axes | None = None, *, criterion: str | None = None) -> Axes:
    """Fits against a criterion, one marker a fit and one row a run; the best is filled.

    Parameters
    ----------
    result : Comparison
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    criterion : str, optional
        A column of `Comparison.table`; by default future_crps, or log_evidence where
        leave-future-out was not computed. Log evidence, AICc, BIC and loo are drawn relative to
        the best fit of each run.

    Returns
    -------
    Axes
    """
    available = [name for name in _CRITERIA if name in result.table]
    if criterion is None:
        known = result.table["future_crps"].notna().any()
        criterion = "future_crps" if known else "log_evidence"
    if criterion not in available:
        raise ArgumentError(f"criterion: one of {', '.join(available)}, got {criterion!r}.")
    label, higher_is_better, relative = _CRITERIA[criterion]
    axes = _axes(ax)
    runs = list(result.table["run"].drop_duplicates())
    names = list(result.table["fit"].drop_duplicates())
    for index, name in enumerate(names):
        places, values, wins = [], [], []
        for place, run in enumerate(runs):
            rows = result.table[result.table["run"] == run].set_index("fit")[criterion].dropna()
            if name not in rows.index:
                continue
            best = rows.max() if higher_is_better else rows.min()
            places.append(place)
            values.append(rows[name] - best if relative else rows[name])
            wins.append(bool(rows[name] == best))
        colour = _COLOURS[index % len(_COLOURS)]
        axes.scatter(
            values,
            places,
            marker=_MARKERS[index % len(_MARKERS)],
            facecolors=[colour if won else "none" for won in wins],
            edgecolors=colour,
            s=45,
            label=name,
            zorder=3,
        )
    axes.set_yticks(range(len(runs)), runs)
    axes.set_ylim(len(runs) - 0.5, -0.5)
    axes.grid(axis="y", color="0.9")
    axes.set_xlabel(label)
    axes.legend(title="filled: best of its run", loc="best", frameon=False)
    return axes


# column -> (axis label, whether higher is better, whether only differences mean something)
_CRITERIA = {
    "future_crps": ("CRPS of held-back points (percentage points; lower is better)", False, False),
    "future_mae": ("error on held-back points (percentage points; lower is better)", False, False),
    "log_evidence": ("log evidence minus that of the best fit (nats)", True, True),
    "loo": ("PSIS-LOO minus that of the best fit (nats)", True, True),
    "aicc": ("AICc minus that of the best fit", False, True),
    "bic": ("BIC minus that of the best fit", False, True),
}


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _chosen(result: Backtest, methods: Sequence[str] | None) -> list[str]:
    if methods is None:
        return [str(name) for name in result.table().sort_values("crps")["method"]]
    unknown = [name for name in methods if name not in result.methods]
    if unknown:
        raise ArgumentError(
            f"methods: {', '.join(unknown)} not in this backtest; run were "
            f"{', '.join(result.methods)}."
        )
    return list(methods)


def _label(method: str) -> str:
    return method.replace("_", " ")


def _token_axis(axes: Any) -> None:
    """Tokens with K, M, B or T instead of an offset in the corner."""
    from matplotlib.ticker import FuncFormatter

    def text(value: float, _: Any) -> str:
        for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
            if abs(value) >= size:
                return f"{value / size:g}{letter}"
        return f"{value:g}"

    axes.xaxis.set_major_formatter(FuncFormatter(text))
    axes.set_xlabel("training tokens")


def _plain_log_ticks(axes: Any) -> None:
    """0.05, 0.1, 0.2 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
