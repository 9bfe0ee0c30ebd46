"""``sparsefit fit``: fit the law of each run and print its coefficients."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from sparsefit.cli import describe, fitting
from sparsefit.cli.printing import print_json
from sparsefit.counts import count_text
from sparsefit.records import records

if TYPE_CHECKING:
    from sparsefit.results.fit import Fit


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    fitting.add_fit_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Fit and print; 3 where some runs cannot be fitted."""
    outcome = fitting.fit_files(arguments)
    fitting.save(outcome, arguments)
    if arguments.out:
        from sparsefit.cli.figure import write_panels

        write_panels(outcome.fits, arguments.out, level=arguments.level, held_out=outcome.later)
    if arguments.json:
        runs = [
            {
                **describe.run_document(fit, arguments.level),
                "equation": fit.law.equation,
                "coefficients": fit.tidy(arguments.level).drop(columns=["run", "law"]),
            }
            for fit in outcome.fits.values()
        ]
        print_json({"runs": runs, "failed": outcome.failed, "level": arguments.level})
    else:
        print("\n\n".join(_text(fit, arguments.level) for fit in outcome.fits.values()))
    fitting.report_side(outcome, arguments)
    return outcome.status


def _text(fit: Fit, level: float) -> str:
    lines = [
        describe.head_line(fit),
        f"  {describe.limit_sentence(fit.limit(level))}",
        f"  {fit.law.equation}, D in billions of tokens; {_warmup(fit)}",
        f"    {'':<7}{'estimate':>12}{'std error':>12}{f'{100 * level:g}% from':>12}{'to':>12}",
    ]
    for row in records(fit.tidy(level)):
        cells = (row.estimate, row.std_error, row.lower, row.upper)
        lines.append(f"    {row.term:<7}" + "".join(f"{_number(cell):>12}" for cell in cells))
    return "\n".join([*lines, *describe.note_lines(fit)])


def _number(value: float) -> str:
    return f"{value:.4g}" if value == value else "-"


def _warmup(fit: Fit) -> str:
    if not fit.n_warmup:
        return "no warm-up point left out"
    points = "point" if fit.n_warmup == 1 else f"{fit.n_warmup} points"
    last = count_text(fit.tokens[fit.n_warmup - 1])
    return f"first {points} left out as warm-up (to {last} tokens)"
