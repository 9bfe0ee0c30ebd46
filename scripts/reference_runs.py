"""What the project's own reference runs show: tables and figures of docs/reference_runs.md.

    python scripts/reference_runs.py --update docs/reference_runs.md

fits every shipped reference run, draws the figures beside the page and replaces the page's part
between the two markers. Without --update it prints that part.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import sparsefit as sf

BEGIN, END = "<!-- results: scripts/reference_runs.py -->", "<!-- end of results -->"
FAMILIES = (
    "reference_scales",
    "reference_scales_repeated",
    "reference_turning",
    "reference_width_depth",
)
COLORS = {"relu": "#0072B2", "silu": "#D55E00"}


def markdown(table: pd.DataFrame) -> str:
    rows = [list(table.columns), ["---"] * len(table.columns), *table.astype(str).to_numpy()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def interval(low: float, high: float) -> str:
    return f"[{low:.3f}, {high:.3f}]"


def said(fit: Any) -> str:
    """Kinds of the fit's notes, with the bounds and the number of warm-up points."""
    more = {
        "bound": f" ({', '.join(fit.least_squares.bounds_hit)})",
        "warm-up": f" ({fit.n_warmup})",
    }
    return ", ".join(note.kind + more.get(note.kind, "") for note in fit.notes) or "-"


def describe(run: pd.DataFrame, fit: Any) -> dict[str, str]:
    glance, limit, checks = fit.glance().iloc[0], fit.limit(), fit.diagnostics()
    a = run["activation_ratio"]
    return {
        "run": run["run"].iloc[0],
        "tokens / N": f"{run['tokens'].iloc[-1] / run['n_params'].iloc[0]:.0f}",
        "first A": f"{a.iloc[0]:.3f}",
        "last A": f"{a.iloc[-1]:.3f}",
        "limit": f"{limit.estimate:.3f} {interval(limit.lower, limit.upper)}",
        "identified": limit.identified,
        "residual SD": f"{100 * glance['rmse']:.2f}",
        "lag-1": f"{checks.lag1:.2f}",
        "notes": said(fit),
    }


def held_out(run: pd.DataFrame, share: float) -> dict[str, str]:
    """Fit the first checkpoints, forecast the rest."""
    seen = run.iloc[: round(share * len(run))]
    rest = run.iloc[len(seen) :]
    fit = sf.fit(seen)
    forecast = fit.forecast(rest["tokens"].to_numpy())
    truth = rest["activation_ratio"].to_numpy()
    inside = (truth >= forecast["obs_lower"]) & (truth <= forecast["obs_upper"])
    error = 100 * np.abs(forecast["median"].to_numpy() - truth)
    naive = 100 * np.abs(seen["activation_ratio"].iloc[-1] - truth)
    return {
        "run": run["run"].iloc[0],
        "seen": f"{len(seen)} of {len(run)}",
        "horizon": f"{rest['tokens'].iloc[-1] / seen['tokens'].iloc[-1]:.1f}",
        "mean error": f"{error.mean():.2f}",
        "last value's error": f"{naive.mean():.2f}",
        "in the 90% band": f"{inside.sum()} of {len(inside)}",
        "notes": said(fit),
    }


def draw(table: pd.DataFrame, fits: dict[str, Any], path: Path) -> None:
    import matplotlib.pyplot as plt

    from sparsefit.plots.canvas import token_axis

    runs = list(table["run"].unique())
    columns = min(2, len(runs))
    rows = -(-len(runs) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(3.3 * columns, 2.2 * rows), squeeze=False, layout="constrained"
    )
    for ax in axes.flat[len(runs) :]:
        ax.set_axis_off()
    for ax, name in zip(axes.flat, runs, strict=False):
        run = table[table["run"] == name]
        color = COLORS[run["activation"].iloc[0]]
        fit = fits[name]
        size = run["tokens"].to_numpy()
        grid = np.geomspace(size[fit.n_warmup], 3 * size[-1], 120)
        band = fit.forecast(grid)
        ax.fill_between(
            grid, band["obs_lower"], band["obs_upper"], color="0.85", lw=0, label="90% band"
        )
        ax.plot(grid, band["median"], color="0.3", lw=1, label="median of the draws")
        used = np.arange(len(run)) >= fit.n_warmup
        a = run["activation_ratio"].to_numpy()
        error = 1.645 * run["se"].to_numpy()
        ax.errorbar(size[used], a[used], error[used], fmt="o", ms=3, lw=1, color=color)
        ax.errorbar(
            size[~used], a[~used], error[~used], fmt="o", ms=3, lw=1, color=color, mfc="white"
        )
        ax.set_xscale("log")
        token_axis(ax, label="")
        low, high = a.min(), a.max()
        ax.set_ylim(low - 0.3 * (high - low), high + 0.3 * (high - low))
        ax.set_title(f"{name}  (N = {run['n_params'].iloc[0]:,})", fontsize=8)
        ax.tick_params(labelsize=7)
    for ax in axes.flat[max(0, len(runs) - columns) : len(runs)]:
        ax.set_xlabel("training tokens", fontsize=8)
    for ax in axes[:, 0]:
        ax.set_ylabel("activation ratio", fontsize=8)
    axes.flat[0].legend(fontsize=7, frameon=False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def other_metrics(metrics: pd.DataFrame) -> pd.DataFrame:
    titles = {
        "cett_ppl": "CETT-PPL-1%",
        "cett": "CETT = {parameter:g}",
        "topk": "top-k",
        "fat": "FAT {parameter:g}",
        "relu_zero": "exact zeros",
    }
    cells: dict[str, dict[str, str]] = {}
    for row in metrics.to_dict("records"):
        title = titles[row["metric"]].format(**row)
        value = f"{row['activation_ratio']:.3f} ({row['ppl_ratio']:.3f})"
        cells.setdefault(row["run"], {})[title] = value
    table = pd.DataFrame.from_dict(cells, orient="index").fillna("-")
    return table.rename_axis("run").reset_index()


def seed_spread(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Last measured activation ratio of runs that differ in the seed alone."""
    last = pd.concat(tables).sort_values("tokens").groupby("run", sort=False).tail(1)
    last = last.assign(same=last["run"].str.replace(r"_s\d+$", "", regex=True))
    rows = []
    for name, group in last.groupby("same"):
        if len(group) < 2:
            continue
        a = group.sort_values("run")["activation_ratio"]
        rows.append(
            {
                "run": name,
                "last A by seed": ", ".join(f"{value:.4f}" for value in a),
                "SD between seeds": f"{a.std(ddof=1):.4f}",
                "largest difference": f"{a.max() - a.min():.4f}",
                "standard error of one": f"{group['se'].mean():.4f}",
            }
        )
    return pd.DataFrame(rows)


def results(figures: Path) -> str:
    parts = []
    known = set(sf.datasets.list()["name"])
    for name in FAMILIES:
        if name not in known:
            continue
        table = sf.datasets.load(name)
        card = table.attrs["card"]
        runs = dict(list(table.groupby("run", sort=False)))
        fits = {key: sf.fit(run.reset_index(drop=True)) for key, run in runs.items()}
        figure = figures / f"{name}.png"
        draw(table, fits, figure)
        parts.append(
            f"### {name}\n\n{len(runs)} run{'s' * (len(runs) > 1)}, {len(table)} checkpoints, "
            f"{card['hours']} hours of one CPU core for training.\n\n"
            f"![{card['title']}]({figure.name})"
        )
        described = [describe(run, fits[key]) for key, run in runs.items()]
        parts.append(markdown(pd.DataFrame(described)))
        tested = [
            held_out(run.reset_index(drop=True), share)
            for run in runs.values()
            for share in (0.5, 0.7)
            if round(share * len(run)) >= 6
        ]
        parts.append("Forecast from the first checkpoints of each run alone:")
        parts.append(markdown(pd.DataFrame(tested)))
        alike = [table]
        if name == "reference_scales_repeated":
            alike.append(sf.datasets.load("reference_scales"))
        if name in ("reference_scales_repeated", "reference_width_depth"):
            spread = seed_spread(alike)
            parts.append(
                "Runs that differ in the seed alone (initial weights and order of the text), last "
                "checkpoint:"
            )
            parts.append(markdown(spread))
        if name == "reference_width_depth":
            parts.append("The law over these runs is in [The width-depth law](width_depth.md).")
        if f"{name}_metrics" in known:
            parts.append(
                "Other metrics on the last checkpoints: activation ratio, and sparse over dense "
                "perplexity in brackets. Top-k keeps as many neurons as CETT-PPL-1% does on the "
                "mean."
            )
            parts.append(markdown(other_metrics(sf.datasets.load(f"{name}_metrics"))))
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--update", type=Path, help="page to write the results into")
    arguments = parser.parse_args()
    page = arguments.update
    text = results(page.parent if page else Path())
    if page is None:
        print(text)
        return
    before, rest = page.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
