"""Simulation-based calibration of `sf.fit_bayes`'s default engine.

    python scripts/sbc.py --replicates 500

Parameters, noise model and warm-up are drawn from the priors, data from the likelihood, and the
rank of the truth among posterior draws must be uniform (Talts et al., 2018). Both laws, Gaussian
and default likelihood, default priors, a fixed grid of checkpoints and a fixed seed.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from scipy.stats import chisquare

from sparsefit import laws
from sparsefit.bayes.engine import build_model
from sparsefit.bayes.importance import Model, flat_posterior, resample, sample_posterior
from sparsefit.bayes.priors import WARMUP_SCALE, default_priors, draw_prior
from sparsefit.estimation.draws import Draws
from sparsefit.estimation.engine import warmup_choices
from sparsefit.estimation.points import Points
from sparsefit.laws import Law

D = np.linspace(1.0, 50.0, 25)
RANKS = 99
BINS = 10


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
        covariance = noise.covariance(D, D[-1], float(np.median(np.diff(D))), None)
        residual = np.linalg.cholesky(covariance) @ rng.standard_normal(D.size)
    y = curve + truth.sigma[0] * residual
    width = WARMUP_SCALE * abs(curve[-1] - curve[0])
    y[: k[0]] = curve[: k[0]] + width * rng.standard_cauchy(int(k[0]))
    model = build_model(law, Points(D, y), drops, likelihood, default_priors(law), None)
    return model, truth


def calibrate(law: Law, likelihood: str, replicates: int, seed: int) -> tuple[pd.DataFrame, dict]:
    ranks: dict[str, list[int]] = {}
    khats, sizes = [], []
    for i in range(replicates):
        rng = np.random.default_rng([seed, law.n_shape, len(likelihood), i])
        model, truth = simulate(law, likelihood, rng)
        weighted = sample_posterior(model, flat_posterior(model, rng), rng)
        khats.append(weighted.smoothed.khat)
        sizes.append(weighted.smoothed.ess)
        found = quantities(law, resample(weighted, RANKS, rng))
        for name, value in quantities(law, truth).items():
            below = np.sum(found[name] < value[0])
            ties = np.sum(found[name] == value[0])
            rank = below + (rng.integers(ties + 1) if ties else 0)
            ranks.setdefault(name, []).append(int(rank))
    table = pd.DataFrame(ranks)
    checks = {
        "khat_above": float(np.mean(np.array(khats) > 0.7)),
        "ess_below_2000": float(np.mean(np.array(sizes) < 2000)),
    }
    return table, checks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=500)
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument("--out", help="CSV file for the ranks")
    arguments = parser.parse_args()
    rows: list[tuple[str, str, str, float, float]] = []
    kept: list[pd.DataFrame] = []
    for name in ("logspace_power", "vanilla_power"):
        for likelihood in ("gaussian", "auto"):
            start = time.process_time()
            table, checks = calibrate(
                laws.get(name), likelihood, arguments.replicates, arguments.seed
            )
            kept.append(table.assign(law=name, likelihood=likelihood))
            if arguments.out:
                pd.concat(kept).to_csv(arguments.out, index=False)
            for quantity in table:
                counts = np.bincount(table[quantity] * BINS // (RANKS + 1), minlength=BINS)
                inside = float(table[quantity].between(5, 94).mean())
                p = float(chisquare(counts).pvalue)
                rows.append((name, likelihood, str(quantity), p, inside))
                print(f"  {quantity}: p {p:.3f}, 90% interval covers {inside:.2f}")
            seconds = (time.process_time() - start) / arguments.replicates
            print(
                f"{name}, {likelihood}: {seconds:.2f} CPU s a fit, k-hat > .7 in "
                f"{100 * checks['khat_above']:.1f}%, ESS < 2000 in "
                f"{100 * checks['ess_below_2000']:.1f}%",
                flush=True,
            )
    out = pd.DataFrame(rows, columns=["law", "likelihood", "quantity", "p", "coverage90"])
    ordered = out["p"].sort_values()
    out["p_holm"] = (ordered * np.arange(len(ordered), 0, -1)).cummax().clip(upper=1.0)
    print(out.to_string(index=False, float_format="{:.3f}".format))
    print(f"smallest p after Holm's correction: {out['p_holm'].min():.3f}")


if __name__ == "__main__":
    main()
