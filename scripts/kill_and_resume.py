"""Kill a measurement at random moments, resume it, and compare the tables.

    OMP_NUM_THREADS=1 python scripts/kill_and_resume.py --kills 20

A tiny language model is trained for 200 steps with ten checkpoints, and `sparsefit measure` runs
over them once undisturbed. Then, again and again, the same command is killed (SIGKILL) at a moment
drawn uniformly from its duration, and run once more to its end; both tables must be the same bytes.
The command runs in forked processes, so that the libraries are only loaded once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from itertools import zip_longest
from pathlib import Path

import numpy as np

VOCABULARY, WINDOW = 64, 32
_SOME_FAILED = 3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="folder of checkpoints (default: trained here)")
    parser.add_argument("--text", type=Path, help="token ids, .npy (with --run)")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument(
        "--damage", type=int, action="append", default=[], help="step of a checkpoint to truncate"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    # Loaded before the first fork; also by the models' own lazy imports.
    import scipy.interpolate
    import scipy.optimize  # noqa: F401
    import torch
    from transformers import LlamaForCausalLM  # noqa: F401

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run, text = arguments.run, arguments.text
        if run is None:
            run, text = folder / "tiny", folder / "text.npy"
            # In a process of its own: a forked process must not inherit used thread pools.
            _wait(_fork(lambda: train(run, text)))
            for step in arguments.damage:
                weights = run / f"checkpoint-{step}" / "model.safetensors"
                weights.write_bytes(weights.read_bytes()[:1000])
        report = kill_and_resume(run, text, folder, arguments)
    print(json.dumps(report) if arguments.json else _sentence(report))
    return 0 if report["identical"] == report["kills"] else 1


def kill_and_resume(
    run: Path, text: Path, folder: Path, arguments: argparse.Namespace
) -> dict[str, object]:
    """Measure undisturbed, then killed at each of the random moments."""

    def command(output: Path) -> int:
        from sparsefit.cli import main as sparsefit

        words = ["measure", str(run), "--text", str(text), "--seq-len", str(WINDOW)]
        words += ["--n-tokens", str(arguments.tokens), "-o", str(output), "--quiet"]
        sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115
        return sparsefit(words)

    whole = _output(folder, "whole")
    start = time.monotonic()
    undisturbed = _wait(_fork(lambda: command(whole)))
    if undisturbed not in (0, _SOME_FAILED):
        raise SystemExit("the undisturbed measurement failed")
    duration = time.monotonic() - start
    expected = _tables(whole)
    rng = np.random.default_rng(arguments.seed)
    identical, parts, unfinished = 0, [], 0
    for number in range(arguments.kills):
        output = _output(folder, f"killed{number}")
        process = _fork(lambda: command(output))  # noqa: B023
        time.sleep(float(rng.uniform(0, duration)))
        os.kill(process, signal.SIGKILL)
        unfinished += os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
        parts.append(len(list(output.with_name("points.csv.parts").glob("*.json"))))
        status = _wait(_fork(lambda: command(output)))  # noqa: B023
        ended = status == undisturbed
        same = ended and _tables(output) == expected
        identical += same
        if not same:
            differ = _first_difference(output, whole) if ended else f"exit status {status}"
            print(f"kill {number + 1}, {parts[-1]} parts: {differ}", file=sys.stderr)
        if not arguments.json:
            print(f"kill {number + 1}: {parts[-1]} parts were there; {identical} identical so far")
    return {
        "kills": arguments.kills,
        "killed_while_running": unfinished,
        "identical": identical,
        "parts_at_the_kill": parts,
        "undisturbed_seconds": round(duration, 1),
    }


def train(run: Path, text: Path) -> int:
    """Train a tiny model on a made-up language, with ten checkpoints."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    rng = np.random.default_rng(0)
    successors = rng.integers(1, VOCABULARY, (VOCABULARY, 4))
    tokens = np.ones(50_000, dtype=np.int64)
    for at in range(1, tokens.size):
        tokens[at] = successors[tokens[at - 1], rng.choice(4, p=[0.55, 0.25, 0.15, 0.05])]
    np.save(text, tokens[-8192:])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=24,
        intermediate_size=60,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_act="relu",
        max_position_embeddings=64,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for step in range(1, 201):
        starts = rng.integers(0, 40_000, 16)
        ids = torch.from_numpy(np.stack([tokens[at : at + WINDOW] for at in starts]))
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step % 20 == 0:
            target = run / f"checkpoint-{step}"
            model.save_pretrained(target)
            state = {"global_step": step, "num_input_tokens_seen": step * 16 * WINDOW}
            (target / "trainer_state.json").write_text(json.dumps({**state, "log_history": []}))
    return 0


def _fork(call) -> int:  # type: ignore[no-untyped-def]
    process = os.fork()
    if process == 0:
        status = 1
        try:
            status = call()
        finally:
            os._exit(status)
    return process


def _wait(process: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def _output(folder: Path, name: str) -> Path:
    (folder / name).mkdir()
    return folder / name / "points.csv"


def _tables(output: Path) -> tuple[bytes, bytes]:
    return output.read_bytes(), output.with_name("points.layers.csv").read_bytes()


def _first_difference(output: Path, whole: Path) -> str:
    for name in ("points.csv", "points.layers.csv"):
        pairs = zip_longest(
            *(path.with_name(name).read_text().split("\n") for path in (output, whole))
        )
        for found, wanted in pairs:
            if found != wanted:
                return f"{name} has\n{found}\nin place of\n{wanted}"
    return "no difference in the text"


def _sentence(report: dict[str, object]) -> str:
    return (
        f"{report['identical']} of {report['kills']} resumed measurements ended in the identical "
        f"table; {report['killed_while_running']} were killed while running, undisturbed they take "
        f"{report['undisturbed_seconds']} s"
    )


if __name__ == "__main__":
    sys.exit(main())
