from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from sparsefit.collectors import memory  # noqa: E402
from sparsefit.collectors.text import EvaluationText  # noqa: E402

VOCABULARY = 64


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests share a small machine; one thread also makes sums reproducible."""
    torch.set_num_threads(1)


def tiny_llama(activation: str = "silu", seed: int = 0, **changes: Any) -> Any:
    options: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 24,
        "intermediate_size": 60,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "hidden_act": activation,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 0,
    }
    config = transformers.LlamaConfig(**{**options, **changes})
    torch.manual_seed(seed)
    return transformers.LlamaForCausalLM(config).eval()


def markov_tokens(count: int, seed: int = 0) -> np.ndarray:
    """A language with structure to learn: each token has four likely successors."""
    successors = np.random.default_rng(12345).integers(1, VOCABULARY, (VOCABULARY, 4))
    rng = np.random.default_rng(seed)
    choice = rng.choice(4, size=count, p=[0.55, 0.25, 0.15, 0.05])
    noise = rng.random(count) < 0.03
    other = rng.integers(1, VOCABULARY, count)
    tokens = np.empty(count, dtype=np.int64)
    token = 1
    for at in range(count):
        token = other[at] if noise[at] else successors[token, choice[at]]
        tokens[at] = token
    return tokens


FAMILY = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def family_model(family: str, **changes: Any) -> Any:
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(**{**FAMILY, **changes})
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Default initialisation leaves feed-forward outputs too small to matter.
            if parameter.dim() == 2:
                parameter.mul_(5)
    return model


@pytest.fixture(scope="session")
def family() -> Callable[..., Any]:
    """Factory of random tiny models of any family: 3 layers, 32 wide, 48 neurons where asked."""
    return family_model


@pytest.fixture(scope="session")
def windows() -> EvaluationText:
    """Six windows of 24 random tokens."""
    tokens = np.random.default_rng(0).integers(3, VOCABULARY, (6, 24))
    return EvaluationText(tokens, np.ones_like(tokens, dtype=bool))


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Any]:
    """Factory of random tiny Llama models."""
    return tiny_llama


@pytest.fixture(scope="session")
def trained_silu(train_tiny: Callable[..., Any]) -> Any:
    return train_tiny(tiny_llama("silu"), markov_tokens(60_000, seed=1), 150)


@pytest.fixture(scope="session")
def trained_relu(train_tiny: Callable[..., Any]) -> Any:
    return train_tiny(tiny_llama("relu", seed=1), markov_tokens(60_000, seed=1), 150)


@pytest.fixture(scope="session")
def trained_run(train_tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 10 checkpoints, 20 steps of 512 tokens apart."""
    folder = tmp_path_factory.mktemp("runs") / "tiny_relu"
    train_tiny(tiny_llama("relu", seed=2), markov_tokens(60_000, seed=1), 200, folder=folder)
    return folder


@pytest.fixture(scope="session")
def markov() -> Callable[..., np.ndarray]:
    """Factory of token streams of the language that the tiny models learnt."""
    return markov_tokens


@pytest.fixture(scope="session")
def text() -> EvaluationText:
    """2048 tokens in windows of 32."""
    tokens = markov_tokens(2048, seed=7).reshape(-1, 32)
    return EvaluationText(tokens, np.ones_like(tokens, dtype=bool), "markov")


@pytest.fixture(scope="session")
def ragged_text() -> EvaluationText:
    """Windows of different lengths, padded, with a token before each that does not count."""
    rng = np.random.default_rng(3)
    tokens = markov_tokens(40 * 32, seed=8).reshape(40, 32)
    counted = np.arange(32)[None, :] < rng.integers(5, 33, 40)[:, None]
    counted[:, 0] = False
    return EvaluationText(np.where(np.arange(32) < counted.sum(1)[:, None] + 1, tokens, 0), counted)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the checkpoints that are loaded for measurements from now on."""
    names: list[str] = []
    original = memory.load_model

    def load(checkpoint: Any, options: Any) -> Any:
        names.append(checkpoint.name)
        return original(checkpoint, options)

    monkeypatch.setattr(memory, "load_model", load)
    return names


@pytest.fixture
def measure_command(markov, tmp_path: Path) -> Callable[..., int]:
    """Return a function that measures a run on a small text from the command line: exit status."""
    from sparsefit.cli import main

    np.save(tmp_path / "t.npy", markov(512, seed=4))
    words = ["--text", str(tmp_path / "t.npy"), "--seq-len", "32", "--joint", "2", "--quiet"]

    def measure(run: Path, output: Path, *more: str) -> int:
        return main(["measure", str(run), *words, "-o", str(output), *more])

    return measure
