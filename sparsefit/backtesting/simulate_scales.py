"""Simulated families of runs over scales: what pooling and correction by other runs stand on.

The runs of a family share a trend over parameters, scatter about it, and share what their residuals
look like. Some families leave the law in one of the ways seen in small training runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sparsefit.backtesting.simulate import autoregressive, fading_start, share_covered
from sparsefit.errors import ArgumentError, quoted

if TYPE_CHECKING:
    import pandas as pd

Array = NDArray[np.float64]

DEPARTURES = ("none", "drift", "accelerating", "hump", "turn")
"""Ways of a family: along the law; a random walk in log D about it; faster than log D (the change
goes with a power of log D above one); a hump over the early part; a late turn."""

_SLOPE, _SCATTER, _SIZES = 0.3, (0.05, 0.6), (1e8, 2e8, 4e8, 8e8, 12e8)


@dataclass(frozen=True)
class Family:
    """What the runs of one family share.

    Attributes
    ----------
    rising : bool
        Eq. 5 rather than Eq. 4.
    departure : str
        One of `DEPARTURES`.
    scatter : float
        Standard deviation of runs about the trend, in logs (logits for shares).
    correlation, spread, noise, warmup
        As in `simulate.Stratum`; the noise is relative to the change of the curve.
    centre, slope : ndarray, shape (4,)
        Logit of the limit, log of the change over the limit, log of Eq. 4's alpha and logit of the
        share of the way that is done, at the middle size and per unit of log N.
    """

    rising: bool
    departure: str
    scatter: float
    correlation: float
    spread: float
    noise: float
    warmup: int
    centre: Array
    slope: Array


def draw_family(rising: bool, departure: str, rng: np.random.Generator) -> Family:
    """Draw what a family shares."""
    if departure not in DEPARTURES:
        raise ArgumentError(f"departure: one of {', '.join(DEPARTURES)}, got {quoted(departure)}.")
    limit = rng.uniform(0.3, 0.5) if rising else rng.uniform(0.05, 0.25)
    done = rng.uniform(0.6, 0.97)
    return Family(
        rising,
        departure,
        float(np.exp(rng.uniform(*np.log(_SCATTER)))),
        float(rng.choice([0.0, 0.3, 0.6])),
        float(rng.choice([0.0, 0.5, 1.0])),
        float(np.exp(rng.uniform(np.log(0.005), np.log(0.04)))),
        int(rng.choice([0, 0, 2, 4])),
        np.array(
            [
                np.log(limit / (1.0 - limit)),
                np.log(rng.uniform(0.05, 0.3) if rising else rng.uniform(0.1, 1.0)),
                rng.uniform(np.log(0.3), np.log(1.5)),
                np.log(done / (1.0 - done)),
            ]
        ),
        rng.normal(0.0, _SLOPE, 4),
    )


def simulate_family(
    family: Family,
    name: str,
    rng: np.random.Generator,
    sizes: tuple[float, ...] = _SIZES,
) -> pd.DataFrame:
    """Draw one run a size as a measurement table.

    Returns
    -------
    DataFrame
        Columns run, tokens, activation_ratio, activation, n_params; the true limits by run in
        ``attrs["limits"]`` (of the law, where the family follows it).
    """
    import pandas as pd

    parts, limits = [], {}
    middle = float(np.mean(np.log(sizes)))
    for size in sizes:
        count = int(rng.integers(18, 36))
        d: Array = 120.0 / count * np.arange(1, count + 1, dtype=np.float64)
        z = family.centre + family.slope * (np.log(size) - middle)
        # Levels scatter less than shapes: the limit's logit by a third.
        z = z + family.scatter * rng.normal(size=4) * np.array([1 / 3, 1.0, 1.0, 1.0])
        limits[f"{name} {size:.2g}"] = float(1.0 / (1.0 + np.exp(-z[0])))
        parts.append(
            pd.DataFrame(
                {
                    "run": f"{name} {size:.2g}",
                    "tokens": np.round(1e9 * d).astype(np.int64),
                    "activation_ratio": _values(family, d, z, rng),
                    "activation": "silu" if family.rising else "relu",
                    "n_params": size,
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    table.attrs["limits"] = limits
    return table


def _values(family: Family, d: Array, z: Array, rng: np.random.Generator) -> Array:
    limit, done = (1.0 / (1.0 + np.exp(-z[i])) for i in (0, 3))
    done = min(done, 0.995)
    way = min(np.exp(z[1]), 2.0 if not family.rising else 0.8) * limit
    fraction = share_covered(family.rising, d, np.exp(z[2]), done)
    x = np.log(d / d[0]) / np.log(d[-1] / d[0])
    if family.departure == "accelerating":
        fraction = done * x ** rng.uniform(1.2, 2.0)
    elif family.departure == "hump":
        fraction = fraction - rng.uniform(0.1, 0.4) * np.exp(
            -0.5 * ((x - rng.uniform(0.2, 0.5)) / 0.12) ** 2
        )
    elif family.departure == "turn":
        fraction = fraction - rng.uniform(0.3, 1.0) * np.maximum(x - rng.uniform(0.6, 0.85), 0.0)
    elif family.departure == "drift":
        steps = rng.normal(size=d.size) * np.sqrt(np.diff(x, prepend=0.0))
        fraction = fraction + rng.uniform(0.05, 0.3) * np.cumsum(steps)
    # From the first value towards the limit, share by share; warm-up starts nearer to the limit.
    fraction = fraction + 0.3 * fading_start(d.size, family.warmup)
    shocks = autoregressive(d.size, family.correlation, rng)
    fraction = fraction + family.noise * shocks * (d / d[-1]) ** -family.spread
    sign = 1.0 if family.rising else -1.0
    return np.asarray(np.clip(limit - sign * way * (1.0 - fraction), 1e-3, 0.999))
