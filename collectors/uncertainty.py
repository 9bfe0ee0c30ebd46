"""Standard errors of activation ratios, by the infinitesimal jackknife over sequences. Pure numpy.

Each window's *influence* is the first-order change of the activation ratio when that window gets
more weight: through its own activity, through the thresholds (every layer's CETT is a mean over
windows) and through the CETT value at which the perplexity target is met (the loss difference is a
mean over windows). The influences of several checkpoints are over the same windows, so what moves
together can be told from what does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Influence:
    """First-order influence of each window on one checkpoint's measurement.

    Attributes
    ----------
    ratio : numpy.ndarray
        On the activation ratio at a fixed CETT, shape (windows,); sums to about 0.
    log_ratio : numpy.ndarray
        On the log perplexity ratio at a fixed CETT, shape (windows,).
    ratio_slope : float
        d (activation ratio) / d log CETT.
    """

    ratio: np.ndarray
    log_ratio: np.ndarray
    ratio_slope: float


def influence(
    *,
    window_tokens: np.ndarray,
    active: np.ndarray,
    predicted: np.ndarray,
    loss_difference: np.ndarray,
    relative_cett: np.ndarray,
    curve_slope: np.ndarray,
    active_slope: np.ndarray,
    loss_slope: float,
) -> Influence:
    """Influence of each window at a fixed CETT.

    Parameters
    ----------
    window_tokens, predicted : (windows,)
        Counted tokens and predicted tokens.
    active : (windows, layers)
        Activation ratio.
    loss_difference : (windows,)
        Summed sparse minus dense loss, nats.
    relative_cett : (windows, layers)
        CETT of a window over CETT of the text, at the layer's threshold.
    curve_slope : (layers,)
        d log CETT / d log eps; NaN for dead layers, which have no threshold to move.
    active_slope : (layers,)
        d (activation ratio) / d log eps.
    loss_slope : float
        d (log perplexity ratio) / d log CETT.
    """
    share = window_tokens / window_tokens.sum()
    predicted_share = predicted / predicted.sum()
    per_window = active.mean(axis=1)
    own = share * (per_window - share @ per_window)
    live = np.isfinite(curve_slope) & (curve_slope > 0)
    slope = np.where(live, curve_slope, 1.0)
    # A window of large CETT lowers the threshold that the text as a whole gets.
    excess = share[:, None] * (relative_cett - share @ relative_cett) * live
    moved = -(excess / slope) @ (active_slope / active.shape[1])
    per_token = loss_difference / np.maximum(predicted, 1.0)
    direct = predicted_share * (per_token - predicted_share @ per_token)
    # Layers share the effect of thresholds on the loss evenly: how it splits is not measured.
    through = -loss_slope * excess.mean(axis=1)
    ratio_slope = float(np.where(live, active_slope / slope, 0.0).mean())
    return Influence(own + moved, direct + through, ratio_slope)


def target_influence(
    influences: Sequence[Influence], log_ratios: Sequence[float], loss_slope: float
) -> np.ndarray:
    """Influence of each window on log CETT, where it solves the joint perplexity target.

    Parameters
    ----------
    influences : sequence of Influence
        Of the checkpoints that were solved together.
    log_ratios : sequence of float
        Their log perplexity ratios at the root.
    loss_slope : float
        d (log of the mean ratio) / d log CETT at the root.
    """
    weights = np.exp(np.asarray(log_ratios))
    weights /= weights.sum()
    total = sum(w * item.log_ratio for w, item in zip(weights, influences, strict=True))
    return -np.asarray(total) / loss_slope


def standard_error(values: np.ndarray) -> float:
    """Standard error from influences, shape (windows,); NaN from fewer than two windows."""
    count = values.size
    if count < 2:
        return float("nan")
    return float(np.sqrt(count / (count - 1) * np.square(values).sum()))


def split_errors(influences: Sequence[np.ndarray]) -> list[tuple[float, float]]:
    """Split each checkpoint's standard error into (own, shared).

    Parameters
    ----------
    influences : sequence of (windows,) arrays
        Total influence of each window on each checkpoint's activation ratio.

    Returns
    -------
    list of (se, se_shared)
        ``se**2 + se_shared**2`` is the squared total. The shared part is the projection on the mean
        influence over the run: the text and the CETT value that all checkpoints have in common. A
        single checkpoint shares nothing: its whole error is its own.
    """
    if len(influences) == 1:
        return [(standard_error(influences[0]), 0.0)]
    mean = np.mean(influences, axis=0)
    norm = float(mean @ mean)
    result = []
    for values in influences:
        shared = mean * (float(values @ mean) / norm) if norm > 0 else np.zeros_like(mean)
        result.append((standard_error(values - shared), standard_error(shared)))
    return result
