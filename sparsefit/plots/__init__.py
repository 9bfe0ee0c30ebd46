"""Figures of results, drawn on the axes given.

Every plot has the form ``plot(result, ax=None, *, ...)``: it draws on `ax` (a new figure without),
returns the axes, and changes no global setting of matplotlib, which is imported only when a plot is
drawn. A result of another kind, or an option that the plot cannot use, raises `ArgumentError`.

- ``sf.fit`` and ``sf.fit_bayes``, one run or many: `fit`, `runs`, `residuals`,
  `warmup_sensitivity`, `limits`, `derivative`, `budget`
- ``sf.fit_bayes`` only: ``sparsefit.plots.bayes.prior`` (one run) and ``pooled_limits``; of its
  forecast of a size without data (``predict_scale``) `scale_forecast`
- ``sf.backtest``: `error_by_horizon`, `calibration_curve`, `forecast_fan`
- ``sf.forecast_best``: `best_forecast`
- ``sf.compare``: `comparison`
- ``sf.fit_width_depth``: `width_depth`
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# plot -> module that defines it.
_EXPORTS: dict[str, str] = {
    "fit": "sparsefit.plots.fits",
    "runs": "sparsefit.plots.many",
    "residuals": "sparsefit.plots.residual",
    "warmup_sensitivity": "sparsefit.plots.warmup",
    "limits": "sparsefit.plots.forest",
    "derivative": "sparsefit.plots.slope",
    "budget": "sparsefit.plots.target",
    "error_by_horizon": "sparsefit.plots.backtest",
    "calibration_curve": "sparsefit.plots.backtest",
    "forecast_fan": "sparsefit.plots.backtest",
    "best_forecast": "sparsefit.plots.stacked",
    "scale_forecast": "sparsefit.plots.unseen",
    "comparison": "sparsefit.plots.criteria",
    "width_depth": "sparsefit.plots.breakpoints",
}

__all__ = [
    "best_forecast",
    "budget",
    "calibration_curve",
    "comparison",
    "derivative",
    "error_by_horizon",
    "fit",
    "forecast_fan",
    "limits",
    "residuals",
    "runs",
    "scale_forecast",
    "warmup_sensitivity",
    "width_depth",
]

if TYPE_CHECKING:
    from sparsefit.plots.backtest import calibration_curve, error_by_horizon, forecast_fan
    from sparsefit.plots.breakpoints import width_depth
    from sparsefit.plots.criteria import comparison
    from sparsefit.plots.fits import fit
    from sparsefit.plots.forest import limits
    from sparsefit.plots.many import runs
    from sparsefit.plots.residual import residuals
    from sparsefit.plots.slope import derivative
    from sparsefit.plots.stacked import best_forecast
    from sparsefit.plots.target import budget
    from sparsefit.plots.unseen import scale_forecast
    from sparsefit.plots.warmup import warmup_sensitivity


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(
            f"module 'sparsefit.plots' has no attribute {name!r}; plots: {', '.join(__all__)}"
        )
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return list(__all__)
