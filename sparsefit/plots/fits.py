"""One run: points with their roles, curve, bands, forecast zone and limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.checks import check_choice, check_positive
from sparsefit.display import interval_text
from sparsefit.plots import canvas
from sparsefit.plots import style as looks
from sparsefit.plots.bracket import CENTRE, STRIP, draw_bracket

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from sparsefit.results.estimates import Limit
    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

_GRID = 160


def fit(
    result: Fit | Fits,
    ax: Axes | None = None,
    *,
    run: str | None = None,
    until: float | None = None,
    level: float = 0.9,
    xscale: str = "log",
    sparsity: bool = True,
    held_out: pd.DataFrame | None = None,
    legend: bool = True,
    style: looks.Style = None,
) -> Axes:
    """Draw a run with its fit, its forecast and its limit.

    Filled points are those that the least-squares fit used, open ones the warm-up, crosses at the
    foot failed checkpoints. The solid line is the median curve over all draws, the broken one the
    least-squares curve; the dark band is for the curve, the light one for a new measurement. The
    bracket at the right edge is the limit with its interval: an arrow and hatching where the data
    do not bound it.

    Parameters
    ----------
    result : Fit or Fits
        Several runs without `run` are drawn on one axis, see `runs`.
    ax : Axes, optional
        Where to draw; a new figure by default.
    run : str, optional
        Which of several runs.
    until : float, optional
        Last token count of the forecast (default: four times the tokens seen).
    level : float
        Level of the bands and of the limit's interval.
    xscale : {"log", "linear"}
        Scale of the token axis.
    sparsity : bool
        Whether to show the sparsity ratio on a second axis.
    held_out : DataFrame, optional
        Measurement table whose points of this run, beyond those fitted, are drawn as "not used".
    legend : bool
        Whether to draw the legend.
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    one = canvas.one_fit(result, run)
    if one is None:
        from sparsefit.plots.many import runs

        return runs(result, ax, until=until, level=level, xscale=xscale, style=style)
    check_choice("xscale", xscale, ("log", "linear"))
    seen = float(one.tokens[-1])
    last = 4.0 * seen if until is None else check_positive("until", until)
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        axes.set_xscale(xscale)
        grid = token_grid(float(one.tokens[0]), max(last, seen), seen, xscale)
        bands = one.forecast(grid, level)
        limit = one.limit(level)
        draw_bands(axes, bands, level, "curve (median)")
        axes.plot(
            bands["tokens"],
            one.predict(bands["tokens"]),
            color=looks.ink(),
            linewidth=1.0,
            linestyle=(0, (4, 2)),
            label="least-squares fit",
            zorder=3,
        )
        low, high = _draw_points(axes, one)
        known = one.frame["tokens"].to_numpy()
        extra = draw_held_out(axes, one.run, one.response, known, held_out)
        _set_limits(axes, bands, limit, (low, high), extra, xscale)
        border = forecast_zone(axes, seen, last)
        draw_bracket(axes, limit)
        canvas.token_axis(axes)
        end_at_infinity(axes, max(last, seen))
        axes.set_ylabel(canvas.RESPONSE_LABELS[one.response])
        said = "not described by its law" if one.misfit else limit_words(limit)
        axes.set_title(f"{canvas.run_text(one.run)}: {said}", loc="left")
        if sparsity and one.response == "activation_ratio":
            canvas.sparsity_axis(axes)
        if legend:
            _draw_legend(axes, one, seen, border)
    return axes


def limit_words(limit: Limit) -> str:
    """State the limit in a few words: with both ends, one end, or none.

    >>> limit_words(fit.limit())  # doctest: +SKIP
    'limit at most 0.0680 (one-sided, 90%)'
    """
    percent = f"{100 * limit.level:g}%"
    if limit.identified == "yes":
        told = interval_text(limit.estimate, limit.lower, limit.upper)
        return f"limit {told} ({percent})"
    if limit.identified == "no":
        return "limit not identified"
    if limit.bounded[0]:
        return f"limit at least {limit.lower:.4f} (one-sided, {percent})"
    return f"limit at most {limit.upper:.4f} (one-sided, {percent})"


# Colour and opacity of the outer and the inner band.
_BAND_LOOKS = ((looks.SKY, 0.25), (looks.BLUE, 0.35))


def token_grid(first: float, last: float, seen: float, scale: str) -> NDArray[np.float64]:
    """Tokens to evaluate a curve at; holds the last count seen."""
    space = np.geomspace if scale == "log" else np.linspace
    return np.union1d(space(first, last, _GRID), [seen])


def draw_bands(axes: Any, bands: pd.DataFrame, level: float, median: str) -> None:
    """Draw both bands of a forecast and its median, which is called `median`.

    The outer band is light, the inner one dark. Mostly the band for a new measurement is the outer
    one; where all checkpoints share an error, the band for the curve may be.
    """
    percent = f"{100 * level:g}%"
    tokens = bands["tokens"].to_numpy()
    drawn = [("obs", f"{percent} band, new measurement")]
    if bands["curve_lower"].notna().all():
        drawn.append(("curve", f"{percent} band, curve"))
        if (bands["curve_lower"] < bands["obs_lower"]).any():
            shared = f"{percent} band, curve, with the error that all points share"
            drawn = [("curve", shared), drawn[0]]
    for (band, label), (color, alpha) in zip(drawn, _BAND_LOOKS, strict=False):
        axes.fill_between(
            tokens,
            bands[f"{band}_lower"],
            bands[f"{band}_upper"],
            color=color,
            alpha=alpha,
            linewidth=0,
            label=label,
        )
    axes.plot(tokens, bands["median"], color=looks.BLUE, label=median, zorder=3)


def _draw_points(axes: Any, one: Fit) -> tuple[float, float]:
    """Draw the points by role; returns their lowest and highest value."""
    table = one.points_table()
    looks_of: dict[str, dict[str, Any]] = {
        "used": {"marker": "o", "color": looks.ink(), "label": "used"},
        "warm-up": {
            "marker": "o",
            "markerfacecolor": looks.paper(),
            "markeredgecolor": looks.VERMILLION,
            "markeredgewidth": 1.2,
            "label": "warm-up",
        },
    }
    for role, look in looks_of.items():
        rows = table[table["role"] == role]
        if len(rows):
            axes.plot(
                rows["tokens"],
                rows[one.response],
                linestyle="none",
                **canvas.crowd(len(rows)),
                **look,
            )
    failed = table[table["role"] == "failed"]
    if len(failed):
        axes.plot(
            failed["tokens"],
            np.full(len(failed), 0.025),
            linestyle="none",
            marker="x",
            color=looks.GREY,
            transform=axes.get_xaxis_transform(),
            label="failed (no value)",
            clip_on=False,
        )
    return float(one.points.y.min()), float(one.points.y.max())


def draw_held_out(
    axes: Any,
    run: str,
    response: str,
    known: NDArray[np.float64],
    table: pd.DataFrame | None,
) -> NDArray[np.float64]:
    """Draw a run's points at other tokens than the `known` ones; returns their values."""
    if table is None:
        return np.empty(0)
    canvas.check_table("held_out", table, response)
    later = (table["run"].astype(str) == run) & table[response].notna()
    later &= ~table["tokens"].isin(known)
    rows = table[later]
    axes.plot(
        rows["tokens"],
        rows[response],
        linestyle="none",
        marker="D",
        markerfacecolor=looks.paper(),
        markeredgecolor=looks.GREEN,
        markeredgewidth=1.1,
        label="later, not used",
        zorder=4,
        rasterized=len(rows) > canvas.DENSE,
    )
    return rows[response].to_numpy(dtype=float)


def _set_limits(
    axes: Any,
    bands: pd.DataFrame,
    limit: Limit,
    data: Sequence[float],
    extra: NDArray[np.float64],
    xscale: str,
) -> None:
    """Fit the view to the data, the forecast and as much of the limit's interval as is near."""
    tokens = bands["tokens"].to_numpy()
    set_token_limits(axes, tokens[0], tokens[-1], xscale)
    shown = np.concatenate([list(data), extra])
    span = max(float(np.ptp(shown)), 1e-12)
    # A wild band must not squeeze the data: it may take up three times their height, each way.
    reachable = (shown.min() - 1.5 * span, shown.max() + 1.5 * span)
    ends = [limit.estimate, float(bands["curve_lower"].min()), float(bands["curve_upper"].max())]
    floor, ceiling = limit.bounded
    # An end that is no end only needs room for its arrow.
    ends.append(limit.lower if floor else limit.estimate - 0.4 * span)
    ends.append(limit.upper if ceiling else limit.estimate + 0.4 * span)
    near = np.clip(ends, *reachable)
    set_response_limits(axes, min(shown.min(), near.min()), max(shown.max(), near.max()), limit)


def set_response_limits(axes: Any, low: float, high: float, limit: Limit) -> None:
    """Show this range with some room, more above it, where words stand, and little past a bound."""
    pad = 0.06 * (high - low)
    axes.set_ylim(max(low - pad, limit.bounds[0] - pad), high + 1.8 * pad)


def set_token_limits(axes: Any, first: float, last: float, xscale: str) -> None:
    """Fit the token axis to a forecast, with the strip for the limit behind it."""
    if xscale == "log":
        reach = np.log(last / first)
        left = first * np.exp(-0.03 * reach)
        right = last * np.exp(STRIP / (1 - STRIP) * 1.03 * reach)
    else:
        reach = last - first
        left, right = first - 0.03 * reach, last + STRIP / (1 - STRIP) * 1.03 * reach
    axes.set_xlim(left, right)


def end_at_infinity(axes: Any, last: float) -> None:
    """Turn the strip of the limit into the place of infinitely many tokens on the axis."""
    from matplotlib.ticker import FixedLocator, FuncFormatter

    left, right = axes.get_xlim()
    end = axes.transData.inverted().transform(axes.transAxes.transform((CENTRE, 0.0)))[0]
    inside = [tick for tick in axes.xaxis.get_major_locator()() if left <= tick <= last]
    minor = [tick for tick in axes.xaxis.get_minor_locator()() if left <= tick <= last]
    axes.xaxis.set_major_locator(FixedLocator([*inside, end]))
    axes.xaxis.set_minor_locator(FixedLocator(minor))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "∞" if value > last else canvas.count_text(value))
    )
    axes.set_xlim(left, right)


def _draw_legend(axes: Any, one: Fit, seen: float, border: Any) -> None:
    """Put the legend in the corner where the fewest points and curves are."""
    falls = one.law.sign > 0
    to_axes = axes.transAxes.inverted()
    edge = float(to_axes.transform(axes.transData.transform((seen, 0.0)))[0])
    upper_right = ("upper right", (1.0 - STRIP, 0.94))
    lower_right = ("lower right", (1.0 - STRIP, 0.0))
    if axes.get_xscale() == "linear":
        # A curve over linear tokens has done most of its way at the left.
        corners = [upper_right if falls else lower_right]
    elif falls:
        corners = [("lower left", (0.0, 0.0)), upper_right]
    else:
        before = ("lower right", (min(edge, 1.0), 0.0))
        corners = [before, lower_right, ("upper left", (0.0, 0.94))]
    drawn = [line.get_xydata() for line in axes.lines if line.get_transform() == axes.transData]
    spots = to_axes.transform(axes.transData.transform(np.concatenate(drawn)))
    width, height = _legend_size(axes)

    def left_of(corner: tuple[str, tuple[float, float]]) -> float:
        return corner[1][0] - width if "right" in corner[0] else corner[1][0]

    def covered(corner: tuple[str, tuple[float, float]]) -> int:
        where, (_, y) = corner
        left = left_of(corner)
        foot = y - height if "upper" in where else y
        inside = (spots >= (left, foot)) & (spots <= (left + width, foot + height))
        return int(inside.all(axis=1).sum())

    corner = min(corners, key=covered)
    axes.legend(loc=corner[0], bbox_to_anchor=corner[1])
    left, top = left_of(corner), corner[1][1]
    if left < edge < left + width and "upper" in corner[0]:
        # The line between data and forecast must not run through its words.
        border.set_data([seen] * 5, [0.0, top - height, np.nan, top, 1.0])


def _legend_size(axes: Any) -> tuple[float, float]:
    """Width and height of the legend to come, as shares of the axes; a little too large."""
    import matplotlib
    from matplotlib.font_manager import FontProperties

    size = FontProperties(size=matplotlib.rcParams["legend.fontsize"]).get_size_in_points()
    labels = axes.get_legend_handles_labels()[1]
    points = axes.get_window_extent().size / axes.figure.dpi * 72.0
    wide = (0.55 * max(map(len, labels)) + 4.0) * size
    tall = (1.4 * len(labels) + 1.0) * size
    return wide / max(points[0], 1.0), tall / max(points[1], 1.0)


def forecast_zone(
    axes: Any, seen: float, last: float, words: tuple[str, str] = ("seen", "forecast to")
) -> Any:
    """Set the forecast apart from the data, by line and `words`; return the line between them."""
    border = axes.axvline(seen, color=looks.GREY, linewidth=0.8, zorder=1)
    before, after = f"{words[0]}: {canvas.count_text(seen)}", ""
    if last > seen:
        axes.axvspan(seen, last, color=looks.tone(0.93), linewidth=0, zorder=0)
        after = f"{words[1]} {canvas.count_text(last)}"
    edge = axes.transAxes.inverted().transform(axes.transData.transform((seen, 0.0)))[0]
    if edge < 0.25:
        # Data that take up little of the axis leave no room for words above them.
        before, after = "", ", ".join(filter(None, (before, after)))
    for text, side in ((f"{before} ", "right"), (f" {after}", "left")):
        axes.annotate(
            text,
            (seen, 0.995),
            xycoords=axes.get_xaxis_transform(),
            va="top",
            ha=side,
            fontsize="small",
            color=looks.tone(0.25),
        )
    return border
