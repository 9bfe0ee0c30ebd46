"""The whole chain at its smallest: train, checkpoint, measure, write the table."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from sparsefit.collectors.extra import needed_for
from sparsefit.collectors.trainer.spec import RunSpec

DEMO_BYTES = 3_000_000
"""Bytes of the standard library's sources that the demonstration trains on."""
DEMO_TOKENS = 32_768
"""Tokens that it measures on."""


def demo_spec(seed: int = 0) -> RunSpec:
    """Specification of the smallest ReLU run: 0.03M parameters, 16 checkpoints."""
    return RunSpec(
        name=f"demo_relu_s{seed}",
        activation="relu",
        hidden_size=24,
        n_layers=2,
        d_ff=192,
        n_heads=2,
        learning_rate=1e-3,
        tokens=2_000_000,
        seed=seed,
        vocab_size=512,
    )


def demo_chain(
    out: Path | str,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
    threads: int = 1,
    spec: RunSpec | None = None,
    max_bytes: int = DEMO_BYTES,
    n_tokens: int = DEMO_TOKENS,
) -> Path:
    """Train a small ReLU run and measure its checkpoints, from nothing to a table.

    Everything is resumable: called again with the same folder, it continues where it stopped.

    Parameters
    ----------
    out : Path or str
        Folder for corpus, checkpoints and table.
    seed : int
        Seed of the run.
    progress : callable, optional
        Called with a line of text at each stage and checkpoint; with one, bars are shown too where
        standard error is a terminal.
    threads : int
        Torch threads.
    spec : RunSpec, optional
        Another run, such as an even smaller one in tests.
    max_bytes : int
        Bytes of the standard library's sources to use.
    n_tokens : int
        Tokens of the evaluation text.

    Returns
    -------
    Path
        ``<run>.csv`` in `out`, a measurement table that `sparsefit.read_table` reads.

    Raises
    ------
    MissingDependencyError
        Without the extra ``collect``.
    """
    with needed_for("training a demonstration run"):
        from sparsefit.collectors.trainer.corpus import build_corpus
        from sparsefit.collectors.trainer.loop import train
        from sparsefit.collectors.trainer.measurement import measure_spec
    from sparsefit.provenance import provenance
    from sparsefit.table import write_table

    def say(line: str) -> None:
        if progress is not None:
            progress(line)

    out = Path(out)
    spec = demo_spec(seed) if spec is None else spec
    say(f"corpus: {max_bytes / 1e6:.1f} MB of Python's standard library")
    corpus = build_corpus(out / "corpus", vocab_size=spec.vocab_size, max_bytes=max_bytes)
    say(f"training {spec.name}: {spec.n_params:,} parameters, {spec.n_tokens:,} tokens")
    train(spec, corpus, out, threads=threads, progress=progress is not None, report=progress)
    say(f"measuring {len(spec.checkpoint_steps())} checkpoints (CETT-PPL-1%)")
    show = progress is not None and sys.stderr.isatty()
    table, solution = measure_spec(spec, corpus, out, n_tokens, progress=show)
    path = out / f"{spec.name}.csv"
    origin = provenance(spec=spec.to_dict(), corpus=corpus.card(), solution=solution)
    write_table(table, path, provenance=origin)
    return path
