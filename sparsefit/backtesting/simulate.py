"""Simulated training runs with known laws and realistic residuals, to test methods on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Stratum:
    """One kind of simulated run.

    Attributes
    ----------
    name : str
        Name in tables.
    rising : bool
        Eq. 5 rather than Eq. 4.
    points : int
        Checkpoints, evenly spaced in tokens.
    alpha : (float, float)
        Range of Eq. 4's exponent, drawn log-uniformly (Eq. 5's follows from `done`).
    done : (float, float)
        Range of the share of the way from the first value to the limit that is covered at the last
        checkpoint, drawn uniformly.
    noise : float
        Standard deviation of the residuals at the last checkpoint, over the change of the curve.
    correlation : float
        Lag-1 autocorrelation of the residuals.
    spread : float
        The residuals' standard deviation is proportional to D ** -spread.
    warmup : int
        First checkpoints that depart from the law.
    """

    name: str
    rising: bool = False
    points: int = 30
    alpha: tuple[float, float] = (0.3, 1.5)
    done: tuple[float, float] = (0.7, 0.98)
    noise: float = 0.01
    correlation: float = 0.0
    spread: float = 0.0
    warmup: int = 0


# Fixed before any method was scored on them.
STRATA: tuple[Stratum, ...] = tuple(
    Stratum(f"{law}, {name}", rising=law == "Eq. 5", **settings)  # type: ignore[arg-type]
    for law in ("Eq. 4", "Eq. 5")
    for name, settings in (
        ("independent", {}),
        ("AR(1) .6", {"correlation": 0.6}),
        ("spread falls", {"spread": 0.7}),
        ("AR(1) .6, spread falls", {"correlation": 0.6, "spread": 0.7}),
        ("warm-up of 3", {"warmup": 3}),
        ("far from the limit", {"done": (0.3, 0.7)}),
        ("noise 3 times", {"noise": 0.03}),
    )
)


def simulate_runs(stratum: Stratum, count: int, rng: int | np.random.Generator = 0) -> pd.DataFrame:
    """Draw runs of one stratum as a measurement table.

    Parameters
    ----------
    stratum : Stratum
        Kind of run.
    count : int
        Number of runs.
    rng : int or Generator
        Source of randomness.

    Returns
    -------
    DataFrame
        Columns run, tokens, activation_ratio, activation, and `truth`: the law's value without
        noise (the law's also where warm-up points depart from it).
    """
    import pandas as pd

    if count < 1:
        raise ArgumentError(f"count: at least 1 run is needed, got {count}.")
    generator = np.random.default_rng(rng)
    parts = []
    for index in range(count):
        d = np.arange(1, stratum.points + 1, dtype=float)
        truth = _law(stratum, d, generator)
        change = abs(truth[-1] - truth[0])
        scale = stratum.noise * change * (d / d[-1]) ** -stratum.spread
        values = truth + scale * autoregressive(stratum.points, stratum.correlation, generator)
        fading = fading_start(len(d), stratum.warmup)
        # Warm-up: the run starts closer to its limit than the law says, and joins it later.
        values -= 0.4 * change * fading * (1.0 if not stratum.rising else -1.0)
        parts.append(
            pd.DataFrame(
                {
                    "run": f"{stratum.name} #{index}",
                    "tokens": np.round(1e9 * d).astype(np.int64),
                    "activation_ratio": values,
                    "activation": "silu" if stratum.rising else "relu",
                    "truth": truth,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _law(stratum: Stratum, d: Array, rng: np.random.Generator) -> Array:
    alpha = np.exp(rng.uniform(*np.log(stratum.alpha)))
    done = rng.uniform(*stratum.done)
    covered = share_covered(stratum.rising, d, alpha, done)
    return 0.30 + 0.10 * covered / done if stratum.rising else 0.11 - 0.04 * covered / done


def share_covered(rising: bool, d: Array, alpha: float, done: float) -> Array:
    """Share of the way to the limit that the law has covered, from 0 to `done`, shape of `d`.

    Eq. 5 covers 1 - (D_last / D_first)^-alpha of the way: `done` decides its alpha.
    """
    if rising:
        alpha = -np.log1p(-done) / np.log(d[-1] / d[0])
        return np.asarray(1.0 - (d / d[0]) ** -alpha)
    rate = -np.log1p(-done) / (d[-1] ** alpha - d[0] ** alpha)
    return np.asarray(-np.expm1(-rate * (d**alpha - d[0] ** alpha)))


def autoregressive(size: int, correlation: float, rng: np.random.Generator) -> Array:
    """Draw standard normal values whose neighbours correlate, shape (size,)."""
    shocks = rng.normal(size=size)
    for i in range(1, size):
        shocks[i] = correlation * shocks[i - 1] + np.sqrt(1.0 - correlation**2) * shocks[i]
    return shocks


def fading_start(size: int, warmup: int) -> Array:
    """Weight of the departure from the law at the first points: 1 falling to 0, shape (size,)."""
    return np.maximum(warmup - np.arange(size), 0) / max(warmup, 1)
