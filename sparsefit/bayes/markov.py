"""Log likelihood of correlated noise with known errors on top, for all noise scales at once.

The Gaussian noise models of `estimation.noise` are Markov from checkpoint to checkpoint: a part
that remembers its last value, an independent part, both in units of ``sigma * scale``. With known
measurement errors the covariance is no multiple of one matrix any more, and a Kalman filter over
the points, last to first, gives the exact likelihood of every draw under every warm-up choice in
one pass.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sparsefit.estimation.noise import NoiseModel
from sparsefit.estimation.points import Points

Array = NDArray[np.float64]

# Few enough factors that their product neither overflows nor vanishes.
_LOG_EVERY = 4

KINDS = ("white", "ar1", "ou")
"""Noise models that are Markov."""


def filtered_log_likelihood(
    noises: Sequence[NoiseModel],
    points: Points,
    se: Array,
    residual: Array,
    sigma: Array,
    drops: NDArray[np.intp],
) -> Array:
    """Log likelihood of residuals under each noise model and warm-up choice.

    Parameters
    ----------
    noises : sequence of NoiseModel
        Models of the kinds in `KINDS`.
    points : Points
        All points of the run.
    se : ndarray, shape (n,)
        Known standard errors, unit of the response.
    residual : ndarray, shape (m, n)
        Response minus the law.
    sigma : ndarray, shape (m,)
        Noise scale.
    drops : ndarray of int, shape (k,)
        Warm-up choices: numbers of first points left out.

    Returns
    -------
    ndarray, shape (number of noise models, k, m)
    """
    d, n = points.d, len(points)
    scale = np.stack([noise.scale(d, float(d[-1])) for noise in noises])
    white = np.array([[noise.white_share] for noise in noises])
    memory = 1.0 - white  # variance of the part that remembers
    carried = np.stack([noise.carried(points) for noise in noises])
    out = np.empty((len(noises), drops.size, sigma.size))
    mean = np.zeros((len(noises), sigma.size))
    variance = np.broadcast_to(memory, mean.shape).copy()
    square, log_det, product = np.zeros_like(mean), np.zeros_like(mean), np.ones_like(mean)
    constant = np.log(2.0 * np.pi) + 2.0 * np.log(sigma)
    scales = np.cumsum(np.log(scale)[:, ::-1], axis=1)[:, ::-1, None]
    inverse_sigma = 1.0 / sigma
    for i in range(n - 1, -1, -1):
        per_unit = inverse_sigma / scale[:, i, None]
        innovation = residual[:, i] * per_unit
        innovation -= mean
        per_unit *= se[i]
        per_unit *= per_unit
        per_unit += white  # now the variance of what is independent from point to point
        predicted = variance + per_unit
        product *= predicted
        np.reciprocal(predicted, out=predicted)
        wanted = np.flatnonzero(drops == i)
        if wanted.size or i % _LOG_EVERY == 0:
            # One logarithm for several points: it costs more than all the rest.
            log_det += np.log(product)
            product[:] = 1.0
        gain = variance * predicted
        predicted *= innovation
        predicted *= innovation
        square += predicted
        if wanted.size:
            out[:, wanted] = (
                -0.5 * (square + log_det + (n - i) * constant + 2.0 * scales[:, i])[:, None]
            )
        if i:
            phi = carried[:, i - 1, None]
            innovation *= gain
            mean += innovation
            mean *= phi
            gain *= per_unit
            np.multiply(gain, phi**2, out=variance)
            variance += (1.0 - phi**2) * memory
    return out
