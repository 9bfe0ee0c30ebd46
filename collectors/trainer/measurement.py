"""Measure trained runs with the collectors, on the text that training never saw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsefit.collectors.trainer.corpus import Corpus
from sparsefit.collectors.trainer.spec import RunSpec
from sparsefit.errors import CheckpointError

if TYPE_CHECKING:
    import pandas as pd

    from sparsefit.collectors.text import EvaluationText

DIGITS = 7
"""Significant digits kept of measured values (float32 carries no more)."""


def evaluation_text(corpus: Corpus, spec: RunSpec, n_tokens: int) -> EvaluationText:
    """Windows spread evenly over the validation files, of the length trained on.

    Parameters
    ----------
    corpus : Corpus
    spec : RunSpec
        Says the window length.
    n_tokens : int
        Tokens wanted; all of them where the corpus has fewer.
    """
    from sparsefit.collectors.text import load_text

    text = load_text(
        np.asarray(corpus.tokens("validation")),
        seq_len=spec.sequence_length,
        name=f"python-{corpus.python}-stdlib-validation",
    )
    return text.spread(n_tokens)


def finished_checkpoints(spec: RunSpec, out: Path) -> list[Path]:
    """Return the folders of all checkpoints of a finished run.

    Raises
    ------
    CheckpointError
        If some are missing: the run is not trained, or only in part.
    """
    folders = [out / spec.name / f"checkpoint-{step}" for step in spec.checkpoint_steps()]
    missing = [folder.name for folder in folders if not folder.is_dir()]
    if missing:
        raise CheckpointError(
            f"{spec.name}: {len(missing)} of {len(folders)} checkpoints are missing "
            f"({missing[0]} first). Train the run to its end, or leave it out"
        )
    return folders


def measure_spec(
    spec: RunSpec,
    corpus: Corpus,
    out: Path,
    n_tokens: int,
    progress: bool = False,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measure a finished run: CETT-PPL-1%, one CETT for the run (Appendix E of the paper).

    Finished checkpoints are kept below ``out/measured`` and not measured again.

    Parameters
    ----------
    spec : RunSpec
    corpus : Corpus
    out : Path
        Folder that holds the run's folder.
    n_tokens : int
        Tokens of the evaluation text.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    table : pandas.DataFrame
        Measurement table, one row per checkpoint.
    solution : dict
        The CETT found, with its status.
    """
    from sparsefit.collectors.checkpoints import find_checkpoints
    from sparsefit.collectors.run import measure_run

    checkpoints = find_checkpoints(finished_checkpoints(spec, out))
    result = measure_run(
        checkpoints,
        evaluation_text(corpus, spec, n_tokens),
        run_name=spec.name,
        parts=out / "measured" / f"{spec.name}-{spec.n_steps}-{n_tokens}",
        progress=progress,
    )
    return round_numbers(result.table), result.solutions["run"]


def measure_other_metrics(
    spec: RunSpec, corpus: Corpus, out: Path, n_tokens: int, main: pd.DataFrame
) -> list[dict[str, Any]]:
    """Measure a run's last checkpoint with the other metrics.

    Top-k keeps as many neurons as CETT-PPL-1% did on the mean, so that the two perplexities
    compare the two choices of neurons at one activation ratio.

    Parameters
    ----------
    spec, corpus, out, n_tokens
        As in `measure_spec`.
    main : pandas.DataFrame
        The run's table from `measure_spec`.

    Returns
    -------
    list of dict
        One row per metric: run, tokens, metric, parameter, activation_ratio, loss_dense,
        loss_sparse, ppl_ratio, se.
    """
    from sparsefit.collectors.checkpoints import find_checkpoints
    from sparsefit.collectors.run import measure_run
    from sparsefit.collectors.settings import Settings

    last = find_checkpoints(finished_checkpoints(spec, out)[-1:])
    text = evaluation_text(corpus, spec, n_tokens)
    kept = max(1, round(float(main["activation_ratio"].iloc[-1]) * spec.d_ff))
    choices = [
        Settings(metric="cett", cett=0.1),
        Settings(metric="cett", cett=0.2),
        Settings(metric="topk", k=kept),
        Settings(metric="fat", eps=0.05),
    ]
    if spec.activation == "relu":
        choices.append(Settings(metric="relu_zero"))
    rows = [_metric_row(main.iloc[-1], "cett_ppl", 1.0)]
    for settings in choices:
        parameter = settings.cett or settings.k or settings.eps
        label = f"{settings.metric}-{parameter}" if parameter else settings.metric
        result = measure_run(
            last,
            text,
            settings=settings,
            run_name=spec.name,
            parts=out / "measured" / f"{spec.name}-{spec.n_steps}-{n_tokens}-{label}",
        )
        rows.append(_metric_row(round_numbers(result.table).iloc[0], settings.metric, parameter))
    return rows


def _metric_row(row: pd.Series, metric: str, parameter: float | None) -> dict[str, Any]:
    names = ("run", "tokens", "activation_ratio", "se", "loss_dense", "loss_sparse", "ppl_ratio")
    values = {name: row[name] for name in names}
    return {**values, "metric": metric, "parameter": parameter}


def round_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Round the floating-point columns to `DIGITS` significant digits, rounding errors to 0."""
    rounded = table.copy()
    for name in rounded.columns[[dtype.kind == "f" for dtype in rounded.dtypes]]:
        values = [float(f"{value:.{DIGITS}g}") for value in rounded[name]]
        rounded[name] = [0.0 if abs(value) < 1e-12 else value for value in values]
    return rounded
