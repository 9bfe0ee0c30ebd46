"""The likelihood of `symbolic` as one function with its analytic gradient, see `operations`.

Written out in PyTensor, the sum over noise models and warm-up choices and its gradient take some
two hundred operations, and compiling them took most of a fit's time. One function over one array of
data compiles in seconds and runs several times faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from sparsefit.bayes.importance import Model
from sparsefit.bayes.nuts_map import Map
from sparsefit.bayes.priors import WARMUP_DOF, WARMUP_SCALE
from sparsefit.laws.base import span_ratio

Array = NDArray[np.float64]
Numbers = tuple[float, ...]
Counts = tuple[int, ...]

HEADER = 8
"""Numbers in front of the map of the coordinates, see `pack`."""
SPAN = 7
"""Index of log(last D / first D)."""

# Few enough factors that their product neither overflows nor vanishes.
_LOG_EVERY = 4


def student_constant(dof: float) -> float:
    """Log density of a standard Student-t at 0."""
    return float(gammaln((dof + 1) / 2) - gammaln(dof / 2) - 0.5 * np.log(np.pi * dof))


_EARLY = student_constant(WARMUP_DOF)


def pack(model: Model, coordinates: Map) -> Array:
    """All data of a run in one array: every further array costs a third of a second to compile.

    In this order: number of points n, of warm-up choices k, of Gaussian models g and of Student-t
    models h, their degrees of freedom, sign and number of shapes of the law, log(last D / first D);
    the map of the coordinates; and what `log_likelihood` reads first.
    """
    points, likelihood = model.points, model.likelihood
    d, n = points.d, len(points)
    normal = [m for m in likelihood.noises if m.kind != "student_t"]
    heavy = [m for m in likelihood.noises if m.kind == "student_t"]
    kept = n - model.drops
    scales = [m.scale(d, d[-1]) for m in normal]
    constant = [
        np.log(m.prior) - 0.5 * np.log(2 * np.pi) * kept - _log_scale_sums(scale, kept)
        for m, scale in zip(normal, scales, strict=True)
    ]
    constant += [np.log(m.prior) + student_constant(m.rho) * kept for m in heavy]
    dof = heavy[0].rho if heavy else 1.0
    head = (n, model.drops.size, len(normal), len(heavy), dof)
    parts: list[Any] = [head, (model.law.sign, model.law.n_shape, span_ratio(points.span))]
    parts += [coordinates.flat, points.y, np.log(d / d[0]), model.drops]
    parts += [np.zeros(n) if likelihood.se is None else likelihood.se**2, constant]
    parts += [[m.white_share for m in normal], [1.0 / scale for scale in scales]]
    # The correlation of the first point with the one before it is never used.
    parts += [np.append(0.0, m.carried(points)) for m in normal]
    parts += [m.scale(d, d[-1]) ** 2 for m in heavy]
    return np.concatenate([np.ravel(np.asarray(part, dtype=float)) for part in parts])


def _log_scale_sums(scale: Array, kept: NDArray[np.intp]) -> Array:
    """Sum of log scales over the last `kept` points."""
    return np.asarray(np.cumsum(np.log(scale)[::-1])[kept - 1])


# Steps of `log_likelihood`: plain loops over the array of `pack`, to be compiled by numba.


def _law(
    theta: Numbers, form: Numbers, factors: Numbers, run: Array, y: int, log_d: int
) -> tuple[Array, Array, Array]:
    """Residuals of the points, the law's basis at them and, with two shapes, its inner share."""
    last, _, excess, alpha = theta
    sign, n_shape, _ = form
    amplitude, kappa, whole = factors
    n = log_d - y
    residual, basis, share_of = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        if n_shape == 2.0:
            share_of[i] = np.expm1(alpha * run[log_d + i]) / whole
            basis[i] = np.exp(-kappa * share_of[i])
        else:
            basis[i] = np.exp(-alpha * run[log_d + i])
        residual[i] = run[y + i] - (last + sign * (amplitude * basis[i] - excess))
    return residual, basis, share_of


def _filtered(
    residual: Array, run: Array, sizes: Counts, begin: Counts, noise_scale: Numbers
) -> tuple[Array, Array, Array, Array]:
    """Log likelihood of the points kept, by model and warm-up choice, and the filter's states.

    Points are filtered from last to first, as in `markov.filtered_log_likelihood`, so that one pass
    serves all warm-up choices.
    """
    n, k, g, models = sizes
    drops, se2, constant, white, inverse_scale, carried, scale2 = begin
    log_sigma, inverse, dof, half = noise_scale
    table = np.empty((models, k))
    innovation, spread, gain = np.empty((g, n)), np.empty((g, n)), np.empty((g, n))
    most = int(run[drops + k - 1])
    for j in range(models):
        mean, variance, total, product = 0.0, 0.0, 0.0, 1.0
        if j < g:
            variance = 1.0 - run[white + j]
        c = k - 1
        for i in range(n - 1, -1, -1):
            if j < g:
                unit = inverse * run[inverse_scale + j * n + i]
                noise = run[white + j] + unit * unit * run[se2 + i]
                v = unit * residual[i] - mean
                s = variance + noise
                ratio = variance / s
                innovation[j, i], spread[j, i], gain[j, i] = v, s, ratio
                total -= 0.5 * v * v / s
                product *= s
                phi = run[carried + j * n + i]
                mean = phi * (mean + ratio * v)
                variance = phi * phi * ratio * noise + (1.0 - phi * phi) * (1.0 - run[white + j])
            else:
                s = run[scale2 + (j - g) * n + i] + inverse * inverse * run[se2 + i]
                v = inverse * residual[i]
                total -= half * np.log1p(v * v / (dof * s))
                product *= s
            if i <= most or i % _LOG_EVERY == 0:
                total -= 0.5 * np.log(product)
                product = 1.0
            if c >= 0 and run[drops + c] == i:
                table[j, c] = run[constant + j * k + c] + total - (n - i) * log_sigma
                c -= 1
    return table, innovation, spread, gain


def _add_left_out(table: Array, residual: Array, run: Array, drops: int, width2: float) -> None:
    """Add to each warm-up choice the log likelihood of the points that it leaves out."""
    models, k = table.shape
    early = 0.0
    c = 0
    for i in range(int(run[drops + k - 1]) + 1):
        if run[drops + c] == i:
            for j in range(models):
                table[j, c] += early
            c += 1
        early -= 0.5 * (WARMUP_DOF + 1.0) * np.log1p(residual[i] ** 2 / (WARMUP_DOF * width2))
        early += _EARLY - 0.5 * np.log(width2)


def _summed(table: Array) -> tuple[float, float]:
    """Turn log likelihoods into likelihoods over the largest; its log, and their sum."""
    models, k = table.shape
    top, mass = -np.inf, 0.0
    for j in range(models):
        for c in range(k):
            top = max(top, table[j, c])
    for j in range(models):
        for c in range(k):
            table[j, c] = np.exp(table[j, c] - top)
            mass += table[j, c]
    return top, mass


def _kept_slopes(
    residual: Array,
    run: Array,
    sizes: Counts,
    begin: Counts,
    noise_scale: Numbers,
    states: tuple[Array, Array, Array],
    table: Array,
    mass: float,
) -> tuple[Array, Array, float]:
    """Slopes of the points kept.

    With respect to each residual, the probability that each point is kept, and with respect to the
    log of the noise scale.
    """
    n, k, g, models = sizes
    drops, se2, _, white, inverse_scale, carried, scale2 = begin
    _, inverse, dof, half = noise_scale
    innovation, spread, gain = states
    slope = np.zeros(n)  # with respect to the residuals
    kept_by_any = np.zeros(n)
    by_sigma = 0.0
    for j in range(models):
        # Backward through the filter: adjoints of the mean and variance that it hands on.
        to_mean, to_variance = 0.0, 0.0
        kept, c = 0.0, 0  # probability that the model holds and the point is kept
        for i in range(n):
            while c < k and run[drops + c] <= i:
                kept += table[j, c] / mass
                c += 1
            kept_by_any[i] += kept
            by_sigma -= kept
            if j < g:
                unit = inverse * run[inverse_scale + j * n + i]
                known = unit * unit * run[se2 + i]
                noise = run[white + j] + known
                v, s, ratio = innovation[j, i], spread[j, i], gain[j, i]
                phi = run[carried + j * n + i]
                to_ratio = phi * (v * to_mean + phi * noise * to_variance)
                to_v = phi * ratio * to_mean - kept * v / s
                to_s = (0.5 * kept * (v * v / s - 1.0) - to_ratio * ratio) / s
                to_noise = phi * phi * ratio * to_variance + to_s
                to_variance = to_ratio / s + to_s
                to_mean = phi * to_mean - to_v
                slope[i] += unit * to_v
                by_sigma -= unit * residual[i] * to_v + 2.0 * known * to_noise
            else:
                known = inverse * inverse * run[se2 + i]
                s = run[scale2 + (j - g) * n + i] + known
                v = inverse * residual[i]
                z = v * v / (dof * s)
                weight = 2.0 * half * kept / (1.0 + z)
                slope[i] -= weight * inverse * v / (dof * s)
                by_sigma += (weight * z * (s - known) + kept * known) / s
    return slope, kept_by_any, by_sigma


def _add_left_out_slopes(
    slope: Array, kept_by_any: Array, residual: Array, most: int, change: float, width2: float
) -> float:
    """Add the slopes of the points left out to those of the residuals; returns that by change."""
    by_change = 0.0
    for i in range(most):
        left_out = 1.0 - kept_by_any[i]
        z = residual[i] ** 2 / (WARMUP_DOF * width2)
        weight = (WARMUP_DOF + 1.0) * left_out / (1.0 + z)
        slope[i] -= weight * residual[i] / (WARMUP_DOF * width2)
        by_change += (weight * z - left_out) / change
    return by_change


def _add_law_slopes(
    gradient: Array,
    theta: Numbers,
    form: Numbers,
    factors: Numbers,
    run: Array,
    log_d: int,
    slope: Array,
    basis: Array,
    share_of: Array,
) -> None:
    """Add what the residuals hand on to the parameters of the law."""
    _, change, excess, _ = theta
    sign, n_shape, span = form
    amplitude, kappa, whole = factors
    for i in range(slope.size):
        gradient[0] -= slope[i]
        down = -sign * slope[i]
        if n_shape == 2.0:
            far = share_of[i] * basis[i]
            growth = (1.0 + whole * share_of[i]) * run[log_d + i]
            growth -= share_of[i] * span * (1.0 + whole)
            gradient[1] += down * (basis[i] - far)
            gradient[2] += down * (basis[i] - 1.0 + far * change / excess)
            gradient[3] -= down * amplitude * kappa * basis[i] * growth / whole
        else:
            gradient[1] += down * basis[i]
            gradient[2] += down * (basis[i] - 1.0)
            gradient[3] -= down * amplitude * run[log_d + i] * basis[i]


def assemble(
    inlined: Callable[[Callable[..., Any]], Any], compiled: Callable[[Callable[..., Any]], Any]
) -> Callable[[Array, Array], tuple[float, Array]]:
    """Make `log_likelihood` of its steps: `inlined` prepares each of them, `compiled` the whole.

    What numba compiles can only call what it knows, and numba is not to be imported before it is
    needed.
    """
    law, filtered, add_left_out = inlined(_law), inlined(_filtered), inlined(_add_left_out)
    summed, kept_slopes = inlined(_summed), inlined(_kept_slopes)
    add_left_out_slopes, add_law_slopes = inlined(_add_left_out_slopes), inlined(_add_law_slopes)

    def log_likelihood(at: Array, run: Array) -> tuple[float, Array]:
        """Log likelihood with noise models and warm-up choices summed out, and its gradient.

        The same density as `Likelihood.table`.

        Parameters
        ----------
        at : ndarray, shape (5,)
            Value at the last point, change over the data, excess over the limit at the last point,
            alpha, log of the noise scale.
        run : ndarray
            From `pack`.

        Returns
        -------
        value : float
        gradient : ndarray, shape (5,)
        """
        last, change, excess, alpha, log_sigma = at[0], at[1], at[2], at[3], at[4]
        n, k, g, h = int(run[0]), int(run[1]), int(run[2]), int(run[3])
        dof, sign, n_shape, span = run[4], run[5], run[6], run[SPAN]
        models, p = g + h, 3 + int(n_shape)
        # Where the parts of `pack` begin.
        y = HEADER + p + p * p + p * p * p + 4 * p
        log_d = y + n
        drops = log_d + n
        se2 = drops + k
        constant = se2 + n
        white = constant + models * k
        inverse_scale = white + g
        carried = inverse_scale + g * n
        scale2 = carried + g * n
        sizes = (n, k, g, models)
        begin = (drops, se2, constant, white, inverse_scale, carried, scale2)
        noise_scale = (log_sigma, np.exp(-log_sigma), dof, 0.5 * (dof + 1.0))
        width2 = (WARMUP_SCALE * change) ** 2
        theta, form = (last, change, excess, alpha), (sign, n_shape, span)
        factors = (change + excess, np.log1p(change / excess), np.expm1(alpha * span))
        most = int(run[drops + k - 1])

        residual, basis, share_of = law(theta, form, factors, run, y, log_d)
        table, innovation, spread, gain = filtered(residual, run, sizes, begin, noise_scale)
        add_left_out(table, residual, run, drops, width2)
        top, mass = summed(table)

        states = (innovation, spread, gain)
        slope, kept_by_any, by_sigma = kept_slopes(
            residual, run, sizes, begin, noise_scale, states, table, mass
        )
        by_change = add_left_out_slopes(slope, kept_by_any, residual, most, change, width2)
        gradient = np.zeros(5)
        gradient[1], gradient[4] = by_change, by_sigma
        add_law_slopes(gradient, theta, form, factors, run, log_d, slope, basis, share_of)
        return top + np.log(mass), gradient

    return compiled(log_likelihood)  # type: ignore[no-any-return]


log_likelihood = assemble(lambda step: step, lambda whole: whole)
"""Log likelihood and its gradient in plain Python, see `assemble`."""
