"""``sparsefit measure``: a run of checkpoints to a measurement table."""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsefit.collectors.checkpoints import Checkpoint
    from sparsefit.collectors.loading import LoadOptions
    from sparsefit.collectors.run import RunMeasurement
    from sparsefit.collectors.settings import Settings
    from sparsefit.collectors.text import EvaluationText


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "run",
        nargs="+",
        help="folder of checkpoint-N / step-N folders, several checkpoints, or a hub repository",
    )
    text = parser.add_argument_group("evaluation text")
    text.add_argument(
        "--text", required=True, help=".txt, .jsonl (text or token fields) or .npy (token ids)"
    )
    text.add_argument("--n-tokens", type=int, help="tokens to use (default 16384, or 131072)")
    text.add_argument("--seq-len", type=int, help="window length (default up to 1024)")
    text.add_argument("--tokenizer", help="folder of the tokenizer (default: last checkpoint)")
    text.add_argument("--bos", choices=("auto", "always", "never"), default="auto")
    text.add_argument("--documents", choices=("joined", "separate"), default="joined")

    metric = parser.add_argument_group("metric")
    metric.add_argument(
        "--metric",
        choices=("cett_ppl", "cett", "relu_zero", "topk", "fat"),
        default="cett_ppl",
    )
    metric.add_argument(
        "-p", "--p-percent", type=float, default=1.0, help="perplexity rise, percent"
    )
    metric.add_argument("--cett", type=float, help="CETT value for --metric cett")
    metric.add_argument("--k", type=int, help="neurons kept for --metric topk")
    metric.add_argument("--eps", type=float, help="threshold for --metric fat")
    metric.add_argument(
        "--cett-scope",
        choices=("run", "checkpoint"),
        default="run",
        help="one CETT for the run (default, the paper's protocol), or solved for each checkpoint",
    )
    metric.add_argument("--joint", type=int, default=5, help="last checkpoints solved together")
    metric.add_argument("--sites", help="pattern of the feed-forward output projections")

    series = parser.add_argument_group("training tokens")
    series.add_argument("--tokens-per-step", type=float)
    series.add_argument("--tokens-file", help="JSON name -> tokens, or CSV with checkpoint,tokens")
    series.add_argument("--tokens-pattern", help="regular expression with one group for the number")
    series.add_argument("--revision", action="append", default=[], help="hub revision (repeatable)")
    series.add_argument("--run-name", help="value of the column run (default: the folder's name)")

    load = parser.add_argument_group("loading")
    load.add_argument("--device", default="cpu")
    load.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    load.add_argument("--batch-size", type=int, help="windows per batch (found by default)")
    load.add_argument("--trust-remote-code", action="store_true")

    parser.add_argument("-o", "--output", required=True, help=".csv or .parquet")
    parser.add_argument(
        "--restart", action="store_true", help="discard what is kept of an earlier measurement"
    )
    parser.add_argument(
        "--extend",
        action="store_true",
        help="for a run that still trains: measure its new checkpoints at the CETT found before, "
        "take over the others, and keep the parts for the next time",
    )
    parser.add_argument("--keep-parts", action="store_true", help="keep <output>.parts when done")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Measure and write the tables; 3 where some checkpoints failed."""
    # Before any model runs: hours of work must not end at a bad path.
    output = Path(arguments.output)
    _check_output(output, [arguments.text, arguments.tokens_file, *arguments.run])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checkpoints, settings, load = _options(arguments)
        text = _text(arguments, checkpoints, settings, load)
        result = _measure(arguments, checkpoints, settings, load, text, output)
    _write(result, output, arguments, settings, load, text)
    notes = [str(item.message) for item in caught if issubclass(item.category, UserWarning)]
    if result.failed:
        notes.append(
            f"{result.failed} of {len(result.table)} checkpoints failed. Once they are repaired, "
            f"the same command measures only what is missing (the rest is kept in {_parts(output)})"
        )
    if load.trust_remote_code:
        notes.append("remote code shipped with the checkpoints was allowed to run")
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    print(
        json.dumps(_document(result, output, notes))
        if arguments.json
        else f"{result.summary()}\nwritten: {output}"
    )
    return 3 if result.failed else 0


def _check_output(output: Path, inputs: list[str | None]) -> None:
    from sparsefit.collectors.state import layers_path
    from sparsefit.errors import ArgumentError, CollectorError

    written = (output, layers_path(output))
    if not output.parent.is_dir():
        raise CollectorError(f"{output.parent}: no such folder for the output")
    for path in written:
        if path.is_dir():
            raise CollectorError(f"{path} is a folder: choose another output")
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
    load = LoadOptions(arguments.device, arguments.dtype, arguments.trust_remote_code)
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
    from sparsefit.collectors.run import default_text

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
    first = Path(arguments.run[0])
    return measure_run(
        checkpoints,
        text,
        settings=settings,
        load=load,
        run_name=arguments.run_name or first.resolve().name,
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
        load=asdict(load),
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
    rows = [
        {key: _strict(value) for key, value in row.items()}
        for row in result.table.to_dict(orient="records")
    ]
    return {
        "output": str(output),
        "failed": result.failed,
        "rows": rows,
        "solutions": _strict(result.solutions),
        "warnings": notes,
    }


def _strict(value: Any) -> Any:
    """Return a value as strict JSON knows it: NaN and infinity become null."""
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_strict(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
