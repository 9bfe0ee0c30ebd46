"""``sparsefit forecast --method best``: the stacked forecast of each run, and what it rests on."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sparsefit.by_run import each_run
from sparsefit.cli import ending, fitting
from sparsefit.cli.forecast import counts_at, default_at, forecast_lines
from sparsefit.cli.methods import STACKED, FitOptions
from sparsefit.cli.outputs import check_figure, check_file
from sparsefit.cli.printing import print_json, show
from sparsefit.cli.progress import Progress, counter
from sparsefit.counts import count_text
from sparsefit.errors import ArgumentError, FitError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.backtesting import BestForecast
    from sparsefit.backtesting.run_forecast import RunForecast

_LIMIT = "--method fit, bayes or pooled gives the limit of a law."

# Option as parsed, its value where it is not given, and what to do in its place.
_REFUSED: tuple[tuple[str, Any, str], ...] = (
    ("response", "activation_ratio", "it forecasts activation ratios only; use --method fit"),
    ("target_loss", [], "it forecasts activation ratios only; use --method fit --response loss"),
    ("within", [], "it has no limit to come near to; use --method fit, bayes or pooled"),
    ("law", "auto", "its methods take the law of the run's activation; use --method fit"),
    ("warmup", "auto", "each of its methods treats the warm-up in its own way; use --method fit"),
    ("robust", False, "it weights several methods; use --method fit"),
)


def check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that a stacked forecast cannot follow.

    Raises
    ------
    ArgumentError
        Names the option and what to use.
    """
    for name, default, instead in _REFUSED:
        if getattr(arguments, name) != default:
            option = "--" + name.replace("_", "-")
            raise ArgumentError(f"{option} does not go with --method {STACKED}: {instead}")


def run(arguments: argparse.Namespace) -> int:
    """Choose, forecast and print; 3 where some runs cannot be forecast."""
    from sparsefit.backtesting import forecast_best
    from sparsefit.backtesting.run_forecast import NO_LIMIT

    check_options(arguments)
    check_figure("--out", arguments.out)
    check_file("--save-json", arguments.save_json)
    options = FitOptions(method=STACKED, seed=arguments.seed)
    table, notes = fitting.read(arguments.files, arguments.run, options)
    table, later, told = ending.split(table, arguments.before)
    steps = counter("choosing by a backtest, forecasts", jobs=None)
    best = forecast_best(table, rng=arguments.seed, progress=steps)
    wanted = [name for name in best.runs if not arguments.run or name in arguments.run]
    with Progress(len(wanted), "forecasting") as progress:

        def forecast_one(name: str) -> RunForecast:
            progress.step(name)
            return _forecast(best, name, arguments)

        found, failed = each_run(wanted, forecast_one)
    if not found:
        raise FitError("; ".join(failed.values()))
    if arguments.save_json:
        best.to_json(arguments.save_json)
    if arguments.out:
        _draw(best, found, arguments, later)
    if arguments.json:
        print_json(_document(best, found, failed, arguments))
    else:
        show("\n\n".join([f"{best.summary()}\n\n{NO_LIMIT} {_LIMIT}", *_texts(found, arguments)]))
    fitting.say_beside((*told, *notes), failed, "not forecast", arguments, saved="forecast")
    return 3 if failed else 0


def _forecast(best: BestForecast, name: str, arguments: argparse.Namespace) -> RunForecast:
    from sparsefit.backtesting.run_forecast import points_used, run_forecast

    points = points_used(best, name)
    at = counts_at(float(points["tokens"].max()), arguments)
    targets = [("sparsity", value) for value in arguments.target_sparsity]
    targets += [("activation_ratio", value) for value in arguments.target_activation]
    return run_forecast(best, name, points, at, targets, arguments.level)


def _notes(one: RunForecast) -> list[str]:
    return [*((one.fallback,) if one.fallback else ()), *one.notes]


def _draw(
    best: BestForecast,
    found: dict[str, RunForecast],
    arguments: argparse.Namespace,
    later: pd.DataFrame | None,
) -> None:
    from sparsefit import plots
    from sparsefit.cli.figure import panels_of

    last = max(arguments.at) if arguments.at else None
    with Progress(len(found), "drawing") as progress:

        def draw(name: str, panel: Any, legend: bool) -> None:
            progress.step(name)
            # Where the tokens seen are beyond --at, nothing would be forecast: draw the default.
            until = last if last is not None and last > found[name].seen else None
            plots.best_forecast(
                best,
                panel,
                run=name,
                until=until,
                level=arguments.level,
                held_out=later,
                legend=legend,
            )

        panels_of(list(found), draw, arguments.out)


def _document(
    best: BestForecast,
    found: dict[str, RunForecast],
    failed: dict[str, str],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    return {
        "level": arguments.level,
        "at": "as asked for" if arguments.at else default_at(),
        "method": "forecast_best",
        "leader": best.method,
        "why": best.why,
        "weights": best.tidy(),
        "runs": [
            {
                "run": one.run,
                "response": "activation_ratio",
                "n_points": len(one.points),
                "tokens_seen": one.seen,
                "last_measured": float(one.points["activation_ratio"].iloc[-1]),
                "forecast": one.table,
                "budgets": [budget.to_dict() for budget in one.budgets],
                "notes": _notes(one),
            }
            for one in found.values()
        ],
        "failed": failed,
    }


def _texts(found: dict[str, RunForecast], arguments: argparse.Namespace) -> list[str]:
    texts = [_text(one, arguments.level) for one in found.values()]
    return texts if arguments.at else [f"No --at given: forecasts at {default_at()}.", *texts]


def _text(one: RunForecast, level: float) -> str:
    tokens = one.points["tokens"]
    span = f"{count_text(tokens.min())} to {count_text(tokens.max())} tokens"
    last = one.points["activation_ratio"].iloc[-1]
    return "\n".join(
        [
            f"{one.run}: {len(tokens)} checkpoints, {span}, the last at {last:.4f}",
            *(f"  {budget.sentence}" for budget in one.budgets),
            *forecast_lines(one.table, one.seen, level),
            *(f"  note: {note}" for note in _notes(one)),
        ]
    )
