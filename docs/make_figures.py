"""Draw the figures of README and docs from shipped data, into docs/images.

Usage: ``python docs/make_figures.py [NAME ...]`` (all without a name).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt

import sparsefit as sf

IMAGES = Path(__file__).parent / "images"
DATA = "reference_scales"
RUN = "0.11m_relu_s0"
SOME = ("0.03m_relu_s0", "0.11m_relu_s0", "0.03m_silu_s0")


def table(*runs: str) -> Any:
    """Runs of the shipped measured data."""
    shipped = sf.datasets.load(DATA)
    return shipped[shipped["run"].isin(runs)]


def first_part(run: str, share: float) -> tuple[Any, Any]:
    """The first checkpoints of a run, and all of them."""
    rows = table(run).sort_values("tokens")
    return rows.head(round(share * len(rows))), rows


def forecast() -> Any:
    """A forecast from the first ten checkpoints, with those measured later."""
    seen, rows = first_part(RUN, 0.5)
    axes = sf.plots.fit(sf.fit(seen), until=1.2 * rows["tokens"].max(), held_out=rows)
    return axes.figure


def runs() -> Any:
    """Several runs on one axis."""
    return sf.plots.runs(sf.fit(table(*SOME))).figure


def limits() -> Any:
    """Limits from the first half of each run and from all of it."""
    figure, axes = plt.subplots(2, 1, figsize=(6.4, 4.2), layout="constrained", sharex=True)
    half = [first_part(run, 0.5)[0] for run in SOME]
    import pandas as pd

    for ax, rows, title in (
        (axes[0], pd.concat(half), "from the first half of the checkpoints"),
        (axes[1], table(*SOME), "from all checkpoints"),
    ):
        sf.plots.limits(sf.fit(rows), ax, sparsity=False)
        ax.set_title(title, loc="left", fontsize=9)
    axes[0].set_xlabel("")
    return figure


def warmup() -> Any:
    """The limit for every choice of warm-up."""
    return sf.plots.warmup_sensitivity(sf.fit(table("0.03m_relu_s0"))).figure


def budget() -> Any:
    """Tokens that a range of targets needs, from the first half of a run."""
    return sf.plots.budget(sf.fit(first_part(RUN, 0.5)[0])).figure


def residuals() -> Any:
    """Residuals of three runs."""
    return sf.plots.residuals(sf.fit(table(*SOME))).figure


FIGURES: dict[str, Callable[[], Any]] = {
    function.__name__: function for function in (forecast, runs, limits, warmup, budget, residuals)
}


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or FIGURES:
        figure = FIGURES[name]()
        figure.savefig(IMAGES / f"{name}.png", dpi=150, metadata={"Software": None})
        plt.close(figure)
        print(IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
