"""Bayesian fits of the laws: priors, likelihoods, engines, pooling across scales."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_EXPORTS: dict[str, str] = {
    "BayesFit": "sparsefit.bayes.result",
    "Exponential": "sparsefit.bayes.distributions",
    "LogNormal": "sparsefit.bayes.distributions",
    "Normal": "sparsefit.bayes.distributions",
    "PooledFits": "sparsefit.bayes.pooled_result",
    "Priors": "sparsefit.bayes.priors",
    "ScaleForecast": "sparsefit.bayes.pooled_result",
    "Uniform": "sparsefit.bayes.distributions",
    "default_priors": "sparsefit.bayes.priors",
    "fit_bayes": "sparsefit.bayes.api",
}

__all__ = [
    "BayesFit",
    "Exponential",
    "LogNormal",
    "Normal",
    "PooledFits",
    "Priors",
    "ScaleForecast",
    "Uniform",
    "default_priors",
    "fit_bayes",
]

if TYPE_CHECKING:
    from sparsefit.bayes.api import fit_bayes
    from sparsefit.bayes.distributions import Exponential, LogNormal, Normal, Uniform
    from sparsefit.bayes.pooled_result import PooledFits, ScaleForecast
    from sparsefit.bayes.priors import Priors, default_priors
    from sparsefit.bayes.result import BayesFit


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'sparsefit.bayes' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
