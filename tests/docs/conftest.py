from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def load(name: str) -> ModuleType:
    """Import a script of docs/ by its file."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Blocks with the same needs are one test a page; their commands one each."""
    if "prepared" not in metafunc.fixturenames:
        return
    snippets = load("snippets")
    found = []
    for path in pages():
        blocks = [b for b in snippets.blocks_of(path.read_text(encoding="utf-8")) if b.needs]
        # Python blocks share names, commands do not.
        python = [b for b in blocks if b.language == "python"]
        lots = [[b] for b in blocks if b.language == "console"] + ([python] if python else [])
        for lot in lots:
            marks = [pytest.mark.long] if any(b.says("long") for b in lot) else []
            name = f"{path.relative_to(ROOT).as_posix()}-{lot[0].line}"
            found.append(pytest.param((path, lot), marks=marks, id=name))
    metafunc.parametrize("prepared", found)


def pages() -> list[Path]:
    """README and all pages of docs that are written by hand."""
    return sorted(
        path
        for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
        if not {"_build", "_generated", "jupyter_execute"} & set(path.parts)
    )


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def snippets() -> ModuleType:
    return load("snippets")


@pytest.fixture(scope="session")
def reference_pages() -> ModuleType:
    return load("reference_pages")


@pytest.fixture(scope="session")
def layout() -> ModuleType:
    pytest.importorskip("docutils", reason="needs the extra docs")
    return load("layout")


@pytest.fixture(scope="session")
def check_links() -> ModuleType:
    return load("check_links")


@pytest.fixture(scope="session")
def reference_fits() -> Any:
    """Fits of two shipped runs, as on the pages."""
    import sparsefit as sf

    shipped = sf.datasets.load("reference_scales")
    return sf.fit(shipped[shipped["run"].isin(["0.11m_relu_s0", "0.03m_silu_s0"])])


_WORDS = "the a model token layer neuron weight text loss learns reads writes falls rises and of"


def _sentences(count: int, seed: int) -> list[str]:
    import numpy as np

    known = _WORDS.split()
    rng = np.random.default_rng(seed)
    likely = np.random.default_rng(1).integers(len(known), size=(len(known), 3))
    sentences = []
    for _ in range(count):
        word, words = 0, []
        for choice in rng.choice(3, size=12, p=[0.6, 0.3, 0.1]):
            word = (
                int(likely[word, choice]) if rng.random() > 0.1 else int(rng.integers(len(known)))
            )
            words.append(known[word])
        sentences.append(" ".join(words) + ".")
    return sentences


@pytest.fixture(scope="session")
def tiny_runs(
    train_tiny: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A folder with runs of a tiny language model and a text, as the pages on measuring expect it.

    Keys: ``folder``; ``model``, ``code``, ``web``, ``other`` and ``run_any_harness``, the names
    that blocks of docs/collectors.md leave to the reader.
    """
    torch = pytest.importorskip("torch", reason="needs the extra collect")
    transformers = pytest.importorskip("transformers", reason="needs the extra collect")
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("measuring")
    texts = _sentences(2000, seed=2)
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.Whitespace()
    bpe.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=64, special_tokens=["<unk>"], show_progress=False)
    )
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="<unk>")
    ids = torch.tensor([i for text in texts for i in bpe.encode(text).ids])
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=16,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        hidden_act="relu",
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    run = folder / "runs" / "0.1b_relu"
    train_tiny(model, ids.numpy(), 160, folder=run, tokens_per_step=327_680, tokenizer=tokenizer)
    (folder / "runs" / "my_relu").symlink_to(run, target_is_directory=True)
    held_out = [{"text": text} for text in _sentences(2000, seed=3)]
    (folder / "validation.jsonl").write_text("\n".join(json.dumps(t) for t in held_out))

    from sparsefit.collectors import load_text, measure_activity

    half = folder / "half.jsonl"
    half.write_text("\n".join(json.dumps(t) for t in held_out[:600]))
    code = load_text(folder / "validation.jsonl", tokenizer=tokenizer, n_tokens=2048)
    web = load_text(half, tokenizer=tokenizer, n_tokens=2048)
    return {
        "folder": folder,
        "model": model,
        "code": code,
        "web": web,
        "other": measure_activity(model, {"code": code, "web": web}, [0.01]),
        "run_any_harness": lambda model: model(input_ids=ids[None, :32]),
    }
