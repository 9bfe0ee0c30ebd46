"""How far the limit moves with the choice of warm-up points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.plots import canvas
from sparsefit.plots import style as looks

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from sparsefit.results.estimates import Limit
    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

# Share of the height that the bars of weights take at most.
_BARS = 0.22
# The numbers above more bars than these would run into one another.
_MANY = 20


def warmup_sensitivity(
    result: Fit | Fits,
    ax: Axes | None = None,
    *,
    runs: Sequence[str] | None = None,
    level: float = 0.9,
    style: looks.Style = None,
) -> Axes:
    """Draw the least-squares limit for every number of first points left out.

    One run: the limits with their profile intervals (arrow heads where an end lies on a bound), the
    choice of the fit as a diamond, the interval that averages over the choices shaded, and the
    weight of each choice as bars at the foot. Many runs: the shift of the limit against the choice
    of each fit.

    Parameters
    ----------
    result : Fit or Fits
        What to draw.
    ax : Axes, optional
        Where to draw; a new figure by default.
    runs : sequence of str, optional
        Runs to draw, in this order (default: all).
    level : float
        Level of the intervals.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    chosen = canvas.all_fits(result, runs)
    response = canvas.one_response(chosen)
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        if len(chosen) == 1:
            only = next(iter(chosen.values()))
            _draw_one(axes, only, level)
            axes.set_title(
                f"{canvas.run_text(only.run)}: the limit for each choice of warm-up", loc="left"
            )
            axes.set_ylabel(f"limit {canvas.RESPONSE_LABELS[response]}")
        else:
            _draw_shifts(axes, chosen, level)
            unit = "activation ratio" if response == "activation_ratio" else "nats per token"
            axes.set_ylabel(f"limit minus limit of the choice made\n({unit})")
            canvas.legend_of_runs(axes, len(chosen))
            _whole_ticks(axes)
        axes.set_xlabel("first points left out")
    return axes


def _whole_ticks(axes: Any, counts: Sequence[int] | None = None) -> None:
    """Place ticks at whole numbers; `counts` are what stands at 0, 1, 2, ..., if not these."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if counts is not None:
        known = dict(enumerate(counts))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda at, _: str(known.get(at, ""))))


def _view(table: pd.DataFrame, limit: Limit) -> tuple[float, float]:
    """Range that shows the limits of all choices and the bounded ends, not the arrows' length."""
    floor, ceiling = limit.bounded
    ends = [*table["limit"], limit.estimate]
    ends += [limit.lower] if floor else []
    ends += [limit.upper] if ceiling else []
    low, high = float(min(ends)), float(max(ends))
    span = max(high - low, 1e-9)
    near = [
        end
        for end in (*table["limit_lower"], *table["limit_upper"])
        if low - span < end < high + span
    ]
    low, high = min([low, *near]), max([high, *near])
    pad = 0.08 * max(high - low, 1e-9)
    room = (high - low + 2 * pad) * _BARS / (1 - _BARS)
    return low - pad - 1.15 * room, high + pad


def _draw_one(axes: Any, fit: Fit, level: float) -> None:
    table, limit = fit.warmup_sensitivity(level), fit.limit(level)
    percent = f"{100 * level:g}%"
    bottom, top = _view(table, limit)
    axes.set_ylim(bottom, top)
    axes.axhspan(
        max(limit.lower, bottom),
        min(limit.upper, top),
        color=looks.SKY,
        alpha=0.25,
        linewidth=0,
        label=f"{percent} interval, averaged",
    )
    # Side by side: of long runs the numbers left out grow in steps, from 0 and 1 to hundreds.
    at = np.arange(len(table))
    _draw_intervals(axes, at, table, limit, percent)
    axes.plot(at, table["limit"], "o", color=looks.ink(), label="least-squares limit")
    made = table["chosen"].to_numpy()
    axes.plot(
        at[made],
        table["limit"][made],
        "D",
        color=looks.VERMILLION,
        markersize=8,
        markeredgecolor=looks.paper(),
        label="choice made",
        zorder=4,
    )
    _draw_weights(axes, at, table["weight"].to_numpy())
    # The room of the bars may reach below the physical bound: no tick there.
    axes.set_yticks([tick for tick in axes.get_yticks() if tick >= limit.bounds[0]])
    axes.set_ylim(bottom, top)
    axes.set_xlim(-0.7, at[-1] + 0.7)
    _whole_ticks(axes, table["n_dropped"].tolist())
    canvas.legend_below(axes)


def _draw_intervals(
    axes: Any, at: NDArray[np.int_], table: pd.DataFrame, limit: Limit, percent: str
) -> None:
    """Profile interval of each choice; ends on a bound or beyond the view are arrows."""
    bottom, top = axes.get_ylim()
    low = table["limit_lower"].to_numpy()
    high = table["limit_upper"].to_numpy()
    axes.vlines(
        at,
        np.maximum(low, bottom),
        np.minimum(high, top),
        color=looks.BLUE,
        linewidth=1.2,
        label=f"{percent} profile, this choice",
    )
    for ends, marker, on_bound, off_view in (
        (low, "v", low <= limit.bounds[0] + 1e-9, low < bottom),
        (high, "^", high >= limit.bounds[1] - 1e-9, high > top),
    ):
        arrows = on_bound | off_view
        axes.plot(at[~arrows], ends[~arrows], "_", color=looks.BLUE, markersize=7)
        if arrows.any():
            axes.plot(
                at[arrows],
                np.clip(ends[arrows], bottom, top),
                marker,
                color=looks.BLUE,
                markersize=6,
                clip_on=False,
            )


def _draw_weights(axes: Any, at: Any, weight: Any) -> None:
    """Bars at the foot: how much the data favour each choice."""
    axes.bar(
        at,
        _BARS * weight / max(float(weight.max()), 1e-300),
        width=0.7,
        transform=axes.get_xaxis_transform(),
        color=looks.tone(0.8),
        edgecolor=looks.tone(0.5),
        linewidth=0.5,
        zorder=0,
        label="weight",
    )
    for x, share in zip(at, weight, strict=True):
        if share >= (0.005 if len(weight) <= _MANY else float(weight.max())):
            axes.annotate(
                f"{100 * share:.0f}%",
                (x, _BARS * share / float(weight.max())),
                xycoords=axes.get_xaxis_transform(),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
                fontsize="x-small",
                color=looks.tone(0.35),
                # An interval that is open below runs through the number.
                bbox={"facecolor": looks.paper(), "alpha": 0.8, "edgecolor": "none", "pad": 0.3},
            )


def _draw_shifts(axes: Any, chosen: dict[str, Fit], level: float) -> None:
    axes.axhline(0.0, color=looks.GREY, linewidth=0.8)
    texts = canvas.run_texts(chosen)
    for index, (run, fit) in enumerate(chosen.items()):
        table = fit.warmup_sensitivity(level)
        colour, marker, dash = looks.series_look(index)
        shift = table["limit"] - float(table.loc[table["chosen"], "limit"].iloc[0])
        axes.plot(
            table["n_dropped"],
            shift,
            color=colour,
            marker=marker,
            linestyle=dash,
            label=texts[run],
        )
        made = table["chosen"]
        axes.plot(
            table["n_dropped"][made],
            shift[made],
            marker="D",
            markersize=8,
            markerfacecolor="none",
            markeredgecolor=colour,
            linestyle="none",
        )
