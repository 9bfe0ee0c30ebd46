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

from sparsefit.bayes.importance import Model
from sparsefit.bayes.likelihood import student_log_density
from sparsefit.bayes.nuts_map import Map
from sparsefit.bayes.priors import WARMUP_DOF, WARMUP_SCALE
from sparsefit.laws.base import span_ratio

Array = NDArray[np.float64]
Numbers = tuple[float, ...]
Counts = tuple[int, ...]

HEADER = 9
"""Numbers in front of the map of the coordinates, see `pack`."""
SPAN = 7
"""Index of log(last D / first D)."""

# Few enough factors that their product neither overflows nor vanishes.
_LOG_EVERY = 4
# Log of a share that is lost when it is added to one.
_NOTHING = -40.0
# Log density of a standard Student-t at 0, for points left out.
_EARLY = float(student_log_density(0.0, WARMUP_DOF))


def pack(model: Model, coordinates: Map) -> Array:
    """All data of a run in one array: every further array costs a third of a second to compile.

    In this order: number of points n, of warm-up choices k, of Gaussian models g and of Student-t
    models h, their degrees of freedom, sign and number of shapes of the law, log(last D / first D),
    where what `log_likelihood` reads first begins; the map of the coordinates; and the rest.
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
    constant += [np.log(m.prior) + student_log_density(0.0, m.rho) * kept for m in heavy]
    dof = heavy[0].rho if heavy else 1.0
    head = (n, model.drops.size, len(normal), len(heavy), dof)
    begin = HEADER + coordinates.flat.size
    parts: list[Any] = [head, (model.law.sign, model.law.n_shape, span_ratio(points.span), begin)]
    parts += [coordinates.flat, points.y, np.log(d / d[0]), model.drops]
    parts += [np.zeros(n) if likelihood.se is None else likelihood.se**2]
    parts += [_by_point(constant, model.drops.size)]
    parts += [[m.white_share for m in normal], _by_point([1.0 / scale for scale in scales], n)]
    # The correlation of the first point with the one before it is never used.
    parts += [_by_point([np.append(0.0, m.carried(points)) for m in normal], n)]
    parts += [_by_point([m.scale(d, d[-1]) ** 2 for m in heavy], n)]
    return np.concatenate([np.ravel(np.asarray(part, dtype=float)) for part in parts])


def _by_point(of_models: list[Array], n: int) -> Array:
    """Arrays of n numbers a model, as rows of one number a model: what a filter reads at once."""
    return np.asarray(of_models, dtype=float).reshape(len(of_models), n).T


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
    """Log likelihood of the points kept, by warm-up choice and model, and the filter's states.

    Points are filtered from last to first, as in `markov.filtered_log_likelihood`, so that one pass
    serves all warm-up choices. Innermost are the models, which do not wait for each other.
    """
    n, k, g, models = sizes
    drops, se2, constant, white, inverse_scale, carried, scale2 = begin
    log_sigma, inverse, dof, half = noise_scale
    h = models - g
    table = np.empty((k, models))
    innovation, precision, gain = np.empty((n, g)), np.empty((n, g)), np.empty((n, g))
    mean, variance = np.zeros(g), 1.0 - run[white : white + g]
    total, product, tails = np.zeros(models), np.ones(models), np.ones(h)
    most = int(run[drops + k - 1])
    c = k - 1
    for i in range(n - 1, -1, -1):
        scaled, known = inverse * residual[i], inverse * inverse * run[se2 + i]
        of_scale, of_phi = inverse_scale + i * g, carried + i * g
        for j in range(g):
            unit, share, phi = run[of_scale + j], run[white + j], run[of_phi + j]
            noise = share + unit * unit * known
            v = unit * scaled - mean[j]
            s = variance[j] + noise
            inverse_s = 1.0 / s
            ratio = variance[j] * inverse_s
            innovation[i, j], precision[i, j], gain[i, j] = v, inverse_s, ratio
            total[j] -= 0.5 * v * v * inverse_s
            product[j] *= s
            mean[j] = phi * (mean[j] + ratio * v)
            variance[j] = phi * phi * ratio * noise + (1.0 - phi * phi) * (1.0 - share)
        for j in range(h):
            s = run[scale2 + i * h + j] + known
            tails[j] *= 1.0 + scaled * scaled / (dof * s)
            product[g + j] *= s
        if i <= most or i % _LOG_EVERY == 0:
            for j in range(models):
                total[j] -= 0.5 * np.log(product[j])
                product[j] = 1.0
            for j in range(h):
                total[g + j] -= half * np.log(tails[j])
                tails[j] = 1.0
        if c >= 0 and run[drops + c] == i:
            for j in range(models):
                table[c, j] = run[constant + c * models + j] + total[j] - (n - i) * log_sigma
            c -= 1
    return table, innovation, precision, gain


def _add_left_out(table: Array, residual: Array, run: Array, drops: int, width2: float) -> None:
    """Add to each warm-up choice the log likelihood of the points that it leaves out."""
    k, models = table.shape
    early = 0.0
    c = 0
    for i in range(int(run[drops + k - 1]) + 1):
        if run[drops + c] == i:
            for j in range(models):
                table[c, j] += early
            c += 1
        early -= 0.5 * (WARMUP_DOF + 1.0) * np.log1p(residual[i] ** 2 / (WARMUP_DOF * width2))
        early += _EARLY - 0.5 * np.log(width2)


def _summed(table: Array) -> tuple[float, float]:
    """Turn log likelihoods into likelihoods over the largest; its log, and their sum."""
    k, models = table.shape
    top, mass = -np.inf, 0.0
    for c in range(k):
        for j in range(models):
            top = max(top, table[c, j])
    for c in range(k):
        for j in range(models):
            # What adds nothing to the sum in double precision is not worth an exponential.
            below = table[c, j] - top
            table[c, j] = np.exp(below) if below > _NOTHING else 0.0
            mass += table[c, j]
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
    innovation, precision, gain = states
    h = models - g
    slope = np.zeros(n)  # with respect to the residuals
    kept_by_any = np.zeros(n)
    by_sigma = 0.0
    # Backward through the filter: adjoints of the mean and variance that it hands on.
    to_mean, to_variance = np.zeros(g), np.zeros(g)
    kept = np.zeros(models)  # probability that the model holds and the point is kept
    c = 0
    for i in range(n):
        while c < k and run[drops + c] <= i:
            for j in range(models):
                kept[j] += table[c, j] / mass
            c += 1
        for j in range(models):
            kept_by_any[i] += kept[j]
        by_sigma -= kept_by_any[i]
        known_all = inverse * inverse * run[se2 + i]
        of_scale, of_phi = inverse_scale + i * g, carried + i * g
        by_residual = 0.0
        for j in range(g):
            unit, phi = run[of_scale + j], run[of_phi + j]
            known = unit * unit * known_all
            noise = run[white + j] + known
            v, inverse_s, ratio = innovation[i, j], precision[i, j], gain[i, j]
            to_ratio = phi * (v * to_mean[j] + phi * noise * to_variance[j])
            to_v = phi * ratio * to_mean[j] - kept[j] * v * inverse_s
            to_s = (0.5 * kept[j] * (v * v * inverse_s - 1.0) - to_ratio * ratio) * inverse_s
            to_noise = phi * phi * ratio * to_variance[j] + to_s
            to_variance[j] = to_ratio * inverse_s + to_s
            to_mean[j] = phi * to_mean[j] - to_v
            by_residual += inverse * unit * to_v
            by_sigma -= inverse * unit * residual[i] * to_v + 2.0 * known * to_noise
        v = inverse * residual[i]
        for j in range(h):
            s = run[scale2 + i * h + j] + known_all
            z = v * v / (dof * s)
            weight = 2.0 * half * kept[g + j] / (1.0 + z)
            by_residual -= weight * inverse * v / (dof * s)
            by_sigma += (weight * z * (s - known_all) + kept[g + j] * known_all) / s
        slope[i] = by_residual
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
        models = g + h
        # Where the parts of `pack` begin.
        y = int(run[8])
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
        table, innovation, precision, gain = filtered(residual, run, sizes, begin, noise_scale)
        add_left_out(table, residual, run, drops, width2)
        top, mass = summed(table)

        states = (innovation, precision, gain)
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
