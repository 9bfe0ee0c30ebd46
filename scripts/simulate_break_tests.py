"""Power of the tests of no break over where the break lies, by simulation.

Simulated points only: ratios from 16 to 512 in equal steps of the ratio or of its logarithm, a line
that turns level at the break, Gaussian noise of such a size that the best test at the known place
(the one-sided t test against a straight line, size 5%) finds 88% of the breaks. Columns: share of
runs in which each test rejects at 5%.

    python scripts/simulate_break_tests.py --out docs/simulations/break_tests.csv
"""

from __future__ import annotations

import argparse
import itertools
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize, stats

from sparsefit.width_depth import fit_segmented

PLACES = (24.0, 32.0, 64.0, 114.0, 200.0, 300.0, 420.0)
POWER = 0.88
TESTS = {"sup_any": ("any", "sup"), "sup": ("rising", "sup"), "exp": ("rising", "exp")}


def simulate(steps: str, n: int, place: float, runs: int, draws: int, seed: int) -> dict:
    """Share of rejections of every test at one place of the break."""
    space = np.geomspace if steps == "log" else np.linspace
    x = space(16.0, 512.0, n)
    mean = np.minimum(x, place)
    line = np.column_stack([np.ones(n), x])
    bend = np.linalg.norm(mean - line @ np.linalg.lstsq(line, mean, rcond=None)[0])
    cut = stats.t.isf(0.05, n - 3)
    signal = optimize.brentq(lambda d: stats.nct.sf(cut, n - 3, d) - POWER, 1.0, 12.0)
    rng = np.random.default_rng([seed, n, int(place), steps == "log"])
    found = dict.fromkeys(TESTS, 0)
    for run in range(runs):
        y = mean + bend / signal * rng.standard_normal(n)
        for name, (sign, over) in TESTS.items():
            fit = fit_segmented(x, y, model="line_plateau", sign=sign, draws=draws, rng=run)
            found[name] += fit.break_test(over=over).p_value <= 0.05
    shares = {name: count / runs for name, count in found.items()}
    return {"steps": steps, "n": n, "breakpoint": place, "runs": runs, "draws": draws, **shares}


def main() -> None:
    """Run all places with two or more ratios before the break and print or write the table."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--draws", type=int, default=199)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    begin = time.process_time()
    rows = []
    for steps, n, place in itertools.product(("log", "linear"), (7, 9, 15), PLACES):
        second = 16.0 * 2 ** (5 / (n - 1)) if steps == "log" else 16.0 + 496.0 / (n - 1)
        if place > second:
            rows.append(simulate(steps, n, place, options.runs, options.draws, options.seed))
    table = pd.DataFrame(rows)
    if options.out is not None:
        table.to_csv(options.out, index=False, float_format="%.6g")
    print(table.to_string(index=False))
    change = table[list(TESTS)].sub(table["sup_any"], axis=0).agg(["mean", "min", "max"])
    print("\nmean\n" + table[list(TESTS)].mean().round(3).to_string())
    print("\nagainst sup_any\n" + change.round(3).to_string())
    print(f"{time.process_time() - begin:.0f} s of processor time")


if __name__ == "__main__":
    main()
