"""Write a measured family as a table with its card, as shipped in ``data/``."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sparsefit.collectors.trainer.checkpoint import training_seconds
from sparsefit.collectors.trainer.corpus import Corpus, build_corpus
from sparsefit.collectors.trainer.families import Family
from sparsefit.collectors.trainer.measurement import measure_other_metrics, measure_spec
from sparsefit.collectors.trainer.spec import RunSpec
from sparsefit.errors import CollectorError

if TYPE_CHECKING:
    import pandas as pd

N_TOKENS = 32_768
"""Tokens of the evaluation text."""

_TOY = (
    "A toy: models under 0.3M parameters, one source of text (Python code), a vocabulary of 1,024, "
    "windows of 128 tokens, plain AdamW without a decay stage. What holds here need not hold for "
    "language models, and the other way round.",
    "Tokens are counted as seen in training; runs longer than the corpus' tokens see it again in "
    "another order.",
    "One seed of a run reproduces the table exactly on one machine; another processor or another "
    "version of torch may differ in the last digits and then drift apart within the spread "
    "between seeds.",
    "`loss` is the training loss (mean over the last tenth of the steps, at most 100), "
    "`loss_dense` the validation loss.",
)
_METRIC_COLUMNS = {
    "run": ("text", None, "run, as in the family's table"),
    "tokens": ("integer", "tokens", "training tokens seen by the run's last checkpoint"),
    "metric": ("text", None, "cett_ppl, cett, topk, fat or relu_zero"),
    "parameter": (
        "number",
        None,
        "cett_ppl: percent; cett: CETT; topk: neurons kept; fat: threshold on |s_i|; else empty",
    ),
    "activation_ratio": ("number", "fraction", "share of neurons kept, mean over layers"),
    "se": ("number", "fraction", "standard error of the activation ratio"),
    "loss_dense": ("number", "nats per token", "validation loss with all neurons"),
    "loss_sparse": ("number", "nats per token", "validation loss with the kept neurons"),
    "ppl_ratio": ("number", "ratio", "sparse over dense perplexity"),
}


def write_family(
    family: Family,
    out: Path,
    tables: Path,
    threads: int = 1,
    n_tokens: int | None = None,
    progress: bool = True,
    options: str = "",
) -> Path:
    """Measure a family's finished runs and write its tables and cards.

    Parameters
    ----------
    family : Family
    out : Path
        Folder of runs and corpus.
    tables : Path
        Folder for ``reference_<family>.csv`` and ``reference_<family>_metrics.csv``, each with its
        ``.card.json``.
    threads : int
        Torch threads.
    n_tokens : int, optional
        Tokens of the evaluation text, `N_TOKENS` by default.
    progress : bool
        Show bars where standard error is a terminal.
    options : str
        Options of the command line that made the family what it is, for the card.

    Returns
    -------
    Path
        The measurement table.

    Raises
    ------
    CheckpointError
        If a run is not trained to its end.
    CollectorError
        If a checkpoint could not be measured.
    """
    import pandas as pd
    import torch

    from sparsefit.table import write_table

    n_tokens = N_TOKENS if n_tokens is None else n_tokens
    torch.set_num_threads(threads)
    corpus = build_corpus(out / "corpus")
    show = progress and sys.stderr.isatty()
    parts, others, solutions = [], [], {}
    for spec in family.runs:
        table, solutions[spec.name] = measure_spec(spec, corpus, out, n_tokens, progress=show)
        failed = table[table["status"] != "ok"]
        if len(failed):
            raise CollectorError(f"{spec.name}: {failed['message'].iloc[0]}")
        parts.append(table)
        others += measure_other_metrics(spec, corpus, out, n_tokens, table)
    tables.mkdir(parents=True, exist_ok=True)
    name = f"reference_{family.name}"
    rows = pd.concat(parts, ignore_index=True)
    card = _card(family, corpus, out, n_tokens, options)
    provenance = {key: card[key] for key in ("command", "versions", "corpus", "runs")}
    write_table(rows, tables / f"{name}.csv", provenance={**provenance, "solutions": solutions})
    _write_card(tables / f"{name}.card.json", card, rows=len(rows), schema="measurement-table")
    metrics = pd.DataFrame(others)[list(_METRIC_COLUMNS)]
    _write_metrics(tables / f"{name}_metrics.csv", metrics, card)
    return tables / f"{name}.csv"


def _write_metrics(path: Path, metrics: pd.DataFrame, card: dict[str, Any]) -> None:
    metrics.to_csv(path, index=False, lineterminator="\n")
    columns = {
        name: {"type": kind, **({"unit": unit} if unit else {}), "meaning": meaning}
        for name, (kind, unit, meaning) in _METRIC_COLUMNS.items()
    }
    _write_card(
        path.with_suffix(".card.json"),
        {
            **card,
            "title": f"Other metrics on the last checkpoints: {card['title']}",
            "notes": [
                *card["notes"],
                "topk keeps as many neurons as CETT-PPL-1% does on the mean, so that both compare "
                "at one activation ratio.",
            ],
        },
        rows=len(metrics),
        columns=columns,
    )


def _write_card(path: Path, card: dict[str, Any], **more: Any) -> None:
    path.write_text(json.dumps({**card, **more}, indent=1) + "\n", encoding="utf-8")


def _card(family: Family, corpus: Corpus, out: Path, n_tokens: int, options: str) -> dict[str, Any]:
    import torch
    import transformers

    import sparsefit

    seeds = sorted({spec.seed for spec in family.runs})
    command = (
        f"python -m sparsefit.collectors.trainer reproduce {family.name} "
        f"--seeds {' '.join(map(str, seeds))}{options} --out runs --tables data"
    )
    runs = [_run_record(spec, out) for spec in family.runs]
    return {
        "title": family.title,
        "kind": "measured",
        "source": command,
        "command": command,
        "protocol": "CETT-PPL-1%, one CETT a run, solved jointly on its last five checkpoints",
        "n_eval_tokens": n_tokens,
        "versions": {
            "sparsefit": sparsefit.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
        "machine": f"{platform.system()} {platform.machine()}, CPU, float32, one thread",
        "corpus": corpus.card(),
        "seeds": seeds,
        "hours": round(sum(run["cpu_seconds"] for run in runs) / 3600, 2),
        "runs": runs,
        "notes": [*family.notes, *_TOY],
        "license": "Apache-2.0",
    }


def _run_record(spec: RunSpec, out: Path) -> dict[str, Any]:
    last = out / spec.name / f"checkpoint-{spec.n_steps}" / "model.safetensors"
    return {
        "run": spec.name,
        "seed": spec.seed,
        "n_params": spec.n_params,
        "learning_rate": spec.learning_rate,
        "tokens": spec.n_tokens,
        "tokens_per_parameter": round(spec.n_tokens / spec.n_params, 1),
        "cpu_seconds": round(training_seconds(out / spec.name)),
        "last_checkpoint_sha256": hashlib.sha256(last.read_bytes()).hexdigest(),
    }
