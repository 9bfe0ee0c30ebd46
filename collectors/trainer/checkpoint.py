"""Checkpoints on disk: ordinary Hugging Face folders, and the state from which a run resumes."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sparsefit.collectors.trainer.corpus import END_OF_TEXT, Corpus
from sparsefit.collectors.trainer.spec import RunSpec
from sparsefit.errors import CheckpointError

_RESUME = "resume.safetensors"


@dataclass
class Progress:
    """Where a run stands, apart from weights and optimiser.

    Attributes
    ----------
    step : int
        Steps done.
    losses : list of float
        Losses of the last steps, for the logged mean.
    log : list of dict
        `log_history` of ``trainer_state.json``.
    seconds : float
        CPU seconds of the training process so far, over all of its resumptions.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    log: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


def build_model(spec: RunSpec) -> Any:
    """Build the run's randomly initialised `LlamaForCausalLM` (float32, tied head)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=spec.vocab_size,
        hidden_size=spec.hidden_size,
        intermediate_size=spec.d_ff,
        num_hidden_layers=spec.n_layers,
        num_attention_heads=spec.n_heads,
        num_key_value_heads=spec.n_heads,
        hidden_act=spec.activation,
        max_position_embeddings=spec.sequence_length,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        dtype="float32",
        architectures=["LlamaForCausalLM"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        return LlamaForCausalLM(config)


def build_tokenizer(corpus: Corpus, spec: RunSpec) -> Any:
    """Load the corpus' vocabulary as a Hugging Face tokenizer."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_file=str(corpus.path / "tokenizer.json"),
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        model_max_length=spec.sequence_length,
    )


def save_checkpoint(
    folder: Path, model: Any, tokenizer: Any, spec: RunSpec, progress: Progress
) -> None:
    """Save ``checkpoint-<step>`` whole or not at all.

    One that is already there (a run killed between its checkpoint and its resume state) is kept:
    the run repeats its steps exactly.
    """
    from safetensors.torch import save_file

    target = folder / f"checkpoint-{progress.step}"
    if target.exists():
        return
    partial = folder / f".partial-{progress.step}"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    # Not model.save_pretrained, which draws a progress bar for each of many tiny files.
    # named_parameters leaves out the tied head, and one key of metadata has one order on disk.
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    save_file(weights, partial / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(partial)
    model.generation_config.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    state = {
        "global_step": progress.step,
        "max_steps": spec.n_steps,
        "num_input_tokens_seen": progress.step * spec.tokens_per_step,
        "train_batch_size": spec.batch_sequences,
        "log_history": progress.log,
    }
    (partial / "trainer_state.json").write_text(json.dumps(state, indent=1), encoding="utf-8")
    partial.replace(target)


def save_resume(
    folder: Path, model: Any, optimizer: torch.optim.Optimizer, progress: Progress, fingerprint: str
) -> None:
    """Write everything that the next step depends on, atomically."""
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {"rng": torch.get_rng_state()}
    for name, parameter in model.named_parameters():
        tensors[f"model.{name}"] = parameter.detach()
        for key, value in optimizer.state[parameter].items():
            tensors[f"{key}.{name}"] = value
    record = {
        "fingerprint": fingerprint,
        "step": progress.step,
        "losses": progress.losses,
        "log": progress.log,
        "seconds": progress.seconds,
    }
    partial = folder / f"{_RESUME}.partial"
    save_file(tensors, partial, metadata={"progress": json.dumps(record)})
    partial.replace(folder / _RESUME)


def load_resume(
    folder: Path, model: Any, optimizer: torch.optim.Optimizer, fingerprint: str
) -> Progress:
    """Restore the last state into model and optimiser; a fresh `Progress` if there is none."""
    from safetensors import safe_open

    path = folder / _RESUME
    if not path.exists():
        return Progress()
    with safe_open(path, framework="pt") as stream:
        record = json.loads(stream.metadata()["progress"])
        tensors = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
    if record.pop("fingerprint") != fingerprint:
        raise CheckpointError(
            f"{folder} holds a run with another specification or corpus. "
            "Give the new run another name or folder"
        )
    state: dict[int, dict[str, torch.Tensor]] = {}
    with torch.no_grad():
        for index, (name, parameter) in enumerate(model.named_parameters()):
            parameter.copy_(tensors[f"model.{name}"])
            keys = ("step", "exp_avg", "exp_avg_sq")
            state[index] = {key: tensors[f"{key}.{name}"] for key in keys}
    groups = optimizer.state_dict()["param_groups"]
    order = {id(p): index for index, (_, p) in enumerate(model.named_parameters())}
    # The optimiser numbers parameters by group, the file by the model's order.
    numbers = [order[id(p)] for group in optimizer.param_groups for p in group["params"]]
    optimizer.load_state_dict(
        {
            "state": {place: state[number] for place, number in enumerate(numbers)},
            "param_groups": groups,
        }
    )
    torch.set_rng_state(tensors["rng"])
    return Progress(**record)


def training_seconds(folder: Path) -> float:
    """CPU seconds of training that a run has taken so far, over all of its resumptions."""
    from safetensors import safe_open

    path = folder / _RESUME
    if not path.exists():
        raise CheckpointError(f"{folder}: no {_RESUME}, so this is not a run of the trainer")
    with safe_open(path, framework="pt") as stream:
        return float(json.loads(stream.metadata()["progress"])["seconds"])
