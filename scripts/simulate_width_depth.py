"""Coverage of the width-depth intervals and size of the test of no break, by simulation.

Simulated points only: ratios from 16 to 512 in equal steps of their logarithm, a line that turns
level at the break, Gaussian noise. A run whose break is not located counts as covering nothing; the
share of such runs stands beside the coverage. Strata:

- inside: the break lies between measured ratios with several points on each side;
- edge: the break lies between the last two or the first two ratios, where nothing can bound it;
- absent: one straight line, or no dependence at all;
- errors: as inside, with standard errors given (equal, unequal, with scatter beyond them).

    python scripts/simulate_width_depth.py --jobs 2 --out docs/width_depth_simulation.csv
"""

from __future__ import annotations

import argparse
import itertools
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from sparsefit.width_depth import fit_segmented

INTERCEPT = 0.045


@dataclass(frozen=True)
class Stratum:
    """One setting of the simulation."""

    kind: str
    n: int
    breakpoint: float
    slope: float
    noise: float
    se: str = "none"


def strata() -> list[Stratum]:
    """All settings."""
    sizes = (7, 9, 15, 30)
    inside = [
        Stratum("inside", n, tau, slope, 1e-3)
        for n, tau, slope in itertools.product(sizes, (64.0, 114.0, 200.0), (6e-4, 3e-4))
    ]
    inside += [Stratum("inside", n, 114.0, 6e-4, 4e-3) for n in sizes]
    edge = [Stratum("edge", n, tau, 3e-4, 1e-3) for n in sizes for tau in (17.0, 500.0)]
    absent = [Stratum("absent", n, np.inf, slope, 1e-3) for n in sizes for slope in (0, 5e-5, 3e-4)]
    errors = [
        Stratum("errors", n, 114.0, 3e-4, noise, se)
        for n in (7, 9, 15)
        for se, noise in (("equal", 0.0), ("equal", 1e-3), ("unequal", 0.0), ("unequal", 1e-3))
    ]
    return [*inside, *absent, *errors, *edge]


def simulate(job: tuple[Stratum, int, int, int, int, str]) -> dict[str, object]:
    """All runs of one stratum."""
    stratum, index, runs, seed, draws, method = job
    x = np.geomspace(16.0, 512.0, stratum.n)
    mean = INTERCEPT + stratum.slope * np.minimum(x, stratum.breakpoint)
    truth = {
        "breakpoint": stratum.breakpoint,
        "slope": stratum.slope,
        "plateau": INTERCEPT + stratum.slope * stratum.breakpoint,
    }
    known = {"none": None, "equal": [1e-3], "unequal": [5e-4, 1.5e-3]}[stratum.se]
    se = None if known is None else np.resize(known, stratum.n)
    rng = np.random.default_rng([seed, index])
    covered = dict.fromkeys(truth, 0)
    located = rejected = 0
    begin = time.process_time()
    for run in range(runs):
        spread = np.sqrt(stratum.noise**2 + (0.0 if se is None else se**2))
        y = mean + spread * rng.standard_normal(stratum.n)
        fit = fit_segmented(x, y, se, model="line_plateau", draws=draws, rng=run)
        rejected += fit.break_test().p_value <= 0.05
        if stratum.kind == "absent" and not fit.break_test().p_value <= 0.05:
            # The located share needs no interval where the test keeps the straight line.
            continue
        placement = fit.placement(0.9, method=method)
        located += placement.located
        # Without a located break nothing is covered; an absent break cannot be covered.
        if placement.located and stratum.kind != "absent":
            table = fit.conf_int(0.9, method=method)
            for name, value in truth.items():
                row = table.loc[name]
                covered[name] += bool(row["lower"] <= value <= row["upper"])
    return {
        **vars(stratum),
        "method": method,
        "runs": runs,
        "not_located": 1 - located / runs,
        "test_rejects": rejected / runs,
        **{f"cover_{name}": count / runs for name, count in covered.items()},
        **{f"cover_{name}_if_located": count / max(located, 1) for name, count in covered.items()},
        "seconds": time.process_time() - begin,
    }


def main() -> None:
    """Run all strata and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--draws", type=int, default=299)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--method", choices=("profile", "bootstrap"), default="profile")
    parser.add_argument("--kind", nargs="*", default=["inside", "edge", "absent", "errors"])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    jobs = [
        (stratum, index, options.runs, options.seed, options.draws, options.method)
        for index, stratum in enumerate(strata())
        if stratum.kind in options.kind
    ]
    rows: list[dict[str, object]] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for row in pool.map(simulate, jobs):
            rows.append(row)
            table = pd.DataFrame(rows)
            absent = table["kind"] == "absent"
            table.loc[absent, [c for c in table if c.startswith("cover_")]] = np.nan
            if options.out is not None:
                written = table.drop(columns="seconds")
                written.to_csv(options.out, index=False, float_format="%.4g")
    with pd.option_context("display.width", 200, "display.max_columns", 30, "display.max_rows", 99):
        print(table.round(3).to_string(index=False))
    print(f"{table['seconds'].sum():.0f} s of processor time")


if __name__ == "__main__":
    main()
