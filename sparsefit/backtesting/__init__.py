"""Compare forecasts on checkpoints that they have not seen."""

from __future__ import annotations

from sparsefit.backtesting.best import forecast_best
from sparsefit.backtesting.comparison import Comparison, compare
from sparsefit.backtesting.forecast import MethodForecast, Predictive
from sparsefit.backtesting.registry import METHODS, Method, register_method
from sparsefit.backtesting.result import Backtest
from sparsefit.backtesting.rolling import backtest
from sparsefit.backtesting.seen import target_of, target_series, with_target
from sparsefit.backtesting.shrinkage import Shrinkage, expected_shrinkage
from sparsefit.backtesting.stacked import BestForecast

__all__ = [
    "METHODS",
    "Backtest",
    "BestForecast",
    "Comparison",
    "Method",
    "MethodForecast",
    "Predictive",
    "Shrinkage",
    "backtest",
    "compare",
    "expected_shrinkage",
    "forecast_best",
    "register_method",
    "target_of",
    "target_series",
    "with_target",
]
