"""``sparsefit forecast``: limit, forecast and token budget of each run."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sparsefit.cli import describe, fitting, values
from sparsefit.cli.methods import STACKED
from sparsefit.cli.printing import print_json
from sparsefit.cli.targets import add_targets, check_targets
from sparsefit.counts import count_text
from sparsefit.records import records

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.results.estimates import Budget
    from sparsefit.results.fit import Fit

# Without --at: these multiples of the tokens that each run has seen.
MULTIPLES = (2.0, 4.0, 10.0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    fitting.add_fit_arguments(parser, stacked=True)
    parser.add_argument(
        "--at",
        action="append",
        type=values.token_count,
        metavar="TOKENS",
        help="forecast at this token count, such as 2e12 or 2T (repeatable; default: 2, 4 and 10 "
        "times the tokens seen)",
    )
    add_targets(parser)
    parser.add_argument(
        "--within",
        action="append",
        type=values.fraction,
        default=[],
        metavar="SHARE",
        help="tokens until the curve is within this share of its limit, such as 0.01 (repeatable)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Fit, forecast and print; 3 where some runs cannot be fitted."""
    if arguments.method == STACKED:
        from sparsefit.cli import stacked

        return stacked.run(arguments)
    check_targets(arguments)
    outcome = fitting.fit_files(arguments)
    fitting.save(outcome, arguments)
    if arguments.out:
        from sparsefit.cli.figure import write_panels

        until = max(arguments.at) if arguments.at else None
        write_panels(
            outcome.fits,
            arguments.out,
            until=until,
            level=arguments.level,
            held_out=outcome.later,
        )
    if arguments.json:
        print_json(
            {
                "level": arguments.level,
                "at": "as asked for" if arguments.at else default_at(),
                "runs": [_document(fit, arguments) for fit in outcome.fits.values()],
                "failed": outcome.failed,
            }
        )
    else:
        if not arguments.at:
            print(f"No --at given: forecasts at {default_at()}.\n")
        print("\n\n".join(_text(fit, arguments) for fit in outcome.fits.values()))
    fitting.report_side(outcome, arguments)
    return outcome.status


def default_at() -> str:
    """Where forecasts are made without --at, in words."""
    return "2, 4 and 10 times the tokens that each run has seen"


def forecast_table(fit: Fit, arguments: argparse.Namespace) -> pd.DataFrame:
    """Forecast at the token counts asked for, else at multiples of those seen."""
    return fit.forecast(counts_at(float(fit.tokens[-1]), arguments), arguments.level)


def counts_at(seen: float, arguments: argparse.Namespace) -> list[float]:
    """Token counts asked for, else multiples of those seen."""
    return arguments.at or [factor * seen for factor in MULTIPLES]


def budgets(fit: Fit, arguments: argparse.Namespace) -> list[Budget]:
    """Answer every target asked for."""
    level = arguments.level
    return [
        *(fit.tokens_to(sparsity=value, level=level) for value in arguments.target_sparsity),
        *(
            fit.tokens_to(activation_ratio=value, level=level)
            for value in arguments.target_activation
        ),
        *(fit.tokens_to(loss=value, level=level) for value in arguments.target_loss),
        *(fit.tokens_within(share, level) for share in arguments.within),
    ]


def _document(fit: Fit, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        **describe.run_document(fit, arguments.level),
        "forecast": forecast_table(fit, arguments),
        "budgets": [budget.to_dict() for budget in budgets(fit, arguments)],
    }


def _text(fit: Fit, arguments: argparse.Namespace) -> str:
    level = arguments.level
    lines = [describe.head_line(fit), f"  {describe.limit_sentence(fit.limit(level))}"]
    lines += [f"  {budget.sentence}" for budget in budgets(fit, arguments)]
    if fit.misfit:
        lines.append(
            "  Do not use these forecasts: the law does not describe this run (see notes)."
        )
        lines += _hints(fit)
    ratio = fit.response == "activation_ratio"
    lines += forecast_lines(forecast_table(fit, arguments), float(fit.tokens[-1]), level, ratio)
    return "\n".join([*lines, *describe.note_lines(fit)])


def _hints(fit: Fit) -> list[str]:
    """What may have gone wrong where a run goes the other way than its law."""
    y = fit.points.y
    against = fit.law.sign * (y[-1] - y[0]) > 0
    if fit.response != "activation_ratio" or not against or y.min() <= 0.5:
        return []
    way = "rise" if fit.law.sign > 0 else "fall"
    return [f"  These ratios are above 0.5 and {way}: are they sparsities (1 - activation ratio)?"]


def forecast_lines(table: pd.DataFrame, seen: float, level: float, ratio: bool = True) -> list[str]:
    """Format a forecast as lines of text; `ratio` says that it is no loss."""
    percent = f"{100 * level:g}%"
    head = f"    {'tokens':>8} {'':>7} {'activation' if ratio else 'loss':>10}"
    head += f"  {'curve, ' + percent:<16}  {'measurement, ' + percent:<16}"
    lines = [head + ("  sparsity" if ratio else "")]
    for row in records(table):
        factor = f"({row.tokens / seen:.3g}x)"
        curve = f"{row.curve_lower:.4f} to {row.curve_upper:.4f}"
        new = f"{row.obs_lower:.4f} to {row.obs_upper:.4f}"
        line = f"    {count_text(row.tokens):>8} {factor:>7} {row.median:>10.4f}"
        line += f"  {curve:<16}  {new:<16}"
        lines.append(line + (f"  {1 - row.median:.4f}" if ratio else ""))
    return lines
