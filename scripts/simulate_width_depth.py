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

`located_at_most` is a bound that no procedure passes whose test of no break has level 5%: the power
of the one-sided t test against a straight line when the place of the break is known, the most
powerful one that is similar (of one size whatever the line).

Strata already in the file given by --out are kept, so that the study can be interrupted. With
``--by test`` no interval is computed: a value counts as covered if its test accepts it.

    python scripts/simulate_width_depth.py --n 7 9 15 --out docs/simulations/width_depth.csv
    python scripts/simulate_width_depth.py --by test --out docs/simulations/width_depth.csv
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
from scipy import stats

from sparsefit.width_depth import BreakpointFit, fit_segmented
from sparsefit.width_depth.intervals import Method

INTERCEPT = 0.045
SIZES = (7, 9, 15, 30)


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
    inside = [
        Stratum("inside", n, tau, slope, noise)
        for n, tau, slope, noise in itertools.product(
            SIZES, (64.0, 114.0, 200.0), (6e-4, 3e-4), (1e-3, 4e-3)
        )
    ]
    edge = [Stratum("edge", n, tau, 3e-4, 1e-3) for n in SIZES for tau in (17.0, 500.0)]
    absent = [
        Stratum("absent", n, np.inf, slope, noise)
        for n, slope, noise in itertools.product(SIZES, (0.0, 5e-5, 3e-4), (1e-3, 4e-3))
    ]
    errors = [
        Stratum("errors", n, 114.0, 3e-4, noise, se)
        for n in SIZES
        for se, noise in (("equal", 0.0), ("equal", 1e-3), ("unequal", 0.0), ("unequal", 1e-3))
    ]
    return [*inside, *edge, *absent, *errors]


Found = dict[str, tuple[bool, bool]]


def by_interval(fit: BreakpointFit, truth: dict[str, float], method: Method) -> tuple[str, Found]:
    """What the break's interval bounds; for each quantity, is it inside, and is there a bound."""
    placement = fit.placement(0.9, method=method)
    # What conf_int returns, without the intercept, which nobody asks for here.
    intervals = {
        "breakpoint": (placement.lower, placement.upper),
        "slope": fit._inference.interval("slope", 0.9, method),
        "plateau": fit._inference.interval("law", 0.9, method),
    }
    found = {}
    for name, (lower, upper) in intervals.items():
        bounded = bool(np.isfinite(lower) or np.isfinite(upper))
        found[name] = (bool(lower <= truth[name] <= upper), bounded)
    return placement.side, found


def by_test(fit: BreakpointFit, truth: dict[str, float], method: Method) -> tuple[str, Found]:
    """The same from the tests at the true values, which the intervals collect: much faster.

    An interval is the hull of what its test accepts, so that it holds at least as much.
    """
    inference, scaled = fit._inference, fit._inference.scaled
    problem, design = inference.problem(method), scaled.design
    no_upper = problem.p_value_of_columns(design.line(), "exp") > 0.05
    first = design.constraint("breakpoint")
    no_lower = problem.p_value(first, design.ends[0]) > 0.1
    if no_lower and not no_upper:
        no_lower = problem.p_value_of_columns(design.constant(), "exp") > 0.1
    side = {(0, 0): "both", (0, 1): "lower", (1, 0): "upper", (1, 1): "none"}[no_lower, no_upper]
    if not np.isfinite(truth["breakpoint"]):
        return side, {}
    inside = {"breakpoint": problem.p_value(first, truth["breakpoint"] / scaled.x_scale) > 0.1}
    if truth["breakpoint"] >= fit.breakpoint:
        inside["breakpoint"] |= no_upper
    else:
        inside["breakpoint"] |= no_lower
    for name, quantity in (("slope", "slope"), ("plateau", "law")):
        shift, unit = inference._units(quantity)
        value = (truth[name] - shift) / unit
        inside[name] = problem.p_value(design.constraint(quantity), value) > 0.1
    bounded = {"breakpoint": side != "none", "slope": True, "plateau": True}
    return side, {name: (inside[name], bounded[name]) for name in inside}


def known_break_power(x: np.ndarray, mean: np.ndarray, size: float = 0.05) -> float:
    """Power of the one-sided t test of a straight line at the true break, in noise units."""
    columns = np.column_stack([np.ones_like(x), x])
    bend = mean - columns @ np.linalg.lstsq(columns, mean, rcond=None)[0]
    df = len(x) - 3
    return float(stats.nct.sf(stats.t.isf(size, df), df, np.linalg.norm(bend)))


def simulate(
    stratum: Stratum, runs: int, seed: int, draws: int, method: Method, by: str
) -> dict[str, object]:
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
        fit = fit_segmented(x, y, se, model="line_plateau", sign="rising", draws=draws, rng=run)
        rejects = fit.break_test().p_value <= 0.05
        rejected += rejects
        if stratum.kind == "absent" and not rejects:
            # The located share needs no interval where the test keeps the straight line.
            continue
        if by == "interval":
            side, found = by_interval(fit, truth, method)
        else:
            side, found = by_test(fit, truth, method)
        is_located = side == "both"
        located += is_located
        unbounded += side == "none"
        if stratum.kind == "absent":
            continue
        for name, (inside, bounded) in found.items():
            covered[name] += inside and is_located
            as_given[name] += inside and bounded
    shares: dict[str, object] = {"not_located": 1 - located / runs, "test_rejects": rejected / runs}
    if stratum.kind != "absent":
        # An absent break cannot be covered.
        if se is None:
            shares |= {"located_at_most": known_break_power(x, mean / stratum.noise)}
        shares |= {"unbounded": unbounded / runs}
        shares |= {f"cover_{name}": count / runs for name, count in covered.items()}
        shares |= {f"cover_{name}_as_given": count / runs for name, count in as_given.items()}
    return {**vars(stratum), "method": method, "by": by, "runs": runs, "draws": draws, **shares}


def main() -> None:
    """Run the strata that are missing and print or write the table."""
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--draws", type=int, default=199)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--method", choices=("profile", "bootstrap"), default="profile")
    parser.add_argument("--by", choices=("interval", "test"), default="interval")
    parser.add_argument("--n", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--kind", nargs="*", default=["inside", "edge", "absent", "errors"])
    for name in ("breakpoint", "slope", "noise"):
        parser.add_argument(
            f"--{name}", nargs="*", type=float, help="only strata with these values"
        )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    columns = [*Stratum.__dataclass_fields__, "method", "by"]
    table = pd.DataFrame(columns=columns)
    if options.out is not None and options.out.exists():
        table = pd.read_csv(options.out, keep_default_na=False, na_values=[""])
    done = {tuple(row) for row in table[columns].itertuples(index=False)}
    begin = time.process_time()
    for stratum in strata():
        wanted = stratum.kind in options.kind and stratum.n in options.n
        for name in ("breakpoint", "slope", "noise"):
            only = getattr(options, name)
            wanted &= only is None or getattr(stratum, name) in only
        if not wanted or (*astuple(stratum), options.method, options.by) in done:
            continue
        row = simulate(
            stratum, options.runs, options.seed, options.draws, options.method, options.by
        )
        table = pd.DataFrame([*table.to_dict("records"), row])
        if options.out is not None:
            table.to_csv(options.out, index=False, float_format="%.6g")
    with pd.option_context("display.width", 220, "display.max_columns", 30, "display.max_rows", 99):
        print(table.round(3).to_string(index=False))
    print(f"{time.process_time() - begin:.0f} s of processor time")


if __name__ == "__main__":
    main()
