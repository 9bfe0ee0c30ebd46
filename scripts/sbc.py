"""Simulation-based calibration of `sf.fit_bayes`'s default engine.

    python scripts/sbc.py --replicates 500 --out docs/simulations/sbc.csv

Parameters, noise model and warm-up are drawn from the priors, data from the likelihood, and the
rank of the truth among posterior draws must be uniform (Talts et al., 2018). Both laws, Gaussian
and default likelihood, default priors, a fixed grid of checkpoints and a fixed seed. Replicates
already in the file given by --out are kept, so that the study can be interrupted.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import chisquare

from sparsefit import laws
from sparsefit.bayes.engine import build_model
from sparsefit.bayes.importance import (
    ESS_WANTED,
    Model,
    flat_posterior,
    resample,
    sample_posterior,
)
from sparsefit.bayes.priors import WARMUP_SCALE, default_priors, draw_prior
from sparsefit.bayes.psis import KHAT_LIMIT
from sparsefit.estimation.draws import Draws
from sparsefit.estimation.points import Points
from sparsefit.estimation.warmup import warmup_choices
from sparsefit.laws import Law

D = np.linspace(1.0, 50.0, 25)
RANKS = 99
BINS = 10
SETTINGS = [
    (law, noise) for law in ("logspace_power", "vanilla_power") for noise in ("gaussian", "auto")
]
# Columns of the table before the ranks.
_NAMES = 6


def quantities(law: Law, draws: Draws) -> dict[str, np.ndarray]:
    ends = draws.curve(law, np.array([D[0], D[-1], 3 * D[-1]]))
    return {
        "limit": draws.limit,
        "alpha": draws.shape[:, 0],
        "last value": ends[:, 1],
        "change": np.abs(ends[:, 1] - ends[:, 0]),
        "sigma": draws.sigma,
        "forecast x3": ends[:, 2],
    }


def simulate(law: Law, likelihood: str, rng: np.random.Generator) -> tuple[Model, Draws]:
    """One truth and its data, as a model."""
    drops = warmup_choices(D.size, law.n_parameters)
    span = (float(D[0]), float(D[-1]))
    blank = build_model(law, Points(D, D), drops, likelihood, default_priors(law), None)
    noises = blank.likelihood.noises
    j = rng.choice(len(noises), size=1, p=[noise.prior for noise in noises])
    k = rng.choice(drops, size=1)
    truth = Draws(*draw_prior(law, default_priors(law), span, 1, rng), j, k, span)
    curve, noise = truth.curve(law, D)[0], noises[int(j[0])]
    if noise.kind == "student_t":
        residual = noise.scale(D, D[-1]) * rng.standard_t(noise.rho, D.size)
    else:
        covariance = noise.covariance(Points(D, D))
        residual = np.linalg.cholesky(covariance) @ rng.standard_normal(D.size)
    y = curve + truth.sigma[0] * residual
    width = WARMUP_SCALE * abs(curve[-1] - curve[0])
    y[: k[0]] = curve[: k[0]] + width * rng.standard_cauchy(int(k[0]))
    model = build_model(law, Points(D, y), drops, likelihood, default_priors(law), None)
    return model, truth


def calibrate(law: Law, likelihood: str, replicate: int, seed: int) -> dict[str, object]:
    """Ranks of one truth among its posterior draws, and the sampler's checks."""
    rng = np.random.default_rng([seed, law.n_shape, len(likelihood), replicate])
    start = time.process_time()
    model, truth = simulate(law, likelihood, rng)
    weighted = sample_posterior(model, flat_posterior(model, rng), rng)
    found = quantities(law, resample(weighted, RANKS, rng))
    row: dict[str, object] = {"law": law.name, "likelihood": likelihood, "replicate": replicate}
    row["khat"], row["ess"] = weighted.smoothed.khat, weighted.smoothed.ess
    row["cpu_s"] = time.process_time() - start
    for name, value in quantities(law, truth).items():
        below = np.sum(found[name] < value[0])
        ties = np.sum(found[name] == value[0])
        row[name] = int(below + (rng.integers(ties + 1) if ties else 0))
    return row


def report(table: pd.DataFrame) -> pd.DataFrame:
    """Uniformity of the ranks, one row a law, likelihood and quantity."""
    rows = []
    for (law, likelihood), part in table.groupby(["law", "likelihood"], sort=False):
        for name in list(part.columns)[_NAMES:]:
            counts = np.bincount(part[name] * BINS // (RANKS + 1), minlength=BINS)
            rows.append(
                {
                    "law": law,
                    "likelihood": likelihood,
                    "quantity": name,
                    "replicates": len(part),
                    "p": float(chisquare(counts).pvalue),
                    "covers_90": float(part[name].between(5, 94).mean()),
                    "covers_50": float(part[name].between(25, 74).mean()),
                }
            )
    out = pd.DataFrame(rows)
    ordered = out["p"].sort_values()
    holm = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1.0)
    return out.assign(p_holm=holm)


def checks(table: pd.DataFrame) -> pd.DataFrame:
    """Processor time and the sampler's checks, one row a law and likelihood."""
    parts = table.assign(
        khat_above=table["khat"] > KHAT_LIMIT, ess_below_2000=table["ess"] < ESS_WANTED
    ).groupby(["law", "likelihood"], sort=False)
    return parts.agg(
        replicates=("khat", "size"),
        cpu_s=("cpu_s", "mean"),
        khat_above=("khat_above", "mean"),
        ess_below_2000=("ess_below_2000", "mean"),
    ).reset_index()


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--out", type=Path, required=True, help="CSV of ranks; kept and continued")
    arguments = parser.parse_args()
    done: set[tuple[str, str, int]] = set()
    if arguments.out.exists():
        rows = pd.read_csv(arguments.out)[["law", "likelihood", "replicate"]]
        done = set(rows.itertuples(index=False, name=None))
    # Settings in turn, so that a study cut short says something of all of them.
    for replicate in range(arguments.replicates):
        for name, likelihood in SETTINGS:
            if (name, likelihood, replicate) in done:
                continue
            row = pd.DataFrame([calibrate(laws.get(name), likelihood, replicate, arguments.seed)])
            new = not arguments.out.exists()
            row.to_csv(arguments.out, mode="a", header=new, index=False, float_format="%.5g")
    table = pd.read_csv(arguments.out)
    table = table[table["replicate"] < arguments.replicates]
    found = report(table)
    print(found.to_string(index=False, float_format="{:.3f}".format))
    print(checks(table).to_string(index=False, float_format="{:.3f}".format))
    print(f"smallest p after Holm's correction: {found['p_holm'].min():.3f}")


if __name__ == "__main__":
    main()
