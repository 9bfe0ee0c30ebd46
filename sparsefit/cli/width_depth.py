"""``sparsefit width-depth``: the width-depth law, its break and the ratio to train."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sparsefit.cli import values
from sparsefit.cli.architectures import Architectures, read_architectures, read_losses
from sparsefit.cli.fitting import say_notes
from sparsefit.cli.outputs import check_figure
from sparsefit.cli.printing import print_json
from sparsefit.errors import ArgumentError

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="table with the columns limit and width_depth_ratio (or hidden_size and n_layers), "
        "and optionally se, run and identified; or measurement tables of all architectures with "
        "hidden_size and n_layers, whose runs are then fitted (paths, folders or globs)",
    )
    parser.add_argument(
        "--loss",
        metavar="FILE",
        help="table with the losses at the ratios (loss, optionally se and stable), for a "
        "recommendation (default: FILE itself, if it has a column loss; of checkpoints the last "
        "loss of each run)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="NATS",
        help="accepted excess over the best loss (default: 0.00995, 1%% of perplexity)",
    )
    parser.add_argument(
        "--model",
        choices=("line_plateau", "line_line"),
        default="line_plateau",
        help="law to fit (default: line_plateau)",
    )
    parser.add_argument(
        "--sign",
        choices=("rising", "any"),
        help="rising: the law rises to its plateau (default); any: it may also fall to it",
    )
    parser.add_argument(
        "--method",
        choices=("profile", "bootstrap", "bayes"),
        default="profile",
        help="how the intervals are computed (default: profile)",
    )
    parser.add_argument(
        "--level", type=values.level, default=0.9, help="level of the intervals (default: 0.9)"
    )
    parser.add_argument(
        "--keep-replicates", action="store_true", help="accept several points at one ratio"
    )
    parser.add_argument("--variants", action="store_true", help="compare laws with 0, 1, 2 breaks")
    parser.add_argument(
        "--draws",
        type=int,
        default=999,
        help="simulated samples; with --method bayes posterior draws, at least 4000 (default: 999)",
    )
    parser.add_argument("--seed", type=values.seed, default=0, help="seed (default: 0)")
    parser.add_argument("--out", metavar="FIGURE", help="write the figure to this file")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    _check(arguments)
    loss = read_losses(arguments.loss) if arguments.loss else None
    read = read_architectures(arguments.files, arguments.seed, losses=loss is None)
    if loss is None:
        loss = read.losses
    fit, verbs = _fit(read, arguments)
    advice = None
    if loss is not None:
        advice = fit.recommend(loss, tolerance=arguments.tolerance, level=arguments.level)
    variants = None
    if arguments.variants:
        from sparsefit.width_depth.variants import compare_variants

        points = fit.points
        variants = compare_variants(points.ratio, points.value, points.se)
    if arguments.out:
        from sparsefit.cli.figure import write_plot
        from sparsefit.plots import width_depth

        size = (7.0, 4.4)
        write_plot(width_depth, fit, arguments.out, size, advice=advice, level=arguments.level)
    if arguments.json:
        document = fit.to_dict(arguments.level, **verbs)
        document["recommendation"] = None if advice is None else advice.to_dict()
        if variants is not None:
            document["variants"] = _variants(variants)
        if read.ratios is not None:
            document["runs"] = _runs(read)
            document["failed"] = read.failed
        print_json(document)
    else:
        parts = ["\n".join(read.said)] if read.said else []
        parts.append(fit.summary(arguments.level, **verbs))
        if advice is not None:
            parts.append(advice.summary())
        if variants is not None:
            parts.append(variants.to_string(float_format=lambda v: f"{v:.4g}"))
        if arguments.out:
            parts.append(f"figure: {arguments.out}")
        print("\n\n".join(parts))
    say_notes(read.notes, read.failed)
    return read.status


def _check(arguments: argparse.Namespace) -> None:
    """Refuse options that do not go together, and a figure that cannot be written."""
    if arguments.method == "bayes" and arguments.model != "line_plateau":
        raise ArgumentError("--method bayes: only with --model line_plateau")
    if arguments.sign and arguments.model != "line_plateau":
        raise ArgumentError("--sign: only with --model line_plateau; two lines take any slopes")
    check_figure("--out", arguments.out)


def _fit(read: Architectures, arguments: argparse.Namespace) -> tuple[Any, dict[str, str]]:
    """Fit, and the keywords that its verbs take."""
    from sparsefit.width_depth import fit_width_depth, fit_width_depth_bayes

    replicates: Any = "keep" if arguments.keep_replicates else "error"
    sign: Any = arguments.sign or "rising"
    if arguments.method == "bayes":
        draws = max(arguments.draws, 4000)
        fit: Any = fit_width_depth_bayes(
            **read.arguments(),
            sign=sign,
            replicates=replicates,
            draws=draws,
            rng=arguments.seed,
        )
        return fit, {}
    fit = fit_width_depth(
        **read.arguments(),
        model=arguments.model,
        sign=sign,
        replicates=replicates,
        draws=arguments.draws,
        rng=arguments.seed,
    )
    return fit, {"method": arguments.method}


def _runs(read: Architectures) -> list[dict[str, Any]]:
    """Ratio and limit of each run that was fitted."""
    limits = {str(run): fit.limit() for run, fit in read.points.items()}
    return [
        {"run": run, "width_depth_ratio": ratio, "limit": limits[run].to_dict()}
        for run, ratio in (read.ratios or {}).items()
        if run in limits
    ]


def _variants(table: pd.DataFrame) -> dict[str, Any]:
    """Fits with 0, 1 and 2 breaks, by the name of the law."""
    shown = ("n_params", "log_likelihood", "aicc", "bic", "weight", "breaks")
    return {str(name): {key: row[key] for key in shown} for name, row in table.iterrows()}
