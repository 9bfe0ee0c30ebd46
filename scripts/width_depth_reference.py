"""Width-depth law and advice from the measured runs of one parameter scale.

    python scripts/width_depth_reference.py reference_width_depth --out docs/images

Takes a shipped data set or measurement tables (columns run, tokens, activation_ratio, hidden_size,
n_layers; loss for the advice), fits every run, and applies `sf.fit_width_depth` and `recommend` to
the limits. A limit that its run does not identify on both sides has no standard error and is left
out of the law of the limits, by name; the same law is therefore also fitted to the last measured
activation ratios, which every run has.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import sparsefit as sf
from sparsefit.errors import DatasetError, SparsefitError
from sparsefit.width_depth import last_losses
from sparsefit.width_depth.points import MIN_RATIOS

# Half width of a 90% interval in standard errors.
_HALF = 1.645


def read(source: list[str]) -> pd.DataFrame:
    """A shipped data set by name, or tables by path."""
    if len(source) == 1 and not Path(source[0]).exists():
        return sf.datasets.load(source[0])
    return sf.read_table(source)


def limits(table: pd.DataFrame) -> pd.DataFrame:
    """One row a run: architecture, limit with its interval, last measured value."""
    rows = []
    for run, part in table.groupby("run", sort=False):
        part = part.sort_values("tokens")
        row = {
            "run": run,
            "hidden_size": part["hidden_size"].iloc[0],
            "n_layers": part["n_layers"].iloc[0],
            "last": part["activation_ratio"].iloc[-1],
        }
        try:
            limit = sf.fit(part).limit()
        except SparsefitError as error:
            rows.append({**row, "identified": f"no fit: {error}"})
            continue
        row |= {"limit": limit.estimate, "lower": limit.lower, "upper": limit.upper}
        rows.append({**row, "identified": limit.identified})
    return pd.DataFrame(rows)


def with_error(found: pd.DataFrame) -> pd.DataFrame:
    """Rows whose limit is identified, with the standard error of the limit."""
    known = found[found["identified"] == "yes"]
    return known.assign(se=(known["upper"] - known["lower"]) / (2 * _HALF))


def describe(points: pd.DataFrame, what: str, loss: pd.DataFrame | None, out: Path | None) -> None:
    """Print the law of some points and the advice, and draw both."""
    print(f"\n{what}, {len(points)} runs\n")
    distinct = (points["hidden_size"] / points["n_layers"]).nunique()
    if distinct < MIN_RATIOS:
        print(f"{distinct} width-depth ratios: the law needs at least {MIN_RATIOS}.")
        return
    law = sf.fit_width_depth(points, replicates="keep")
    print(law.summary())
    advice = None
    if loss is not None and len(loss) >= 2:
        advice = law.recommend(loss)
        print("\n" + advice.summary())
    if out is not None:
        path = out / f"width_depth_{what.split()[0]}.png"
        # Ratios of nine layer counts from 1 to 20 crowd at the low end.
        sf.plots.width_depth(law, advice=advice, scale="log").figure.savefig(path, dpi=130)
        print(f"\nfigure: {path}")


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="*", default=["reference_width_depth"])
    parser.add_argument("--out", type=Path, help="folder for the figures")
    arguments = parser.parse_args()
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
    try:
        table = read(arguments.source)
    except DatasetError:
        shipped = ", ".join(sf.datasets.list()["name"])
        raise SystemExit(
            f"{arguments.source[0]}: no such file or data set; shipped: {shipped}"
        ) from None
    found = limits(table)
    print(found.to_string(index=False, float_format="{:.4g}".format))
    loss = None
    if "loss" in table and table["loss"].notna().all():
        loss = last_losses(table)
    describe(with_error(found), "limits", loss, arguments.out)
    last = found[["run", "hidden_size", "n_layers"]].assign(limit=found["last"].astype(float))
    describe(last[np.isfinite(last["limit"])], "last measured values", loss, arguments.out)


if __name__ == "__main__":
    main()
