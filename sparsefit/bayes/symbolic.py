"""The posterior as a PyMC model: the same density as `importance.Model`, for NUTS.

Everything that changes from run to run is `pm.Data`, so that one compiled model serves all runs of
a law, a likelihood and a family of priors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from scipy.special import gammaln

from sparsefit.bayes.distributions import Distribution, Exponential, LogNormal, Normal, Uniform
from sparsefit.bayes.importance import Model
from sparsefit.bayes.priors import (
    KAPPA_BOUNDS,
    SIGMA_FLOOR,
    WARMUP_DOF,
    WARMUP_SCALE,
    last_range,
)
from sparsefit.laws.base import span_ratio

Array = NDArray[np.float64]


def model_data(model: Model, centre: Array, root: Array) -> dict[str, Array]:
    """Arrays of one run: see `build`."""
    points, likelihood = model.points, model.likelihood
    n = len(points)
    gaussian = [j for j, m in enumerate(likelihood.noises) if m.kind != "student_t"]
    heavy = [j for j, m in enumerate(likelihood.noises) if m.kind == "student_t"]
    most = int(model.drops.max())
    data: dict[str, Array] = {
        "y": points.y,
        "log_d": np.log(points.d / points.d[0]),
        "span": np.array([span_ratio(points.span)]),
        "kept": (n - model.drops).astype(float),
        "kept_row": (n - model.drops - 1).astype("int64"),
        "drop_row": model.drops.astype("int64"),
        "early": np.arange(most, dtype="int64"),
        "centre": centre,
        "root": root,
        "models": np.log([likelihood.noises[j].prior for j in gaussian + heavy]),
    }
    if gaussian and likelihood.se is None:
        factors = [likelihood.factor(j) for j in gaussian]
        data["inverse"] = np.stack([inverse for inverse, _ in factors])
        data["log_det"] = np.stack([d[n - model.drops - 1] for _, d in factors])
    elif gaussian:
        data.update(_with_errors(model, gaussian))
    if heavy:
        last = float(points.d[-1])
        data["scale"] = np.stack([likelihood.noises[j].scale(points.d, last) for j in heavy])
        if likelihood.se is not None:
            data["se"] = likelihood.se
    return data


def _with_errors(model: Model, gaussian: list[int]) -> dict[str, Array]:
    """Generalised eigenvectors of known errors against each noise model, padded to all points."""
    points, likelihood = model.points, model.likelihood
    assert likelihood.se is not None
    n = len(points)
    shape = (len(gaussian), model.drops.size, n)
    vectors, values, kept = np.zeros((*shape, n)), np.ones(shape), np.zeros(shape)
    log_det = np.zeros(shape[:2])
    for i, j in enumerate(gaussian):
        covariance = likelihood.noises[j].covariance(
            points.d, float(points.d[-1]), points.step, None
        )
        for a, k in enumerate(model.drops):
            found, matrix = eigh(np.diag(likelihood.se[k:] ** 2), covariance[k:, k:])
            vectors[i, a, k:, k:] = matrix.T
            values[i, a, k:] = np.maximum(found, 0.0)
            kept[i, a, k:] = 1.0
            log_det[i, a] = np.linalg.slogdet(covariance[k:, k:])[1]
    return {"vectors": vectors, "values": values, "kept_mask": kept, "log_det": log_det}


def build(model: Model, data: dict[str, Array]) -> Any:
    """PyMC model of a run's posterior in the whitened coordinates ``v`` (see `nuts_coordinates`).

    Parameters
    ----------
    model : Model
        Law, priors and noise models; its points only enter through `data`.
    data : dict
        From `model_data`.
    """
    import pymc as pm
    import pytensor.tensor as pt

    law, priors = model.law, model.priors
    with pm.Model() as built:
        d = {name: pm.Data(name, value) for name, value in data.items()}
        v = pm.Flat("v", shape=data["centre"].size)
        x = d["centre"] + d["root"] @ v
        low, high = last_range(law)
        last = low + (high - low) * pt.sigmoid(x[0])
        room = high - last if law.sign > 0 else last - low
        change = room * pt.sigmoid(x[1])
        log_sigma = x[-1]
        sigma = pt.exp(log_sigma)
        total = d["span"][0]
        # Densities of last and change over their logits.
        prior = _log_within(priors.last, last, low, high)
        prior += pt.log(last - low) + pt.log(high - last) - np.log(high - low)
        prior += _log_within(priors.change, change, 0.0, room)
        prior += pt.log(change) + pt.log(room - change) - pt.log(room)
        floor = SIGMA_FLOOR[law.response]
        density = _log_density(priors.sigma, sigma) + log_sigma
        density -= pt.log1p(-_cdf(priors.sigma, floor))
        prior += pt.switch(sigma < floor, -np.inf, density)
        prior += -0.5 * x[2] ** 2

        lower, upper = law.alpha_bounds
        limit_low, limit_high = law.limit_bounds
        limit_room = last - limit_low if law.sign > 0 else min(limit_high, 1e6) - last
        if law.n_shape == 1:
            lower = pt.maximum(lower, pt.log1p(change / limit_room) / total)
        alpha = _quantile_within(priors.alpha, _ndtr(x[2]), lower, upper)
        if law.n_shape == 2:
            prior += -0.5 * x[3] ** 2
            least = change / np.expm1(KAPPA_BOUNDS[1])
            most = pt.minimum(limit_room, change / np.expm1(KAPPA_BOUNDS[0]))
            p = _ndtr(x[3])
            if priors.excess == "reference":
                a, b = (2.0 * pt.arcsinh(pt.sqrt(e / change)) for e in (least, most))
                excess = change * pt.sinh((a + p * (b - a)) / 2.0) ** 2
            else:
                excess = least + p * (most - least)
            kappa = pt.log1p(change / excess)
            basis = pt.exp(-kappa * pt.expm1(alpha * d["log_d"]) / pt.expm1(alpha * total))
        else:
            excess = change / pt.expm1(alpha * total)
            basis = pt.exp(-alpha * d["log_d"])
        curve = last - law.sign * excess + law.sign * (change + excess) * basis
        residual = d["y"] - curve
        table = _table(pt, model, d, residual, change, sigma, log_sigma)
        pm.Potential("log_prior", prior)
        pm.Potential("log_likelihood", pt.logsumexp(table + d["models"][:, None]))
        pm.Deterministic("x", x)
        pm.Deterministic("limit", last - law.sign * excess)
        pm.Deterministic("alpha", alpha)
    return built


def _table(pt: Any, model: Model, d: Any, residual: Any, change: Any, sigma: Any, log: Any) -> Any:
    """Log likelihood under each noise model and warm-up choice, as `Likelihood.table`."""
    rows = []
    if "inverse" in d:
        white = pt.tensordot(d["inverse"], residual[::-1], axes=[[2], [0]])
        ssr = pt.cumsum(white**2, axis=1)[:, d["kept_row"]]
        scale = d["kept"] * (np.log(2 * np.pi) + 2 * log)
        rows.append(-0.5 * (scale + d["log_det"] + ssr / sigma**2))
    if "vectors" in d:
        rotated = pt.tensordot(d["vectors"], residual, axes=[[3], [0]])
        variance = sigma**2 + d["values"]
        each = d["kept_mask"] * (pt.log(2 * np.pi * variance) + rotated**2 / variance)
        rows.append(-0.5 * (each.sum(axis=2) + d["log_det"]))
    if "scale" in d:
        dof = next(m.rho for m in model.likelihood.noises if m.kind == "student_t")
        variance = (d["scale"] * sigma) ** 2
        if "se" in d:
            variance = variance + d["se"] ** 2
        each = _student(pt, residual**2 / variance, dof) - 0.5 * pt.log(variance)
        rows.append(pt.cumsum(each[:, ::-1], axis=1)[:, d["kept_row"]])
    width = WARMUP_SCALE * change
    early = _student(pt, (residual[d["early"]] / width) ** 2, WARMUP_DOF) - pt.log(width)
    warmup = pt.concatenate([pt.zeros(1), pt.cumsum(early)])[d["drop_row"]]
    return pt.concatenate(rows, axis=0) + warmup


def _student(pt: Any, square: Any, dof: float) -> Any:
    constant = gammaln((dof + 1) / 2) - gammaln(dof / 2) - 0.5 * np.log(np.pi * dof)
    return constant - (dof + 1) / 2 * pt.log1p(square / dof)


def _ndtr(z: Any) -> Any:
    import pytensor.tensor as pt

    return 0.5 * pt.erfc(-z / np.sqrt(2.0))


def _log_density(prior: Distribution, x: Any) -> Any:
    import pytensor.tensor as pt

    if isinstance(prior, Uniform):
        return pt.zeros_like(x)
    if isinstance(prior, Exponential):
        return -x / prior.mean - np.log(prior.mean)
    if isinstance(prior, LogNormal):
        z = (pt.log(x) - np.log(prior.median)) / prior.sd_log
        return -0.5 * z**2 - pt.log(x) - np.log(prior.sd_log) - 0.5 * np.log(2 * np.pi)
    assert isinstance(prior, Normal)
    z = (x - prior.mean) / prior.sd
    return -0.5 * z**2 - np.log(prior.sd) - 0.5 * np.log(2 * np.pi)


def _cdf(prior: Distribution, x: Any) -> Any:
    import pytensor.tensor as pt

    x = pt.as_tensor_variable(x, dtype="float64")
    if isinstance(prior, Uniform):
        return x
    if isinstance(prior, Exponential):
        return -pt.expm1(-x / prior.mean)
    if isinstance(prior, LogNormal):
        return _ndtr((pt.log(pt.maximum(x, 1e-300)) - np.log(prior.median)) / prior.sd_log)
    assert isinstance(prior, Normal)
    return _ndtr((x - prior.mean) / prior.sd)


def _log_within(prior: Distribution, x: Any, lower: Any, upper: Any) -> Any:
    import pytensor.tensor as pt

    return _log_density(prior, x) - pt.log(_cdf(prior, upper) - _cdf(prior, lower))


def _quantile_within(prior: Distribution, p: Any, lower: Any, upper: Any) -> Any:
    import pytensor.tensor as pt

    low, high = _cdf(prior, lower), _cdf(prior, upper)
    at = low + p * (high - low)
    if isinstance(prior, Uniform):
        return at
    if isinstance(prior, Exponential):
        return -prior.mean * pt.log1p(-at)
    z = np.sqrt(2.0) * pt.erfinv(2.0 * at - 1.0)
    if isinstance(prior, LogNormal):
        return prior.median * pt.exp(prior.sd_log * z)
    assert isinstance(prior, Normal)
    return prior.mean + prior.sd * z
