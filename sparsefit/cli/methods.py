"""``--method``: least squares with averaged intervals, Bayesian, or Bayesian and pooled."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    from sparsefit.fitting import RunData
    from sparsefit.results.fit import Fit

METHODS = ("fit", "bayes", "pooled")


def add_method(parser: argparse.ArgumentParser) -> None:
    """Declare the option."""
    parser.add_argument(
        "--method",
        choices=METHODS,
        default="fit",
        help="fit: sf.fit; bayes: sf.fit_bayes, each run alone; pooled: the runs of one activation "
        "learn from each other by their n_params (default: fit)",
    )


def fitter(arguments: argparse.Namespace, seed: int) -> Callable[[RunData], Fit]:
    """What fits one run alone.

    Raises
    ------
    ArgumentError
        For options that exclude each other.
    """
    law, warmup, response = arguments.law, arguments.warmup, arguments.response
    if arguments.method == "fit":
        from sparsefit.fitting import fit_run

        return lambda data: fit_run(data, law, warmup, response, arguments.robust, seed)
    if arguments.robust:
        raise ArgumentError(
            f"--robust goes with --method fit: --method {arguments.method} averages over noise "
            "with heavy tails by itself"
        )
    from sparsefit.bayes.api import fit_run_bayes
    from sparsefit.bayes.engine import DRAWS

    settings: tuple[Any, ...] = (law, warmup, response, "auto", None, "auto", seed, DRAWS)
    return lambda data: fit_run_bayes(data, *settings)


def together(
    fits: dict[str, Fit], wanted: list[str], arguments: argparse.Namespace, seed: int
) -> dict[str, Fit]:
    """Fits of the runs wanted; with ``--method pooled`` each learns from all the others."""
    asked = [run for run in fits if run in wanted]
    if arguments.method != "pooled":
        return {run: fits[run] for run in asked}
    from sparsefit.bayes.pooling import pool_fits

    return dict(pool_fits(fits, ("n_params",), seed, only=asked))  # type: ignore[arg-type]
