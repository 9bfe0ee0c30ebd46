"""Figure of a comparison: fits against a criterion, run by run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sparsefit.checks import check_choice
from sparsefit.errors import ArgumentError
from sparsefit.plots import canvas
from sparsefit.plots import style as looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from sparsefit.backtesting import Comparison

# column -> (axis label, whether higher is better, whether only differences mean something)
_CRITERIA = {
    "future_crps": ("CRPS of held-back points (percentage points; lower is better)", False, False),
    "future_mae": ("error on held-back points (percentage points; lower is better)", False, False),
    "log_evidence": ("log evidence minus that of the best fit (nats)", True, True),
    "loo": ("PSIS-LOO minus that of the best fit (nats)", True, True),
    "aicc": ("AICc minus that of the best fit", False, True),
    "bic": ("BIC minus that of the best fit", False, True),
}


def comparison(
    result: Comparison,
    ax: Axes | None = None,
    *,
    criterion: str | None = None,
    style: looks.Style = None,
) -> Axes:
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
    style : mapping or str, optional
        rcParams, or the name of a matplotlib style, over the default look.

    Returns
    -------
    Axes
    """
    if not hasattr(getattr(result, "table", None), "columns"):
        raise ArgumentError(
            f"comparison draws what sf.compare returns, got {type(result).__name__}"
        )
    available = [name for name in _CRITERIA if name in result.table]
    if criterion is None:
        known = result.table["future_crps"].notna().any()
        criterion = "future_crps" if known else "log_evidence"
    check_choice("criterion", criterion, tuple(available))
    with looks.applied(style):
        axes = canvas.new_axes(ax)
        _draw(result, axes, criterion)
    return axes


def _draw(result: Comparison, axes: Axes, criterion: str) -> None:
    label, higher_is_better, relative = _CRITERIA[criterion]
    runs = list(result.table["run"].drop_duplicates())
    names = list(result.table["fit"].drop_duplicates())
    texts = canvas.run_texts(names)
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
        colour, marker, _ = looks.series_look(index)
        axes.scatter(
            values,
            places,
            marker=marker,
            facecolors=[colour if won else "none" for won in wins],
            edgecolors=colour,
            s=45,
            zorder=3,
        )
        # The first run's marker would be in the legend, filled or not.
        axes.scatter(
            [],
            [],
            marker=marker,
            facecolors="none",
            edgecolors=colour,
            s=45,
            label=texts[name],
        )
    axes.set_yticks(range(len(runs)), list(canvas.run_texts(runs).values()))
    axes.set_ylim(len(runs) - 0.5, -0.5)
    axes.grid(axis="y", color=looks.tone(0.9))
    axes.set_xlabel(label)
    # The rows may fill the axes.
    axes.legend(title="filled: best of its run", loc="center left", bbox_to_anchor=(1.01, 0.5))
