"""How AR(1) residuals should measure distance: evidence on our own runs.

    python scripts/noise_distance.py

Log evidence of each run of `reference_scales` and `reference_scales_repeated` under the noise
models of `sf.fit` without a fading start, with the distance between checkpoints counted in
checkpoints (as `sf.fit` does), in tokens and in log tokens, both in units of their median gap.
Differences from tokens, in nats, summed over runs, with the standard error of a sum over
independent runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import sparsefit as sf
from sparsefit import laws
from sparsefit.estimation.noise import noise_grid
from sparsefit.estimation.points import Points
from sparsefit.estimation.priors import reference_prior
from sparsefit.estimation.quadrature import Problem, integrate
from sparsefit.estimation.warmup import warmup_choices

DATASETS = ("reference_scales", "reference_scales_repeated")


class Measured(Points):
    """Points whose distance is given by `count` also between themselves."""

    @property
    def counts(self) -> np.ndarray:
        return self.count(self.d)


class InTokens(Measured):
    """Points whose distance is that in tokens over the median gap."""

    def count(self, d: np.ndarray) -> np.ndarray:
        return np.asarray((d - self.d[0]) / np.median(np.diff(self.d)))


class InLogTokens(Measured):
    """Points whose distance is that in log tokens over the median gap."""

    def count(self, d: np.ndarray) -> np.ndarray:
        return np.asarray(np.log(d / self.d[0]) / np.median(np.diff(np.log(self.d))))


DISTANCES = {"tokens": InTokens, "checkpoints": Points, "log tokens": InLogTokens}


def evidences(run: pd.DataFrame) -> dict[str, float]:
    """Log evidence of a run's points under each distance."""
    law = laws.get(str(run["activation"].iloc[0]))
    d, y = run["tokens"].to_numpy() / 1e9, run["activation_ratio"].to_numpy()
    drops = warmup_choices(d.size, law.n_parameters)
    found = {}
    for name, kind in DISTANCES.items():
        problem = Problem.of(law, kind(d, y), noise_grid(), drops, reference_prior(law))
        found[name] = integrate(problem).log_evidence
    return found


def main() -> int:
    """Print differences run by run and their sums."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", type=Path, help="measurement tables of other runs")
    arguments = parser.parse_args()
    tables = [sf.read_table(path) for path in arguments.tables]
    tables = tables or [sf.datasets.load(name) for name in DATASETS]
    rows = [
        {"run": name, "activation": run["activation"].iloc[0], **evidences(run)}
        for name, run in pd.concat(tables, ignore_index=True).groupby("run", sort=False)
    ]
    table = pd.DataFrame(rows)
    others = [name for name in DISTANCES if name != "tokens"]
    table[others] = table[others].sub(table["tokens"], axis=0)
    print(table.drop(columns="tokens").round(1).to_string(index=False))
    for kind, part in [*table.groupby("activation"), ("all", table)]:
        for name in others:
            error = part[name].std() * np.sqrt(len(part))
            print(f"{kind}, {name} over tokens: {part[name].sum():.1f} (se {error:.1f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
