"""``sparsefit measure``: a run of checkpoints to a measurement table."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefit.cli.printing import print_json
from sparsefit.cli.values import token_count
from sparsefit.outputs import writable

if TYPE_CHECKING:
    from sparsefit.collectors.checkpoints import Checkpoint
    from sparsefit.collectors.loading import LoadOptions
    from sparsefit.collectors.result import RunMeasurement
    from sparsefit.collectors.settings import Settings
    from sparsefit.collectors.text import EvaluationText


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "run",
        nargs="+",
        help="folder that holds the checkpoints, several checkpoints, or a hub repository",
    )
    _add_text(parser)
    _add_metric(parser)
    _add_series(parser)
    _add_loading(parser)
    parser.add_argument(
        "-o",
        "--output",
        "--out",
        required=True,
        metavar="FILE",
        help="table to write, .csv or .parquet",
    )
    parser.add_argument(
        "--restart", action="store_true", help="discard what is kept of an earlier measurement"
    )
    parser.add_argument(
        "--extend",
        action="store_true",
        help="for a run that still trains: measure only its new checkpoints, at the CETT found "
        "before, and keep the parts for the next time",
    )
    parser.add_argument(
        "--keep-parts", action="store_true", help="keep the folder <output>.parts when done"
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def _add_text(parser: argparse.ArgumentParser) -> None:
    text = parser.add_argument_group("evaluation text")
    text.add_argument(
        "--text",
        required=True,
        metavar="FILE",
        help="text to evaluate on: .txt, .jsonl (fields text, tokens or input_ids), .json, or .npy "
        "(token ids)",
    )
    text.add_argument(
        "--n-tokens",
        type=int,
        metavar="N",
        help="tokens of the text to use (default: 16384, or 131072 to solve on one checkpoint)",
    )
    text.add_argument(
        "--seq-len",
        type=int,
        metavar="N",
        help="tokens in a window (default: the models' context, at most 1024)",
    )
    text.add_argument(
        "--tokenizer", metavar="FOLDER", help="folder of the tokenizer (default: last checkpoint)"
    )
    text.add_argument(
        "--bos",
        choices=("auto", "always", "never"),
        default="auto",
        help="whether a beginning-of-sequence token precedes each window (default: auto, as the "
        "tokenizer does)",
    )
    text.add_argument(
        "--documents",
        choices=("joined", "separate"),
        default="joined",
        help="whether windows may span several documents (default: joined)",
    )


def _add_metric(parser: argparse.ArgumentParser) -> None:
    metric = parser.add_argument_group("metric")
    metric.add_argument(
        "--metric",
        choices=("cett_ppl", "cett", "relu_zero", "topk", "fat"),
        default="cett_ppl",
        help="when a neuron counts as active (default: cett_ppl)",
    )
    metric.add_argument(
        "-p",
        "--p-percent",
        type=float,
        default=1.0,
        metavar="P",
        help="rise of perplexity that --metric cett_ppl allows, percent (default: 1)",
    )
    metric.add_argument("--cett", type=float, help="CETT value for --metric cett")
    metric.add_argument("--k", type=int, help="neurons kept per token for --metric topk")
    metric.add_argument("--eps", type=float, help="threshold for --metric fat")
    metric.add_argument(
        "--cett-scope",
        choices=("run", "checkpoint"),
        default="run",
        help="one CETT for the run (default, the paper's protocol), or one for each checkpoint",
    )
    metric.add_argument(
        "--joint",
        type=int,
        default=5,
        metavar="N",
        help="last checkpoints on which the CETT of the run is solved (default: 5)",
    )
    metric.add_argument(
        "--sites",
        metavar="PATTERN",
        help="names of the feed-forward output projections, such as 'model.layers.*.mlp.down_proj' "
        "(default: found automatically)",
    )


def _add_series(parser: argparse.ArgumentParser) -> None:
    series = parser.add_argument_group("training tokens")
    series.add_argument(
        "--tokens-per-step",
        type=token_count,
        metavar="N",
        help="training tokens in one optimiser step, such as 327680 or 4M",
    )
    series.add_argument(
        "--tokens-file",
        metavar="FILE",
        help="tokens of each checkpoint: JSON that maps names to tokens, or CSV with columns "
        "checkpoint and tokens",
    )
    series.add_argument(
        "--tokens-pattern",
        metavar="REGEX",
        help="regular expression whose one group is the token count in a checkpoint's name",
    )
    series.add_argument(
        "--revision",
        action="append",
        default=[],
        metavar="NAME",
        help="revision of a hub repository to measure (repeatable)",
    )
    series.add_argument(
        "--run-name",
        metavar="NAME",
        help="name of the run in the table (default: the name of the folder)",
    )


def _add_loading(parser: argparse.ArgumentParser) -> None:
    load = parser.add_argument_group("loading")
    load.add_argument(
        "--device",
        default="cpu",
        help="PyTorch device, or auto: over all GPUs, "
        "memory and disk where one GPU is too small (default: cpu)",
    )
    load.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16"),
        default="float32",
        help="type of the weights (default: float32)",
    )
    load.add_argument(
        "--batch-size", type=int, metavar="N", help="windows per batch (default: what fits)"
    )
    load.add_argument(
        "--trust-remote-code",
        action="store_true",
        help="run code that is shipped with the checkpoints",
    )
    load.add_argument(
        "--loader",
        metavar="PLACE",
        help="function that loads a checkpoint's model, for checkpoints that are not in the format "
        "of transformers: package.module:function or path/to/file.py:function",
    )


def run(arguments: argparse.Namespace) -> int:
    """Measure and write the tables; 3 where some checkpoints failed."""
    from sparsefit.collectors.extra import needed_for

    with needed_for("measuring"):
        return _run(arguments)


def _run(arguments: argparse.Namespace) -> int:
    from sparsefit.collectors.lock import alone

    # Before any model runs: hours of work must not end at a bad path.
    output = Path(arguments.output)
    _check_output(output, [arguments.text, arguments.tokens_file, *arguments.run])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checkpoints, settings, load = _options(arguments)
        text = _text(arguments, checkpoints, settings, load)
        # From before what a restart deletes until the parts are gone.
        with alone(_parts(output)):
            result = _measure(arguments, checkpoints, settings, load, text, output)
            _write(result, output, arguments, settings, load, text)
    # What is said of every checkpoint is said once.
    said = (str(item.message) for item in caught if issubclass(item.category, UserWarning))
    notes = list(dict.fromkeys(said))
    if result.failed:
        notes.append(
            f"{result.failed} of {len(result.table)} checkpoints failed. Once they are repaired, "
            f"the same command measures only what is missing (the rest is kept in {_parts(output)})"
        )
    if load.trust_remote_code:
        notes.append("remote code shipped with the checkpoints was allowed to run")
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    if arguments.json:
        print_json(_document(result, output, notes))
    else:
        print(f"{result.summary()}\nwritten: {output}")
    return 3 if result.failed else 0


def _check_output(output: Path, inputs: list[str | None]) -> None:
    from sparsefit.collectors.state import layers_path
    from sparsefit.errors import ArgumentError

    for path in (output, layers_path(output)):
        writable(path, "--output")
        if any(name and path.resolve() == Path(name).resolve() for name in inputs):
            raise ArgumentError(f"{path} is read by this measurement: choose another output")


def _options(
    arguments: argparse.Namespace,
) -> tuple[tuple[Checkpoint, ...], Settings, LoadOptions]:
    from sparsefit.collectors.checkpoints import find_checkpoints
    from sparsefit.collectors.loading import LoadOptions
    from sparsefit.collectors.settings import Settings

    settings = Settings(
        metric=arguments.metric,
        p_percent=arguments.p_percent,
        cett=arguments.cett,
        k=arguments.k,
        eps=arguments.eps,
        cett_scope=arguments.cett_scope,
        joint=arguments.joint,
        pattern=arguments.sites,
    )
    load = LoadOptions(
        arguments.device, arguments.dtype, arguments.trust_remote_code, arguments.loader
    )
    paths: list[str] = arguments.run
    checkpoints = find_checkpoints(
        paths[0] if len(paths) == 1 else paths,
        tokens_per_step=arguments.tokens_per_step,
        tokens=arguments.tokens_file,
        tokens_pattern=arguments.tokens_pattern,
        revisions=arguments.revision,
    )
    _check_tokens(checkpoints)
    return checkpoints, settings, load


def _check_tokens(checkpoints: tuple[Checkpoint, ...]) -> None:
    """Refuse counts that no table takes, before the models run."""
    from sparsefit.errors import CheckpointError
    from sparsefit.table.schema import BILLIONS_BELOW

    last = checkpoints[-1]
    if last.tokens < BILLIONS_BELOW:
        raise CheckpointError(
            f"{last.name}: the last checkpoint has seen {last.tokens} training tokens, which looks "
            "like billions. Give raw counts, or write 1.2e9 or 1.2B"
        )


def _text(
    arguments: argparse.Namespace,
    checkpoints: tuple[Checkpoint, ...],
    settings: Settings,
    load: LoadOptions,
) -> EvaluationText:
    from sparsefit.collectors.run_text import default_text

    return default_text(
        arguments.text,
        checkpoints,
        settings,
        load,
        tokenizer=arguments.tokenizer,
        seq_len=arguments.seq_len,
        n_tokens=arguments.n_tokens,
        bos=arguments.bos,
        documents=arguments.documents,
        growing=arguments.extend,
    )


def _measure(
    arguments: argparse.Namespace,
    checkpoints: tuple[Checkpoint, ...],
    settings: Settings,
    load: LoadOptions,
    text: EvaluationText,
    output: Path,
) -> RunMeasurement:
    from sparsefit.collectors.checkpoints import run_of
    from sparsefit.collectors.run import measure_run
    from sparsefit.collectors.state import clear, plan_of
    from sparsefit.errors import CollectorError

    parts = _parts(output)
    if arguments.restart:
        clear(parts)
    elif arguments.extend and output.exists() and plan_of(parts) is None:
        raise CollectorError(
            f"{output} cannot be extended: it was measured without --extend, and its parts are "
            "gone. Measure it once more with --extend --restart, or choose another output"
        )
    place = arguments.run[0] if len(arguments.run) == 1 else None
    return measure_run(
        checkpoints,
        text,
        settings=settings,
        load=load,
        run_name=arguments.run_name or run_of(checkpoints, place),
        parts=parts,
        extend=arguments.extend,
        batch_size=arguments.batch_size,
        progress=not arguments.quiet and sys.stderr.isatty(),
    )


def _write(
    result: RunMeasurement,
    output: Path,
    arguments: argparse.Namespace,
    settings: Settings,
    load: LoadOptions,
    text: EvaluationText,
) -> None:
    from dataclasses import asdict

    from sparsefit.collectors.state import GROWING, mark_finished, parts_of, remove
    from sparsefit.collectors.tables import write_run
    from sparsefit.provenance import provenance

    origin = provenance(
        settings=asdict(settings),
        load=load.record,
        eval_data=text.label,
        solutions=result.solutions,
    )
    write_run(result, output, origin)
    # A run that grows is not done, even where it is measured once without saying so.
    if arguments.keep_parts or parts_of(_parts(output), GROWING):
        return
    if result.failed:
        mark_finished(_parts(output))
    else:
        remove(_parts(output))


def _parts(output: Path) -> Path:
    return output.with_name(f"{output.name}.parts")


def _document(result: RunMeasurement, output: Path, notes: list[str]) -> dict[str, Any]:
    return {
        "output": str(output),
        "failed": result.failed,
        "rows": result.table,
        "solutions": result.solutions,
        "warnings": notes,
    }
