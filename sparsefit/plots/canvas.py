"""What the plots share: axes, units, labels, and who is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.counts import count_text
from sparsefit.errors import ArgumentError, quoted
from sparsefit.plots.style import paper

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits

RESPONSE_LABELS = {
    "activation_ratio": "activation ratio (fraction)",
    "loss": "training loss (nats per token)",
}

# Of more points than these in a run, single ones need not be seen.
FEW = 200
# More markers than these are pixels in a vector figure: as shapes they would weigh megabytes.
DENSE = 2000


def new_axes(ax: Axes | None) -> Axes:
    """Return the axes given, or those of a new figure."""
    if ax is not None:
        if not hasattr(ax, "plot") or not hasattr(ax, "transAxes"):
            raise ArgumentError(f"ax must be a matplotlib Axes or None, got {type(ax).__name__}")
        return ax
    # pyplot, so that a notebook shows the figure and plt.show() finds it.
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def run_text(run: str, most: int = 28) -> str:
    """Return the name of a run for a figure: one line, not longer than `most`, never a formula.

    >>> run_text("a_name_that_is_too_long_to_stand_in_a_title")
    'a_name_that_is…and_in_a_title'
    """
    text = " ".join("".join(c if c.isprintable() else " " for c in str(run)).split())
    if len(text) > most:
        tail = most // 2
        text = f"{text[: most - tail]}…{text[-tail:]}"
    text = text.replace("$", r"\$")
    # Legends leave out labels that begin with an underscore.
    return f" {text}" if text.startswith("_") else text


def run_texts(runs: Iterable[str], most: int = 28) -> dict[str, str]:
    """Return a text for each run, as `run_text` does, but no two alike.

    Long names that `run_text` makes alike lose words that they share at both ends.

    >>> names = [f"sweep/2026-06-01/seed_{i}/warmup_2000/learning_rate_3e-4" for i in (0, 1)]
    >>> list(run_texts(names).values())
    ['sweep/2026-06-01/seed_0…', 'sweep/2026-06-01/seed_1…']
    """
    chosen = list(runs)
    texts = {run: run_text(run, most) for run in chosen}
    for text in set(texts.values()):
        alike = [run for run in chosen if texts[run] == text]
        if len(alike) == 1:
            continue
        before = _shared_start(alike)
        after = _shared_start([run[: len(before) : -1] for run in alike])
        head, tail = _word_start(before), _word_start(after)
        spare = most - 2 - max(len(run) - head - tail for run in alike)
        kept = head - _word_start(before, spare)
        head, tail = head - kept, _word_start(after, spare - kept)
        for run in alike:
            own = run[head : len(run) - tail]
            texts[run] = run_text(f"{'…' * (head > 0)}{own}{'…' * (tail > 0)}", most)
    taken: set[str] = set()
    for number, run in enumerate(chosen, start=1):
        if texts[run] in taken:
            texts[run] += f" ({number})"
        taken.add(texts[run])
    return texts


def _shared_start(texts: Sequence[str]) -> str:
    columns = takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in columns)


def _word_start(text: str, spare: int = 0) -> int:
    """Start of the last word of a text, or of one at most `spare` characters before it."""
    starts = [0, *(at for at, mark in enumerate(text, start=1) if mark in "/\\_-:, ")]
    return min(at for at in starts if at >= starts[-1] - max(spare, 0))


def one_fit(result: Fit | Fits, run: str | None) -> Fit | None:
    """Return the single fit to draw, or None where `result` holds several and none is named."""
    fits = all_fits(result, None)
    if run is not None:
        return next(iter(all_fits(result, [run]).values()))
    return next(iter(fits.values())) if len(fits) == 1 else None


def all_fits(result: Fit | Fits, runs: Sequence[str] | None) -> dict[str, Fit]:
    """Return the fits to draw by run, in the order asked for.

    Raises
    ------
    ArgumentError
        If `result` is no fit, or a run is not in it.
    """
    if isinstance(result, Mapping):
        found = dict(result)
    elif hasattr(result, "limit") and hasattr(result, "run"):
        found = {result.run: result}
    else:
        raise ArgumentError(
            f"a plot takes what sf.fit or sf.fit_bayes returns, got {type(result).__name__}"
        )
    if not found:
        raise ArgumentError("there is no run to draw: the result is empty")
    for name, fit in found.items():
        if not (hasattr(fit, "limit") and hasattr(fit, "response")):
            raise ArgumentError(
                f"a plot takes what sf.fit or sf.fit_bayes returns, got {type(fit).__name__} as "
                f"run {name!r}"
            )
    if runs is None:
        return found
    if isinstance(runs, str) or not isinstance(runs, Iterable):
        raise ArgumentError(f"runs must be a sequence of run names, got {quoted(runs)}")
    runs = list(runs)
    unknown = [run for run in runs if run not in list(found)]
    if unknown or not runs:
        raise ArgumentError(
            f"no run {', '.join(map(quoted, unknown)) or 'named'}; runs: "
            f"{', '.join(map(repr, found))}"
        )
    return {run: found[run] for run in runs}


def one_response(fits: dict[str, Fit]) -> str:
    """Return the response that all fits share."""
    responses = {fit.response for fit in fits.values()}
    if len(responses) > 1:
        raise ArgumentError(f"runs of different responses ({', '.join(sorted(responses))})")
    return responses.pop()


def legend_below(axes: Any, columns: int = 2) -> None:
    """Put the legend below the axis label, at a distance that does not depend on the size.

    It has `columns` columns, or as many as the room allows: a layout that makes room for a legend
    wider than the figure leaves none to the axes.
    """
    from matplotlib.transforms import ScaledTranslation

    # Ticks, their labels and the axis label, in points.
    size = axes.xaxis.label.get_size() + sum(text.get_size() for text in axes.get_xticklabels()[:1])
    below = ScaledTranslation(0.0, -(1.3 * size + 10.0) / 72.0, axes.figure.dpi_scale_trans)
    room = _room(axes)
    for count in range(columns, 0, -1):
        legend = axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, 0.0),
            bbox_transform=axes.transAxes + below,
            ncols=count,
            columnspacing=1.0,
        )
        # Some to spare: the middle of the axes is not that of the figure.
        if legend.get_window_extent().width <= 0.8 * room:
            break


def _room(axes: Any) -> float:
    """Width that axes and what stands around them have, in pixels: their columns of the figure."""
    spec = axes.get_subplotspec()
    if spec is None:
        return float(axes.get_window_extent().width)
    top = spec.get_topmost_subplotspec()
    share = len(top.colspan) / top.get_gridspec().ncols
    return share * float(axes.figure.get_window_extent().width)


def legend_inside(axes: Any, loc: str) -> None:
    """Put the legend into the axes, on a ground that keeps it legible over bands and hatching."""
    axes.legend(loc=loc, frameon=True, facecolor=paper(), framealpha=0.85, edgecolor="none")


def legend_of_runs(axes: Any, count: int, loc: str | None = None) -> None:
    """Put the legend to the right of the axes; that of few runs into them, given a place."""
    if loc is not None and count <= 5:
        legend_inside(axes, loc)
        return
    crowded = {"fontsize": "x-small", "labelspacing": 0.25} if count > 15 else {}
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), **crowded)


def crowd(n: int) -> dict[str, Any]:
    """Markers that leave the curve to be seen: small and below it where there are hundreds.

    Thousands become one image inside of a vector figure.
    """
    if n <= FEW:
        return {"zorder": 4}
    small = max(1.0, 5.0 * (FEW / n) ** 0.5)
    return {"zorder": 1.5, "markersize": small, "markeredgewidth": 0.0, "rasterized": n > DENSE}


def token_axis(axes: Any, which: str = "x", label: str = "training tokens") -> None:
    """Show tokens with k, M, B, T; on log axes at 1, 2, 5 of each decade."""
    from matplotlib.ticker import FuncFormatter

    axis = axes.xaxis if which == "x" else axes.yaxis
    if axis.get_scale() == "log":
        _place_log_ticks(axis, [1.0, 2.0, 5.0])
    axis.set_major_formatter(FuncFormatter(lambda value, _: count_text(value)))
    axis.set_label_text(label)


def plain_log_axis(axis: Any) -> None:
    """Label a log axis with plain numbers."""
    from matplotlib.ticker import FuncFormatter

    low, high = sorted(axis.get_view_interval())
    # Beside a short upright axis there is room for more numbers.
    many = axis.axis_name == "y" and high < 20.0 * max(low, 1e-300)
    more = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    _place_log_ticks(axis, more if many else [1.0, 2.0, 5.0])
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))


def _place_log_ticks(axis: Any, subs: Sequence[float]) -> None:
    """Place ticks at `subs` of each decade; by decades on a long axis, evenly on a short one."""
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

    low, high = sorted(axis.get_view_interval())
    factor = max(high, 1e-300) / max(low, 1e-300)
    axis.set_minor_formatter(NullFormatter())
    if factor < 18.0 / len(subs):
        # One of the round numbers, or none, might be in view.
        few_ticks(axis)
        axis.set_minor_locator(NullLocator())
    elif factor < 10.0**3.5:
        axis.set_major_locator(LogLocator(subs=subs, numticks=20))
    else:
        axis.set_major_locator(LogLocator(numticks=9))


def few_ticks(axis: Any) -> None:
    """Place at most six ticks: limits of many digits would run into one another."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))


def sparsity_axis(axes: Any, which: str = "y") -> Any:
    """Add the sparsity ratio (1 - activation ratio) on the opposite side."""

    def flip(value: Any) -> Any:
        return 1.0 - np.asarray(value)

    if which == "y":
        second = axes.secondary_yaxis("right", functions=(flip, flip))
        second.set_ylabel("sparsity ratio (fraction)")
    else:
        second = axes.secondary_xaxis("top", functions=(flip, flip))
        second.set_xlabel("sparsity ratio (fraction)")
        second.spines["top"].set_visible(True)
    return second


def check_table(name: str, table: Any, response: str) -> None:
    """Refuse what is no table of checkpoints with a response."""
    if not {"run", "tokens", response} <= set(getattr(table, "columns", ())):
        raise ArgumentError(
            f"{name} must be a measurement table with the columns run, tokens and {response}, got "
            f"{type(table).__name__}"
        )
