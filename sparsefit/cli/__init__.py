"""The ``sparsefit`` command.

Each command lives in its own module with two functions, ``add_arguments(parser)`` and
``run(arguments) -> int``; nothing heavy is imported before ``run``. Exit status: 0 done, 1 a typed
sparsefit error or one of the file system (message on standard error), 2 wrong usage, 3 done in part
(some rows failed), 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
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
    _prepare_streams()
    words = list(sys.argv[1:] if argv is None else argv)
    # Only the options --help and --version can stand before the command.
    command = next((word for word in words if not word.startswith("-")), None)
    name = f"sparsefit {command}" if command in COMMANDS else "sparsefit"
    try:
        parser = build_parser(only=command)
        if not words:
            parser.print_help(sys.stderr)
            return 2
        arguments = parser.parse_args(words)
        status = int(importlib.import_module(COMMANDS[arguments.command][0]).run(arguments) or 0)
        # What cannot be written shows here, not after the exit status is decided.
        sys.stdout.flush()
        return status
    except SparsefitError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (head, less) has gone: not an error of ours.
        _drop_output()
        return 0
    except OSError as error:
        if error.errno is None:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"{name}: {where}{error.strerror}", file=sys.stderr)
        _drop_output()
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130


def _prepare_streams() -> None:
    """Make standard output and error writable: closed ones lead nowhere.

    A run's name may hold letters that the encoding of the output lacks: they are escaped.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _drop_output() -> None:
    """Send what is still in the buffer of standard output nowhere: the exit would fail on it."""
    # Where standard output is an object of Python's there is no such buffer.
    with contextlib.suppress(io.UnsupportedOperation, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
