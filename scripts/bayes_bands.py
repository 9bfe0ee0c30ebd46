"""Coverage of the bands of `sf.fit_bayes` on runs drawn from its own priors.

    python scripts/bayes_bands.py --replicates 400

Bands contain more than the quantiles of their draws where a limit's bound is not excluded. What
this costs where every assumption holds, and what it gains where the true limit lies on its bound
(0 for Eq. 4, 1 for Eq. 5), the script shows by coverage and width of both. Parameters, noise model
and warm-up are drawn from the default priors, the data from the likelihood; in the second half of
the table, the limit is then moved to its bound, and value and change over the data stay. Forecasts
reach from the next checkpoint to three times the data.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd
from sbc import D

from sparsefit import laws
from sparsefit.backtesting.methods_fit import from_fit
from sparsefit.backtesting.text import align, number
from sparsefit.bayes.api import finish
from sparsefit.bayes.engine import build_model, sample_model
from sparsefit.bayes.priors import (
    KAPPA_BOUNDS,
    WARMUP_SCALE,
    alpha_range,
    default_priors,
    draw_prior,
    limit_room,
)
from sparsefit.bayes.result import BayesFit
from sparsefit.estimation.draws import Draws
from sparsefit.estimation.noise import NoiseModel
from sparsefit.estimation.points import Points
from sparsefit.estimation.warmup import warmup_choices
from sparsefit.fitting import RunData
from sparsefit.laws import Law
from sparsefit.laws.base import span_ratio

LAWS = ("logspace_power", "vanilla_power")
SPAN = (float(D[0]), float(D[-1]))
# The checkpoints go on at the same distance, to three times the data.
FAR = D[0] + (D[1] - D[0]) * np.arange(3 * D.size)
AHEAD = np.array([25, 27, 30, 35, 40, 49, 62, 74])


def on_its_bound(law: Law, truth: Draws) -> Draws | None:
    """The draw with its limit on its bound, same ends of the curve; None where no shape does it."""
    first, last = truth.curve(law, np.array(SPAN))[0]
    change, excess = abs(last - first), float(limit_room(law, np.array(last)))
    folds = float(np.log1p(change / excess))
    limit, amplitude = np.array([last - law.sign * excess]), np.array([change + excess])
    if law.n_shape == 2:
        possible = folds >= KAPPA_BOUNDS[0]
        shape = np.array([[truth.shape[0, 0], folds]])
    else:
        alpha = folds / span_ratio(SPAN)
        least = alpha_range(law, np.array([last]), np.array([change]), SPAN)[0, 0]
        possible, shape = alpha >= (1 - 1e-9) * least, np.array([[alpha]])
    if not possible:
        return None
    return Draws(shape, amplitude, limit, truth.sigma, truth.noise, truth.drop, SPAN)


def residuals(noise: NoiseModel, rng: np.random.Generator) -> np.ndarray:
    """Residuals at all checkpoints, seen and later, in units of sigma."""
    scale = noise.scale(FAR, SPAN[1])
    if noise.kind == "student_t":
        return scale * rng.standard_t(noise.rho, FAR.size)
    shared = noise.correlation(FAR, FAR, Points(FAR, FAR))
    root = np.linalg.cholesky(shared + (noise.white_share + 1e-12) * np.eye(FAR.size))
    return scale * (root @ rng.standard_normal(FAR.size))


def simulate(law: Law, moved: bool, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A run at all checkpoints: the law's mean and what is measured."""
    priors, drops = default_priors(law), warmup_choices(D.size, law.n_parameters)
    noises = build_model(law, Points(D, D), drops, "auto", priors, None).likelihood.noises
    while True:
        j = rng.choice(len(noises), size=1, p=[noise.prior for noise in noises])
        k = rng.choice(drops, size=1)
        truth: Draws | None = Draws(*draw_prior(law, priors, SPAN, 1, rng), j, k, SPAN)
        assert truth is not None
        if moved:
            truth = on_its_bound(law, truth)
            if truth is None:
                continue
        curve = truth.curve(law, FAR)[0]
        y = curve + truth.sigma[0] * residuals(noises[int(j[0])], rng)
        width = WARMUP_SCALE * abs(curve[D.size - 1] - curve[0])
        y[: k[0]] = curve[: k[0]] + width * rng.standard_cauchy(int(k[0]))
        # Measurements that no one can make are drawn again, with their curve.
        if ((y[D.size :] > 0) & (y[D.size :] <= 1)).all():
            return curve, y


def posterior(law: Law, y: np.ndarray, rng: np.random.Generator) -> BayesFit:
    """`sf.fit_bayes` of the checkpoints seen, warm-up of any value included."""
    points = Points(D, y)
    drops = warmup_choices(D.size, law.n_parameters)
    sampled = sample_model(
        build_model(law, points, drops, "auto", default_priors(law), None), "importance", rng
    )
    frame = pd.DataFrame({"run": "run", "tokens": 1e9 * D, "activation_ratio": y})
    data = RunData("run", frame, points, None, None)
    return finish(data, sampled, "given", "auto", "auto", (None, 0.0), 0, (), rng)


def scored(law: Law, moved: bool, replicate: int, seed: int) -> dict[str, float]:
    """Coverage and width of draws and bands, mean over the horizons."""
    rng = np.random.default_rng([seed, law.n_shape, moved, replicate])
    curve, y = simulate(law, moved, rng)
    found = from_fit(posterior(law, y[: D.size], rng), 1e9 * FAR[AHEAD], rng)
    drawn = replace(found, edges=())
    row: dict[str, float] = {}
    kinds = {
        "curve": (curve[AHEAD], drawn.curve_interval, found.curve_interval),
        "measured": (y[AHEAD], drawn.interval, found.interval),
    }
    for level in (0.9, 0.5):
        for kind, (value, *both) in kinds.items():
            for name, interval in zip(("draws", "bands"), both, strict=True):
                low, high = interval(level)
                row[f"{kind} {level:.0%} {name}"] = float(np.mean((low <= value) & (value <= high)))
                row[f"{kind} {level:.0%} {name} width"] = float(np.mean(high - low))
    return row


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    header = ["law", "limit", "band of", "level", "draws", "bands", "wider by"]
    rows = []
    for name in LAWS:
        for moved in (False, True):
            runs = range(arguments.replicates)
            table = pd.DataFrame([scored(laws.get(name), moved, i, arguments.seed) for i in runs])
            mean = table.mean()
            for kind in ("curve", "measured"):
                for level in ("90%", "50%"):
                    draws, bands = (f"{kind} {level} {what}" for what in ("draws", "bands"))
                    wider = mean[f"{bands} width"] / mean[f"{draws} width"] - 1.0
                    place = "on its bound" if moved else "from the prior"
                    cells = [number(mean[draws], 3), number(mean[bands], 3), f"{wider:.0%}"]
                    rows.append([name, place, kind, level, *cells])
    print("\n".join(align(header, rows)))


if __name__ == "__main__":
    main()
