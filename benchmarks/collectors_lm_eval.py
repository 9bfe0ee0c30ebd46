"""`sparse(model, thresholds)` inside lm-evaluation-harness, on a tiny task made here.

    pip install lm-eval
    python benchmarks/collectors_lm_eval.py

A tiny language model learns a made-up language of 60 words in which the next word depends on the
last two; the task asks for it among four. The harness runs the model dense, with thresholds 0 (must
change nothing), with the thresholds of CETT-PPL-1% and -10%, and with every neuron skipped (must
equal a model without feed-forward layers). This is the workflow of the paper's Table 1; no figure
here says anything about real models.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparsefit.collectors import pack_windows, sparse
from sparsefit.collectors.checkpoint_measure import LoadedCheckpoint
from sparsefit.collectors.single import solve_model

WORDS, KINDS, WINDOW, QUESTIONS = 60, 4, 32, 200


def main() -> int:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    # By the last word, and the kind of the word before it.
    successors = rng.integers(2, WORDS, (WORDS, KINDS))
    tokens = rng.integers(2, WORDS, 60_000)
    for at in np.flatnonzero(rng.random(tokens.size) < 0.8):
        if at > 1:
            tokens[at] = successors[tokens[at - 1], tokens[at - 2] % KINDS]
    model = train(tokens[:50_000], rng)
    text = pack_windows([tokens[50_000:58_192]], seq_len=WINDOW, name="made-up language")
    loaded = LoadedCheckpoint.of(model, text, 64)
    settings: dict[str, Any] = {"dense": None, "thresholds 0": np.zeros(len(loaded.sites))}
    for p in (1, 10):
        found = solve_model(loaded, text, math.log1p(p / 100)).measurement
        name = f"CETT-PPL-{p}% (activation ratio {found.activation_ratio:.3f})"
        settings[name] = found.thresholds
    settings["every neuron skipped"] = np.full(len(loaded.sites), np.inf)
    with tempfile.TemporaryDirectory() as folder:
        write_questions(Path(folder), tokens[58_192:], successors, rng)
        scores = {name: score(model, Path(folder), eps) for name, eps in settings.items()}
        for site in loaded.sites:
            site.projection.weight.data.zero_()
        scores["without feed-forward layers"] = score(model, Path(folder), None)
    print("| model | accuracy |\n|---|---|")
    for name, value in scores.items():
        print(f"| {name} | {value:.3f} |")
    same = scores["dense"] == scores["thresholds 0"]
    bare = scores["every neuron skipped"] == scores["without feed-forward layers"]
    return 0 if same and bare else 1


def score(model: Any, folder: Path, thresholds: np.ndarray | None) -> float:
    """Accuracy of the tiny task, by the harness."""
    import lm_eval
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.models.huggingface import HFLM

    task = ConfigurableTask(
        config={
            "task": "next_word",
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(folder / "questions.jsonl")}},
            "test_split": "test",
            "output_type": "multiple_choice",
            "doc_to_text": "{{context}}",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "{{answer}}",
            "metric_list": [{"metric": "acc"}],
        }
    )
    harness = HFLM(pretrained=model, tokenizer=tokenizer(), batch_size=16)

    def evaluate() -> float:
        result = lm_eval.evaluate(harness, {"next_word": task}, bootstrap_iters=0)
        return float(result["results"]["next_word"]["acc,none"])

    if thresholds is None:
        return evaluate()
    with sparse(model, thresholds):
        return evaluate()


def tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<end>": 0, "<unknown>": 1} | {f"w{number}": number for number in range(2, WORDS)}
    made = Tokenizer(models.WordLevel(words, unk_token="<unknown>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<end>", pad_token="<end>", unk_token="<unknown>"
    )


def write_questions(
    folder: Path, tokens: np.ndarray, successors: np.ndarray, rng: np.random.Generator
) -> None:
    lines = []
    for number in range(QUESTIONS):
        context = tokens[number * 8 : number * 8 + 8]
        kind = context[-2] % KINDS
        # What would follow the same word after words of the other kinds.
        wrong = np.delete(successors[context[-1]], kind)
        choices = [int(successors[context[-1], kind]), *wrong.tolist()]
        order = rng.permutation(4)
        question = {
            "context": " ".join(f"w{token}" for token in context),
            "choices": [f"w{choices[at]}" for at in order],
            "answer": int(np.flatnonzero(order == 0)[0]),
        }
        lines.append(json.dumps(question))
    (folder / "questions.jsonl").write_text("\n".join(lines) + "\n")


def train(tokens: np.ndarray, rng: np.random.Generator) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=WORDS,
        hidden_size=48,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=2,
        hidden_act="relu",
        max_position_embeddings=64,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(600):
        starts = rng.integers(0, tokens.size - WINDOW, 16)
        ids = torch.from_numpy(np.stack([tokens[at : at + WINDOW] for at in starts]))
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model.eval()


if __name__ == "__main__":
    sys.exit(main())
