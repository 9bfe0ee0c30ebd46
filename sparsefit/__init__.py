"""Fit and forecast the laws of activation sparsity from training checkpoints.

Importing this package loads nothing heavy: every public name is imported where it is first used.

>>> import sparsefit as sf
>>> fit = sf.fit(sf.read_table("points.csv"))  # doctest: +SKIP
>>> fit.limit()  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# A checkout keeps collectors/ and data/ beside this folder, an installation below it. With both
# found, `python` started in the checkout works with either kind of installation.
if not os.path.isdir(os.path.join(__path__[0], "data")):  # noqa: PTH112, PTH118 (cheaper than pathlib)
    __path__.append(os.path.dirname(os.path.abspath(__path__[0])))  # noqa: PTH100, PTH120

# name -> module that defines it. One line a name: this table is the public interface.
_EXPORTS: dict[str, str] = {
    "fit": "sparsefit.fitting",
    "fit_bayes": "sparsefit.bayes.api",
    "load_fit": "sparsefit.results.serialize",
    "Fit": "sparsefit.results.fit",
    "Fits": "sparsefit.results.fits",
    "as_fits": "sparsefit.results.fits",
    "Limit": "sparsefit.results.estimates",
    "Budget": "sparsefit.results.estimates",
    "BayesFit": "sparsefit.bayes",
    "PooledFits": "sparsefit.bayes",
    "ScaleForecast": "sparsefit.bayes",
    "read_table": "sparsefit.table",
    "write_table": "sparsefit.table",
    "validate": "sparsefit.table",
    "fit_width_depth": "sparsefit.width_depth",
    "BreakpointFit": "sparsefit.width_depth",
    "backtest": "sparsefit.backtesting",
    "Backtest": "sparsefit.backtesting",
    "register_method": "sparsefit.backtesting",
    "compare": "sparsefit.backtesting",
    "Comparison": "sparsefit.backtesting",
    "forecast_best": "sparsefit.backtesting",
    "BestForecast": "sparsefit.backtesting",
    "report": "sparsefit.reporting",
}
_MODULES = ("backtesting", "bayes", "datasets", "errors", "laws", "plots", "width_depth")

__all__ = sorted([*_EXPORTS, *_MODULES, "__version__"])

if TYPE_CHECKING:
    from sparsefit import backtesting, bayes, datasets, errors, laws, plots, width_depth
    from sparsefit.backtesting import (
        Backtest,
        BestForecast,
        Comparison,
        backtest,
        compare,
        forecast_best,
        register_method,
    )
    from sparsefit.bayes import BayesFit, PooledFits, ScaleForecast, fit_bayes
    from sparsefit.fitting import fit
    from sparsefit.reporting import report
    from sparsefit.results.estimates import Budget, Limit
    from sparsefit.results.fit import Fit
    from sparsefit.results.fits import Fits, as_fits
    from sparsefit.results.serialize import load_fit
    from sparsefit.table import read_table, validate, write_table
    from sparsefit.width_depth import BreakpointFit, fit_width_depth


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        value = getattr(importlib.import_module(_EXPORTS[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"sparsefit.{name}")
    else:
        raise AttributeError(f"module 'sparsefit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
