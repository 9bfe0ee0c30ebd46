"""How a command fits its runs: law, warm-up, and the choices of ``--method``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    from sparsefit.fitting import RunData
    from sparsefit.results.fit import Fit

METHODS = ("fit", "bayes", "pooled")
STACKED = "best"


@dataclass(frozen=True)
class FitOptions:
    """Options that decide how a run is fitted, as `sf.fit` and `sf.fit_bayes` take them.

    Attributes
    ----------
    law, warmup, response, robust
        See `sf.fit`.
    method : {"fit", "bayes", "pooled", "best"}
        `sf.fit`, `sf.fit_bayes`, `sf.fit_bayes` pooled over the runs of one activation, or
        `sf.forecast_best`, which `cli.stacked` calls.
    seed : int
        Seed of the draws.
    """

    law: str = "auto"
    warmup: str | float | None = "auto"
    response: str = "activation_ratio"
    method: str = "fit"
    robust: bool = False
    seed: int = 0


def add_method(parser: argparse.ArgumentParser, *, stacked: bool = False) -> None:
    """Declare ``--method``; `stacked` offers ``best``, which fits no law, as well."""
    best = "; best: sf.forecast_best, methods weighted by a backtest on these runs"
    parser.add_argument(
        "--method",
        choices=(*METHODS, STACKED) if stacked else METHODS,
        default="fit",
        help="fit: sf.fit; bayes: sf.fit_bayes, each run alone; pooled: the runs of one activation "
        f"learn from each other by their n_params{best if stacked else ''} (default: fit)",
    )


def fitter(options: FitOptions) -> Callable[[RunData], Fit]:
    """Return the function that fits one run alone.

    Raises
    ------
    ArgumentError
        For options that exclude each other.
    """
    law, warmup, response = options.law, options.warmup, options.response
    if options.method == "fit":
        from sparsefit.fitting import fit_run

        return lambda data: fit_run(data, law, warmup, response, options.robust, options.seed)
    if options.robust:
        raise ArgumentError(
            f"--robust works only with --method fit: --method {options.method} already averages "
            "over noise with heavy tails"
        )
    from sparsefit.bayes.api import fit_run_bayes
    from sparsefit.bayes.engine import DRAWS

    return lambda data: fit_run_bayes(
        data, law, warmup, response, "auto", None, "auto", options.seed, DRAWS
    )


def together(fits: dict[str, Fit], wanted: list[str], options: FitOptions) -> dict[str, Fit]:
    """Return the fits of the runs wanted; with ``--method pooled`` each learns from the others."""
    asked = [run for run in fits if run in wanted]
    if options.method != "pooled":
        return {run: fits[run] for run in asked}
    from sparsefit.bayes.pooling import pool_fits

    return dict(pool_fits(fits, ("n_params",), options.seed, only=asked))  # type: ignore[arg-type]
