"""From a run of checkpoints to a measurement table.

The default protocol is Appendix E of the paper: one CETT value for the whole run, solved jointly on
its last five checkpoints, then applied to every checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from sparsefit.collectors.checkpoints import Checkpoint, find_checkpoints, in_order, run_of
from sparsefit.collectors.forward import checked_batch_size
from sparsefit.collectors.growing import (
    check_weights,
    note_weights,
    planned,
    warn_of_drift,
    with_earlier,
)
from sparsefit.collectors.loading import LoadOptions
from sparsefit.collectors.lock import alone
from sparsefit.collectors.progress import Progress
from sparsefit.collectors.result import RunMeasurement
from sparsefit.collectors.run_text import check_context, default_text, warn_if_small
from sparsefit.collectors.series import Series
from sparsefit.collectors.settings import Settings
from sparsefit.collectors.state import Parts, parts_of, plan_of
from sparsefit.collectors.tables import build_tables
from sparsefit.collectors.text import EvaluationText
from sparsefit.errors import ArgumentError, CheckpointError, quoted


def measure_run(
    run: str | Path | Sequence[str | Path] | Sequence[Checkpoint],
    text: str | Path | EvaluationText,
    *,
    settings: Settings | None = None,
    load: LoadOptions | None = None,
    tokenizer: Any = None,
    run_name: str | None = None,
    parts: str | Path | None = None,
    extend: bool = False,
    batch_size: int | None = None,
    progress: bool = False,
) -> RunMeasurement:
    """Measure the activation sparsity of every checkpoint of a run.

    Parameters
    ----------
    run : path, sequence of paths or sequence of Checkpoint
        A folder, or folders, of checkpoints that say their own training tokens, or the result of
        `find_checkpoints` (which takes tokens per step, a mapping, a pattern); in any order.
    text : path or EvaluationText
        The evaluation text; a path is read with the defaults of `load_text` and the last
        checkpoint's tokenizer, 16,384 tokens (131,072 if the CETT is solved on a single
        checkpoint).
    settings : Settings, optional
        Metric and protocol; default CETT-PPL-1% with one CETT for the run.
    load : LoadOptions, optional
        Device, dtype, remote code, a loader of your own.
    tokenizer : transformers tokenizer or path of its folder, optional
        Instead of the last checkpoint's.
    run_name : str, optional
        Value of the column ``run``; default the name of the folder that holds the checkpoints.
    parts : path, optional
        Folder for finished parts: an interrupted measurement called again with the same arguments
        goes on from there and ends with the same table. Without it nothing is kept.
    extend : bool
        The run still trains: what `parts` hold of an earlier call is taken over, checkpoints that
        have been deleted since included, and new ones are measured at the CETT found then, so that
        the whole curve is of one kind. A `DriftWarning` says where that CETT no longer costs p%.
    batch_size : int, optional
        Windows per batch (halved where memory runs out).
    progress : bool
        Show a progress bar on standard error.

    Returns
    -------
    RunMeasurement
        Tables; write the first with `sparsefit.write_table`.

    Raises
    ------
    CheckpointError
        The series cannot be used, or none of its checkpoints can be measured.
    TextError
        The text cannot be used.
    ArgumentError
        `extend` without `parts`, or an argument of another kind.
    CollectorError
        The parts folder belongs to another measurement, is in use by one that runs, or cannot be
        written.

    Examples
    --------
    >>> from sparsefit.collectors import measure_run  # doctest: +SKIP
    >>> result = measure_run("runs/tiny", "validation.txt")  # doctest: +SKIP
    >>> result.table[["tokens", "activation_ratio", "se", "se_shared"]]  # doctest: +SKIP
    """
    settings = settings or Settings()
    load = load or LoadOptions()
    if not (isinstance(settings, Settings) and isinstance(load, LoadOptions)):
        raise ArgumentError(
            f"settings= takes Settings and load= takes LoadOptions, got {settings!r} and {load!r}"
        )
    if extend and parts is None:
        raise ArgumentError("extend=True continues what an earlier call kept, so it needs parts=")
    if parts is not None and not isinstance(parts, (str, Path)):
        raise ArgumentError(f"parts must be the path of a folder, got {quoted(parts)}")
    folder = None if parts is None else Path(parts)
    if isinstance(run, Sequence) and all(isinstance(item, Checkpoint) for item in run):
        checkpoints = in_order(cast("Sequence[Checkpoint]", run))
    else:
        checkpoints = find_checkpoints(cast("str | Path | Sequence[str | Path]", run))
    if not checkpoints:
        raise CheckpointError("the list of checkpoints is empty")
    if run_name is None:
        run_name = run_of(checkpoints, run if isinstance(run, (str, Path)) else None)
    if not isinstance(text, EvaluationText):
        text = default_text(text, checkpoints, settings, load, tokenizer=tokenizer, growing=extend)
    if extend and folder is not None:
        kept = {key[-1] for key in parts_of(folder, "at")}
        checkpoints = with_earlier(checkpoints, plan_of(folder), kept)
    check_context(text, checkpoints)
    warn_if_small(text, settings, len(checkpoints))
    size = checked_batch_size(batch_size, text)
    plan = {
        "run": run_name,
        "checkpoints": planned(checkpoints),
        "text": text.label,
        "settings": asdict(settings),
        "load": load.record,
        "batch_size": size,
    }
    with alone(folder):
        store = Parts(folder, plan, growing=extend)
        if extend:
            check_weights(checkpoints, store)
        solved = solved_checkpoints(settings, len(checkpoints))
        left = len(checkpoints) - solved
        with Progress(progress, text.n_tokens, solved=solved, fixed=left) as bar:
            series = Series(checkpoints, text, settings, load, store, size, bar, growing=extend)
            measured = series.measure_all()
        result = build_tables(run_name, checkpoints, text, settings, measured, series.solutions())
        if extend:
            note_weights(checkpoints, [n for n, one in measured.items() if one["failed"]], store)
            warn_of_drift(result.table, settings)
    return result


def solved_checkpoints(settings: Settings, checkpoints: int) -> int:
    """Count the checkpoints on which a root is solved."""
    if settings.metric != "cett_ppl":
        return 0
    return checkpoints if settings.cett_scope == "checkpoint" else min(settings.joint, checkpoints)
