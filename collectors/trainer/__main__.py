"""Command line of the trainer: ``python -m sparsefit.collectors.trainer``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsefit.collectors.extra import needed_for
from sparsefit.collectors.trainer import families
from sparsefit.errors import SparsefitError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sparsefit.collectors.trainer",
        description="Train the reference runs and measure them. Every command can be interrupted "
        "and run again: it continues where it stopped.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    texts = {
        "list": "list the runs of the families",
        "train": "train families, most useful runs first",
        "measure": "measure the trained runs of families and write their tables and cards",
        "reproduce": "train, then measure: any shipped table from nothing",
    }
    for name, text in texts.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.add_argument("families", nargs="+", choices=families.NAMES)
        command.add_argument("--seeds", type=int, nargs="+", help="in place of the family's own")
        command.add_argument("--only", nargs="+", metavar="RUN", help="names of the runs to keep")
        command.add_argument(
            "--max-tokens",
            type=int,
            help="end every run at its last checkpoint within these tokens; later, without it, "
            "the runs are trained further",
        )
        if name == "list":
            command.add_argument("--json", action="store_true")
            continue
        command.add_argument("--out", type=Path, required=True, help="folder of runs and corpus")
        command.add_argument("--threads", type=int, default=1, help="torch threads (default 1)")
        if name != "train":
            command.add_argument("--tables", type=Path, required=True, help="folder for the tables")
    return parser


def _choice(arguments: argparse.Namespace) -> tuple[Any, ...]:
    return arguments.seeds, arguments.max_tokens, arguments.only


def _list(arguments: argparse.Namespace) -> None:
    runs = families.queue(arguments.families, *_choice(arguments))
    if arguments.json:
        rows = [{**spec.to_dict(), "n_params": spec.n_params} for spec in runs]
        print(json.dumps(rows, indent=1))
        return
    for spec in runs:
        print(
            f"{spec.name:24s} N={spec.n_params:>7,} hidden={spec.hidden_size:<3d} "
            f"layers={spec.n_layers:<2d} d_ff={spec.d_ff:<4d} lr={spec.learning_rate:g} "
            f"tokens={spec.n_tokens:>10,} tokens/N={spec.n_tokens / spec.n_params:.0f} "
            f"checkpoints={len(spec.checkpoint_steps())}"
        )


def _train(arguments: argparse.Namespace) -> None:
    from sparsefit.collectors.trainer.corpus import build_corpus
    from sparsefit.collectors.trainer.loop import train

    corpus = build_corpus(arguments.out / "corpus")
    for spec in families.queue(arguments.families, *_choice(arguments)):
        train(
            spec,
            corpus,
            arguments.out,
            threads=arguments.threads,
            report=lambda line: print(line, file=sys.stderr, flush=True),
        )


def _measure(arguments: argparse.Namespace) -> None:
    from sparsefit.collectors.trainer.tables import write_family

    for name in arguments.families:
        chosen = families.family(name, *_choice(arguments))
        options = f" --max-tokens {arguments.max_tokens}" if arguments.max_tokens else ""
        options += f" --only {' '.join(arguments.only)}" if arguments.only else ""
        print(
            write_family(
                chosen,
                arguments.out,
                arguments.tables,
                threads=arguments.threads,
                options=options,
            )
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "list":
            _list(arguments)
        with needed_for("the trainer"):
            if arguments.command in ("train", "reproduce"):
                _train(arguments)
            if arguments.command in ("measure", "reproduce"):
                _measure(arguments)
    except SparsefitError as error:
        print(f"trainer: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
