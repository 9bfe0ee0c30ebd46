"""``sparsefit width-depth``: the width-depth law, its break and the ratio to train."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from sparsefit.cli import fitting
from sparsefit.cli.outputs import check_figure
from sparsefit.errors import ArgumentError, Fault, TableError

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "file",
        metavar="FILE",
        help="table (CSV or Parquet) with width_depth_ratio, or hidden_size and n_layers; limit; "
        "optionally se and run",
    )
    parser.add_argument(
        "--loss",
        metavar="FILE",
        help="table with the ratios' losses (loss, optionally se and stable): adds advice; "
        "FILE itself is used where it has a column loss",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="NATS",
        help="excess over the best loss that is accepted (default: 1%% of perplexity, 0.00995)",
    )
    parser.add_argument(
        "--model",
        choices=("line_plateau", "line_line"),
        default="line_plateau",
        help="law (default: line_plateau)",
    )
    parser.add_argument(
        "--sign",
        choices=("rising", "any"),
        help="slopes before the plateau: the law rises (default: rising); any takes a fall as well",
    )
    parser.add_argument(
        "--method",
        choices=("profile", "bootstrap", "bayes"),
        default="profile",
        help="intervals (default: profile)",
    )
    parser.add_argument("--level", type=float, default=0.9, help="level of intervals (default: .9)")
    parser.add_argument(
        "--keep-replicates", action="store_true", help="accept several points at one ratio"
    )
    parser.add_argument("--variants", action="store_true", help="compare laws with 0, 1, 2 breaks")
    parser.add_argument("--draws", type=int, default=999, help="simulated samples (default: 999)")
    parser.add_argument("--seed", type=fitting.seed, default=0, help="seed (default: 0)")
    parser.add_argument("--out", metavar="FIGURE", help="write the figure to this file")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    if arguments.method == "bayes" and arguments.model != "line_plateau":
        raise ArgumentError("--method bayes: only with --model line_plateau")
    if arguments.sign and arguments.model != "line_plateau":
        raise ArgumentError("--sign: only with --model line_plateau; two lines take any slopes")
    check_figure("--out", arguments.out)
    table = read_points(arguments.file)
    fit, verbs = _fit(table, arguments)
    loss = read_points(arguments.loss) if arguments.loss else table if "loss" in table else None
    advice = None
    if loss is not None:
        if not arguments.loss and "se" in loss:
            # In the table of the limits `se` belongs to the limits; a loss has its own column.
            loss = loss.drop(columns="se").rename(columns={"loss_se": "se"})
        advice = fit.recommend(loss, tolerance=arguments.tolerance, level=arguments.level)
    variants = None
    if arguments.variants:
        from sparsefit.width_depth.variants import compare_variants

        points = fit.points
        variants = compare_variants(points.ratio, points.value, points.se)
    if arguments.out:
        _write_figure(fit, advice, arguments)
    if arguments.json:
        _print_json(fit, verbs, advice, variants, arguments)
        return 0
    print(fit.summary(arguments.level, **verbs))
    if advice is not None:
        print("\n" + advice.summary())
    if variants is not None:
        print("\n" + variants.to_string(float_format=lambda v: f"{v:.4g}"))
    if arguments.out:
        print(f"\nfigure: {arguments.out}")
    return 0


def _fit(table: pd.DataFrame, arguments: argparse.Namespace) -> tuple[Any, dict[str, str]]:
    """Fit, and the keywords that its verbs take."""
    from sparsefit.width_depth import fit_width_depth, fit_width_depth_bayes

    replicates: Any = "keep" if arguments.keep_replicates else "error"
    sign: Any = arguments.sign or "rising"
    if arguments.method == "bayes":
        draws = max(arguments.draws, 4000)
        fit: Any = fit_width_depth_bayes(
            table, sign=sign, replicates=replicates, draws=draws, rng=arguments.seed
        )
        return fit, {}
    fit = fit_width_depth(
        table,
        model=arguments.model,
        sign=sign,
        replicates=replicates,
        draws=arguments.draws,
        rng=arguments.seed,
    )
    return fit, {"method": arguments.method}


def read_points(path: str) -> pd.DataFrame:
    """Read a plain table of ratios and limits (the checks come with the fit)."""
    import pandas as pd

    try:
        if path.lower().endswith((".parquet", ".pq")):
            return pd.read_parquet(path)
        return pd.read_csv(path)
    except FileNotFoundError:
        fault = Fault(None, None, "no such file", "Check the path")
        raise TableError([fault], source=path) from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        # ValueError covers pandas' ParserError and EmptyDataError, and pyarrow's ArrowInvalid.
        fault = Fault(None, None, f"cannot be read: {error}", "Give a CSV or Parquet table")
        raise TableError([fault], source=path) from error


def _print_json(
    fit: Any,
    verbs: dict[str, str],
    advice: Any,
    variants: pd.DataFrame | None,
    arguments: argparse.Namespace,
) -> None:
    import json

    document = fit.to_dict(arguments.level, **verbs)
    document["recommendation"] = None if advice is None else advice.to_dict()
    if variants is not None:
        from sparsefit.width_depth.text import number

        document["variants"] = {
            str(name): {
                "n_params": int(row["n_params"]),
                "log_likelihood": number(row["log_likelihood"]),
                "aicc": number(row["aicc"]),
                "bic": number(row["bic"]),
                "weight": number(row["weight"]),
                "breaks": [number(v) for v in row["breaks"]],
            }
            for name, row in variants.iterrows()
        }
    print(json.dumps(document, allow_nan=False))


def _write_figure(fit: Any, advice: Any, arguments: argparse.Namespace) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from sparsefit.plots.breakpoints import width_depth

    figure = Figure(figsize=(7.0, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    width_depth(fit, figure.subplots(), advice=advice, level=arguments.level)
    try:
        figure.savefig(arguments.out)
    except (OSError, ValueError) as error:
        raise ArgumentError(f"--out {arguments.out}: cannot be written ({error})") from error
