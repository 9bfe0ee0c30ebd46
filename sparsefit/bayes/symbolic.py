"""The posterior as a PyMC model: the same density as `importance.Model`, for NUTS.

Everything that changes from run to run is `pm.Data`, so that one compiled model serves all runs
and likelihoods of a law and a set of priors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsefit.bayes.distributions import Distribution, Exponential, LogNormal, Normal, Uniform
from sparsefit.bayes.importance import Model
from sparsefit.bayes.likelihood_op import SPAN
from sparsefit.bayes.nuts_groups import MOST
from sparsefit.bayes.operations import likelihood_operation, map_operation
from sparsefit.bayes.priors import KAPPA_BOUNDS, SIGMA_FLOOR, last_range

Array = NDArray[np.float64]


def build(model: Model, run: Array) -> Any:
    """PyMC model of a run's posterior in the whitened coordinates ``v`` (see `nuts_groups`).

    Its deterministic variables are, for each group of noise models, the coordinates ``x`` that the
    group's map makes of ``v`` (see `nuts_coordinates`) and its ``log_term`` of the density.

    Parameters
    ----------
    model : Model
        Law and priors; points and noise models only enter through `run`.
    run : ndarray
        From `nuts_groups.pack_groups`; ``pm.Data``, to be replaced for other runs.
    """
    import pymc as pm
    import pytensor.tensor as pt

    law, priors = model.law, model.priors
    with pm.Model() as built:
        p = 3 + law.n_shape
        d = pm.Data("run", run)
        v = pm.Flat("v", shape=p)
        rows, prior, _, _ = map_operation()(v, d)
        x = rows.T
        low, high = last_range(law)
        last = low + (high - low) * pt.sigmoid(x[0])
        room = high - last if law.sign > 0 else last - low
        change = room * pt.sigmoid(x[1])
        floor = SIGMA_FLOOR[law.response]
        log_sigma = np.log(floor) + pt.softplus(x[-1])
        sigma = pt.exp(log_sigma)
        total = d[MOST + SPAN]
        # Densities of last and change over their logits.
        prior += _log_within(priors.last, last, low, high)
        prior += pt.log(last - low) + pt.log(high - last) - np.log(high - low)
        prior += _log_within(priors.change, change, 0.0, room)
        prior += pt.log(change) + pt.log(room - change) - pt.log(room)
        prior += _log_density(priors.sigma, sigma) + log_sigma - pt.softplus(-x[-1])
        prior -= pt.log1p(-_cdf(priors.sigma, floor))
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
        else:
            excess = change / pt.expm1(alpha * total)
        at = pt.stack([last, change, excess, alpha, log_sigma], axis=1)
        found, _ = likelihood_operation()(at, d)
        pm.Deterministic("x", rows)
        term = pm.Deterministic("log_term", prior + found)
        pm.Potential("log_density", pt.logsumexp(term))
    return built


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
