"""Locating a threshold on a few tokens, before the calibration proper."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

_ENERGY_POINTS = 64
_SCOUT_STEPS = 12


def energy_curve(sizes: torch.Tensor, total: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """CETT that incoherent neuron outputs would have: (log eps, CETT), without any product.

    Parameters
    ----------
    sizes : torch.Tensor
        Neuron output norms, shape (tokens, d_ff).
    total : torch.Tensor
        Norms of the layer's outputs, shape (tokens,).
    """
    ordered, _ = torch.sort(sizes, dim=1)
    energy = torch.cumsum(ordered.double().square(), dim=1)
    top = float(ordered[:, -1].max())
    log_eps = np.linspace(np.log(top) - 16.0, np.log(top), _ENERGY_POINTS)
    levels = torch.from_numpy(np.exp(log_eps)).to(sizes)
    index = torch.searchsorted(ordered, levels.expand(sizes.shape[0], -1).contiguous())
    padded = nn.functional.pad(energy, (1, 0))
    weak = torch.gather(padded, 1, index).sqrt()
    safe = torch.where(total > 0, total, torch.full_like(total, torch.inf)).double()
    return log_eps, (weak / safe[:, None]).mean(dim=0).cpu().numpy()


def locate(
    cett: Callable[[float], float],
    target: float,
    bounds: tuple[float, float],
    energy: tuple[np.ndarray, np.ndarray],
    points: dict[float, float],
) -> tuple[float, float]:
    """Find the log threshold of a CETT on a few tokens, to within about 5%.

    Parameters
    ----------
    cett : callable
        CETT at a log threshold.
    target : float
        CETT wanted.
    bounds : (float, float)
        Log thresholds at which CETT is 0 and about 1.
    energy : (array, array)
        `energy_curve`, the first guess.
    points : dict
        Points evaluated so far (log threshold -> CETT); extended.

    Returns
    -------
    log_eps, slope : float
        Where, and the exponent d log CETT / d log eps there.
    """
    log_eps, guess = energy
    usable = guess > 0
    at = float(np.interp(np.log(target), np.log(guess[usable]), log_eps[usable]))
    slope = 1.0
    low, high = bounds
    at = min(max(at, low), high)
    for _ in range(_SCOUT_STEPS):
        value = cett(at)
        points[at] = value
        if value > 0 and abs(np.log(value / target)) < 0.05 and len(points) > 1:
            break
        if value < target:
            low = at
        else:
            high = at
        slope = _slope(points, target, slope)
        step = at + np.log(target / value) / slope if value > 0 else np.inf
        at = step if low < step < high else (low + high) / 2
        if high - low < 1e-3:
            break
    return at, _slope(points, target, slope)


def _slope(points: dict[float, float], target: float, fallback: float) -> float:
    """Exponent between the two evaluated points nearest to the target, kept in a sane range."""
    usable = sorted(
        (abs(np.log(value / target)), at, value) for at, value in points.items() if value > 0
    )[:2]
    if len(usable) < 2 or abs(usable[0][1] - usable[1][1]) < 1e-6:
        return fallback
    (_, x0, y0), (_, x1, y1) = usable
    return float(np.clip(np.log(y1 / y0) / (x1 - x0), 0.2, 5.0))


def thin(grid: np.ndarray, gap: float = 0.02) -> np.ndarray:
    """Sort a grid of log thresholds and merge points that lie closer than `gap`."""
    ordered = np.sort(grid)
    keep = [float(ordered[0])]
    for value in ordered[1:]:
        if value - keep[-1] > gap:
            keep.append(float(value))
    return np.array(keep)
