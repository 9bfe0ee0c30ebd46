"""``--target-sparsity``, ``--target-activation`` and ``--target-loss``: token budgets to give."""

from __future__ import annotations

import argparse

from sparsefit.cli.values import fraction
from sparsefit.errors import ArgumentError


def add_targets(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--target-sparsity",
        action="append",
        type=fraction,
        default=[],
        metavar="RATIO",
        help="tokens until this sparsity ratio (repeatable)",
    )
    parser.add_argument(
        "--target-activation",
        action="append",
        type=fraction,
        default=[],
        metavar="RATIO",
        help="tokens until this activation ratio (repeatable)",
    )
    parser.add_argument(
        "--target-loss",
        action="append",
        type=float,
        default=[],
        metavar="NATS",
        help="tokens until this training loss, with --response loss (repeatable)",
    )


def check_targets(arguments: argparse.Namespace) -> None:
    """Refuse targets of another response than the one that is fitted."""
    loss = arguments.response == "loss"
    if loss and (arguments.target_sparsity or arguments.target_activation):
        raise ArgumentError("--response loss takes --target-loss, no sparsity or activation ratio")
    if arguments.target_loss and not loss:
        raise ArgumentError("--target-loss needs --response loss")
