"""The ``sparsefit`` command.

Each command lives in its own module with two functions, ``add_arguments(parser)`` and
``run(arguments) -> int``; nothing heavy is imported before ``run``. Exit status: 0 done, 1 a typed
sparsefit error (message on standard error), 2 wrong usage, 3 done in part (some rows failed).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from sparsefit import __version__
from sparsefit.errors import SparsefitError

# command -> (module, one-line help). The order is the order of `sparsefit --help`.
COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("sparsefit.cli.demo", "forecast a shipped run from its first checkpoints"),
    "validate": ("sparsefit.cli.validate", "check measurement tables and list every fault"),
    "fit": ("sparsefit.cli.fit", "fit the law of each run and print its coefficients"),
    "forecast": ("sparsefit.cli.forecast", "limit, forecast and token budget of each run"),
    "compare": ("sparsefit.cli.compare", "compare laws and fits by evidence"),
    "backtest": ("sparsefit.cli.backtest", "score forecasting methods on held-out checkpoints"),
    "measure": ("sparsefit.cli.measure", "measure activation sparsity over checkpoints"),
    "width-depth": ("sparsefit.cli.width_depth", "fit the width-depth law and its breakpoint"),
    "report": ("sparsefit.cli.report", "write a self-contained HTML report"),
}


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Build the parser; with `only`, load no other command's module than that one."""
    parser = argparse.ArgumentParser(
        prog="sparsefit",
        description="Fit and forecast the laws of activation sparsity from training checkpoints.",
    )
    parser.add_argument("--version", action="version", version=f"sparsefit {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name == only:
            importlib.import_module(module).add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    # Only the options --help and --version can stand before the command.
    command = next((word for word in words if not word.startswith("-")), None)
    arguments = build_parser(only=command).parse_args(words)
    module = importlib.import_module(COMMANDS[arguments.command][0])
    try:
        return int(module.run(arguments) or 0)
    except SparsefitError as error:
        print(f"sparsefit {arguments.command}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (head, less) has gone: not an error of ours.
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        print(f"sparsefit {arguments.command}: interrupted", file=sys.stderr)
        return 130
