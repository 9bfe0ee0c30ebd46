"""Coverage of the limits of runs that are pooled over scales, on simulated families of runs.

    python scripts/pooled_limits.py --families 80

A family is four runs over a factor of nine in size that follow their law, share a trend and
scatter about it (`sparsefit.backtesting.simulate_scales`); of the largest only the first half is
seen. Every second family rises (Eq. 5). Each run is fitted alone and pooled; 90% intervals of the
limit are compared with the truth.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

import sparsefit as sf
from sparsefit.backtesting.simulate_scales import draw_family, simulate_family

SIZES = (1e8, 2e8, 4e8, 9e8)


def family(index: int, seed: int) -> pd.DataFrame:
    """One family as a table, its largest run cut in half."""
    rng = np.random.default_rng([seed, index])
    shared = draw_family(bool(index % 2), "none", rng)
    table = simulate_family(shared, f"family {index} of", rng, SIZES)
    largest = table[table["n_params"] == SIZES[-1]]
    seen = table.drop(index=largest.index[len(largest) // 2 :])
    seen.attrs = dict(table.attrs)
    return seen


def limits(table: pd.DataFrame) -> list[dict[str, object]]:
    """Limit of each run of a family, alone and pooled, beside the truth."""
    truth = table.attrs["limits"]
    plain = table.copy()
    plain.attrs = {}
    pooled = sf.fit_bayes(plain, pool="scale", engine="importance")
    rows: list[dict[str, object]] = []
    for name, fit in pooled.items():
        for kind, one in (("alone", pooled.alone[name]), ("pooled", fit)):
            limit = one.limit()
            rows.append(
                {
                    "law": "Eq. 4" if fit.law.sign > 0 else "Eq. 5",
                    "run": "begun" if f"{SIZES[-1]:.2g}" in name.split() else "finished",
                    "fit": kind,
                    "covered": limit.lower <= truth[name] <= limit.upper,
                    "identified": limit.identified == "yes",
                    "width": limit.upper - limit.lower,
                    "error": abs(limit.estimate - truth[name]),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", type=int, default=80)
    parser.add_argument("--seed", type=int, default=77)
    arguments = parser.parse_args()
    rows = [
        row for index in range(arguments.families) for row in limits(family(index, arguments.seed))
    ]
    table = pd.DataFrame(rows).astype({"covered": float, "identified": float})
    found = table.groupby(["law", "run", "fit"])[["covered", "identified", "width", "error"]]
    print(found.mean().round(3).to_string())
    sure = table[table["identified"] == 1.0].groupby(["run", "fit"])["covered"]
    print("\nWhere the limit is called identified:")
    print(sure.agg(["mean", "size"]).round(3).to_string())


if __name__ == "__main__":
    main()
