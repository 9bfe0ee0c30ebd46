"""Coverage of the width-depth intervals and size of the test of no break, by simulation.

Simulated points only: ratios from 16 to 512 in equal steps of their logarithm, a line that turns
level at the break, Gaussian noise. Two ways of counting, both against all runs of a stratum:

- cover_*: a run whose break is not located (bounded on both sides, no break rejected at 5%) counts
  as covering nothing; `not_located` is the share of such runs;
- cover_*_as_given: the interval as it stands, one-sided or not; only an interval without any bound
  counts as covering nothing. `unbounded` is the share of runs whose break has no bound at all.

Strata:

- inside: the break lies between measured ratios with several points on each side;
- edge: the break lies between the last two or the first two ratios;
- absent: one straight line, or no dependence at all;
- errors: as inside, with standard errors given (equal, unequal, with scatter beyond them).

Strata already in the file given by --out are kept, so that the study can be interrupted.

    python scripts/simulate_width_depth.py --out docs/simulations/width_depth.csv
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import time
from dataclasses import astuple, dataclass
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
        Stratum("inside", n, tau, slope, noise)
        for n, tau, slope, noise in itertools.product(
            sizes, (64.0, 114.0, 200.0), (6e-4, 3e-4), (1e-3, 4e-3)
        )
    ]
    edge = [Stratum("edge", n, tau, 3e-4, 1e-3) for n in sizes for tau in (17.0, 500.0)]
    absent = [
        Stratum("absent", n, np.inf, slope, noise)
        for n, slope, noise in itertools.product(sizes, (0.0, 5e-5, 3e-4), (1e-3, 4e-3))
    ]
    errors = [
        Stratum("errors", n, 114.0, 3e-4, noise, se)
        for n in sizes
        for se, noise in (("equal", 0.0), ("equal", 1e-3), ("unequal", 0.0), ("unequal", 1e-3))
    ]
    return [*inside, *edge, *absent, *errors]


def simulate(stratum: Stratum, runs: int, seed: int, draws: int, method: str) -> dict[str, object]:
    """All runs of one stratum."""
    x = np.geomspace(16.0, 512.0, stratum.n)
    mean = INTERCEPT + stratum.slope * np.minimum(x, stratum.breakpoint)
    truth = {
        "breakpoint": stratum.breakpoint,
        "slope": stratum.slope,
        "plateau": INTERCEPT + stratum.slope * stratum.breakpoint,
    }
    known = {"none": None, "equal": [1e-3], "unequal": [5e-4, 1.5e-3]}[stratum.se]
    se = None if known is None else np.resize(known, stratum.n)
    # The stratum's own values seed it: adding a stratum changes no other.
    key = json.dumps(vars(stratum), sort_keys=True).encode()
    rng = np.random.default_rng([seed, *hashlib.sha256(key).digest()])
    covered = dict.fromkeys(truth, 0)
    as_given = dict.fromkeys(truth, 0)
    located = rejected = unbounded = 0
    for run in range(runs):
        spread = np.sqrt(stratum.noise**2 + (0.0 if se is None else se**2))
        y = mean + spread * rng.standard_normal(stratum.n)
        fit = fit_segmented(x, y, se, model="line_plateau", draws=draws, rng=run)
        rejects = fit.break_test().p_value <= 0.05
        rejected += rejects
        if stratum.kind == "absent" and not rejects:
            # The located share needs no interval where the test keeps the straight line.
            continue
        placement = fit.placement(0.9, method=method)
        located += placement.located
        unbounded += placement.side == "none"
        if stratum.kind == "absent":
            continue
        # What conf_int returns, without the intercept, which nobody asks for here.
        intervals = {
            "breakpoint": (placement.lower, placement.upper),
            "slope": fit._inference.interval("slope", 0.9, method),
            "plateau": fit._inference.interval("law", 0.9, method),
        }
        for name, value in truth.items():
            lower, upper = intervals[name]
            inside = bool(lower <= value <= upper)
            covered[name] += inside and placement.located
            as_given[name] += inside and bool(np.isfinite(lower) or np.isfinite(upper))
    shares: dict[str, object] = {"not_located": 1 - located / runs, "test_rejects": rejected / runs}
    if stratum.kind != "absent":
        # An absent break cannot be covered.
        shares |= {"unbounded": unbounded / runs}
        shares |= {f"cover_{name}": count / runs for name, count in covered.items()}
        shares |= {f"cover_{name}_as_given": count / runs for name, count in as_given.items()}
    return {**vars(stratum), "method": method, "runs": runs, "draws": draws, **shares}


def main() -> None:
    """Run the strata that are missing and print or write the table."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--draws", type=int, default=199)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--method", choices=("profile", "bootstrap"), default="profile")
    parser.add_argument("--kind", nargs="*", default=["inside", "edge", "absent", "errors"])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    columns = list(Stratum.__dataclass_fields__)
    table = pd.DataFrame(columns=columns)
    if options.out is not None and options.out.exists():
        table = pd.read_csv(options.out, keep_default_na=False, na_values=[""])
    done = {tuple(row) for row in table[columns].itertuples(index=False)}
    begin = time.process_time()
    for stratum in strata():
        if stratum.kind not in options.kind or astuple(stratum) in done:
            continue
        row = simulate(stratum, options.runs, options.seed, options.draws, options.method)
        table = pd.DataFrame([*table.to_dict("records"), row])
        if options.out is not None:
            table.to_csv(options.out, index=False, float_format="%.6g")
    with pd.option_context("display.width", 220, "display.max_columns", 30, "display.max_rows", 99):
        print(table.round(3).to_string(index=False))
    print(f"{time.process_time() - begin:.0f} s of processor time")


if __name__ == "__main__":
    main()
