"""The trainer: corpus, loss, schedule, checkpoints, resumption."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from safetensors.torch import load_file  # noqa: E402

from sparsefit.collectors.trainer import (  # noqa: E402
    RunSpec,
    build_corpus,
    families,
    train,
)
from sparsefit.collectors.trainer.checkpoint import build_model  # noqa: E402
from sparsefit.collectors.trainer.corpus import Corpus, split_documents  # noqa: E402
from sparsefit.collectors.trainer.loop import Batches  # noqa: E402
from sparsefit.collectors.trainer.loss import model_loss  # noqa: E402
from sparsefit.errors import ArgumentError, CheckpointError, TextError  # noqa: E402

TINY = RunSpec(
    name="tiny",
    activation="relu",
    hidden_size=16,
    n_layers=1,
    d_ff=32,
    n_heads=2,
    learning_rate=2e-3,
    tokens=40 * 4 * 32,
    vocab_size=300,
    sequence_length=32,
    batch_sequences=4,
    warmup_tokens=10 * 4 * 32,
    first_checkpoint=4 * 32,
    checkpoint_ratio=3.4,
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return build_corpus(tmp_path_factory.mktemp("corpus"), vocab_size=300, max_bytes=300_000)


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "resume.safetensors"
    }


def test_corpus_is_identical_when_built_again(corpus: Corpus, tmp_path: Path) -> None:
    again = build_corpus(tmp_path, vocab_size=300, max_bytes=300_000)
    assert again.card() == corpus.card()
    for name in ("tokenizer.json", "train.npy", "validation.npy", "validation.jsonl"):
        assert (tmp_path / name).read_bytes() == (corpus.path / name).read_bytes()


def test_validation_documents_are_not_trained_on(corpus: Corpus) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(corpus.path / "tokenizer.json"))
    stream = "".join(chr(token) for token in corpus.tokens("train"))
    lines = corpus.validation_text.read_text(encoding="utf-8").splitlines()
    assert len(lines) == corpus.n_validation_files
    for line in lines:
        ids = tokenizer.encode(json.loads(line)["text"]).ids
        assert "".join(map(chr, ids)) not in stream
    assert corpus.tokens("train").max() < 300
    assert int((corpus.tokens("train") == 0).sum()) == corpus.n_files


def test_split_of_a_file_does_not_depend_on_the_others() -> None:
    names = [(f"package/module_{number}.py", "text") for number in range(400)]
    _, apart = split_documents(names)
    assert 5 < len(apart) < 50
    _, apart_of_half = split_documents(names[::2])
    assert set(apart_of_half) == set(apart) & set(names[::2])


def test_files_that_cannot_be_used_are_counted(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number in range(60):
        (source / f"m{number}.py").write_text(f"value_{number} = {number}\n" * 50)
    (source / "copy.py").write_text("value_1 = 1\n" * 50)
    (source / "latin.py").write_bytes(b"# caf\xe9\n")
    (source / "empty.py").write_text("")
    (source / "site-packages").mkdir()
    (source / "site-packages" / "other.py").write_text("other = 1\n")
    built = build_corpus(tmp_path / "corpus", vocab_size=260, root=source)
    assert built.n_skipped == 3
    assert built.n_files + built.n_validation_files == 60


def test_corpus_folder_with_other_text_is_refused(corpus: Corpus) -> None:
    with pytest.raises(TextError, match="Use another folder"):
        build_corpus(corpus.path, vocab_size=300, max_bytes=200_000)
    with pytest.raises(TextError, match="vocab_size"):
        build_corpus(corpus.path, vocab_size=100)


def test_loss_and_gradient_are_the_models_own() -> None:
    model = build_model(TINY)
    windows = torch.randint(300, (5, 33), generator=torch.Generator().manual_seed(1))
    ours = model_loss(model, windows)
    ours.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    logits = model(input_ids=windows[:, :-1]).logits
    own = torch.nn.functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
    own.backward()
    assert ours.item() == pytest.approx(own.item(), abs=1e-5)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, atol=1e-6, rtol=1e-4)


def test_n_params_counts_what_the_model_has() -> None:
    for spec in (TINY, *families.queue(families.NAMES, [0])):
        model = build_model(spec)
        total = sum(parameter.numel() for parameter in model.parameters())
        assert spec.n_params == total - spec.vocab_size * spec.hidden_size


def test_batches_show_every_window_once_an_epoch() -> None:
    tokens = np.arange(1, 32 * 43 + 2, dtype=np.uint16)
    batches = Batches(tokens, TINY)
    assert batches.steps_per_epoch == 10
    first = torch.cat([batches[step] for step in range(1, 11)])
    second = torch.cat([batches[step] for step in range(11, 21)])
    assert len({int(row[0]) for row in first}) == 40
    assert not torch.equal(first, second)
    assert torch.equal(first[:, 1:], first[:, :-1] + 1)
    assert torch.equal(Batches(tokens, TINY)[7], batches[7])
    with pytest.raises(TextError, match="fewer than one batch"):
        Batches(tokens[:100], TINY)


def test_same_seed_same_files_other_seed_other_weights(corpus: Corpus, tmp_path: Path) -> None:
    first = train(TINY, corpus, tmp_path / "a", progress=False)
    again = train(TINY, corpus, tmp_path / "b", progress=False)
    assert contents(first) == contents(again)
    other = train(replace(TINY, seed=1), corpus, tmp_path / "c", progress=False)
    assert [path.name for path in checkpoints(other)] == [path.name for path in checkpoints(first)]
    last = checkpoints(first)[-1].name
    assert (other / last / "model.safetensors").read_bytes() != (
        first / last / "model.safetensors"
    ).read_bytes()


@pytest.mark.parametrize("stops", [[1], [3, 4, 17, 39]])
def test_interrupted_run_ends_in_the_identical_state(
    corpus: Corpus, tmp_path: Path, stops: list[int]
) -> None:
    straight = train(TINY, corpus, tmp_path / "straight", progress=False)
    for stop in stops:
        train(TINY, corpus, tmp_path / "stopped", progress=False, stop_after=stop)
    resumed = train(TINY, corpus, tmp_path / "stopped", progress=False)
    assert contents(resumed) == contents(straight)
    state, other = (load_file(run / "resume.safetensors") for run in (straight, resumed))
    assert state.keys() == other.keys()
    assert any(key.startswith("exp_avg_sq.") for key in state)
    for key, value in state.items():
        assert torch.equal(value, other[key]), key


def test_partial_checkpoint_of_a_killed_run_is_replaced(corpus: Corpus, tmp_path: Path) -> None:
    straight = train(TINY, corpus, tmp_path / "straight", progress=False)
    train(TINY, corpus, tmp_path / "killed", progress=False, stop_after=5)
    step = TINY.checkpoint_steps()[-1]
    rest = tmp_path / "killed" / "tiny" / f".partial-{step}"
    rest.mkdir()
    (rest / "config.json").write_text("{")
    killed = train(TINY, corpus, tmp_path / "killed", progress=False)
    assert contents(killed) == contents(straight)


def test_checkpoints_are_ordinary_hugging_face_folders(corpus: Corpus, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lines: list[str] = []
    folder = train(TINY, corpus, tmp_path, progress=False, report=lines.append)
    steps = [int(path.name.split("-")[1]) for path in checkpoints(folder)]
    assert steps == TINY.checkpoint_steps()
    assert len(lines) == len(steps)
    for path in checkpoints(folder):
        state = json.loads((path / "trainer_state.json").read_text())
        assert state["num_input_tokens_seen"] == state["global_step"] * 4 * 32
        row = state["log_history"][-1]
        assert row["step"] == state["global_step"]
        assert 0 < row["loss"] < 7
        assert 0 < row["eval_loss"] < 7
    assert state["log_history"][-1]["eval_loss"] < state["log_history"][0]["eval_loss"]

    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path)
    assert model.config.architectures == ["LlamaForCausalLM"]
    ids = tokenizer("def f(x):\n    return x\n", return_tensors="pt")["input_ids"]
    assert tokenizer.decode(ids[0]) == "def f(x):\n    return x\n"
    weights = load_file(folder / "resume.safetensors")
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, weights[f"model.{name}"]), name


def test_folder_of_another_run_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    train(TINY, corpus, tmp_path, progress=False, stop_after=2)
    with pytest.raises(CheckpointError, match="another specification"):
        train(replace(TINY, learning_rate=1e-3), corpus, tmp_path, progress=False)


def test_wrong_specifications_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="activation"):
        replace(TINY, activation="gelu")
    with pytest.raises(ArgumentError, match="even size"):
        replace(TINY, n_heads=3)
    with pytest.raises(ArgumentError, match="learning_rate"):
        replace(TINY, learning_rate=float("nan"))
    with pytest.raises(ArgumentError, match="fewer than one step"):
        replace(TINY, tokens=5)
    with pytest.raises(ArgumentError, match="vocab_size"):
        train(replace(TINY, vocab_size=512), corpus, tmp_path, progress=False)


def test_checkpoints_are_log_spaced_and_longer_runs_begin_like_shorter_ones() -> None:
    spec = replace(TINY, tokens=2000 * 4 * 32, first_checkpoint=50 * 4 * 32, checkpoint_ratio=1.2)
    steps = np.array(spec.checkpoint_steps())
    assert steps[0] == 50
    assert 2000 / 1.2 < steps[-1] <= 2000
    np.testing.assert_allclose(steps[1:] / steps[:-1], 1.2, atol=0.02)
    longer = replace(spec, tokens=3 * spec.tokens).checkpoint_steps()
    assert longer[: len(steps)] == list(steps)
    assert spec.n_tokens == steps[-1] * 4 * 32


def test_a_finished_run_can_be_trained_further(corpus: Corpus, tmp_path: Path) -> None:
    straight = train(TINY, corpus, tmp_path / "straight", progress=False)
    train(replace(TINY, tokens=15 * 4 * 32), corpus, tmp_path / "longer", progress=False)
    longer = train(TINY, corpus, tmp_path / "longer", progress=False)
    for path in checkpoints(straight):
        weights = (path / "model.safetensors").read_bytes()
        assert (longer / path.name / "model.safetensors").read_bytes() == weights
    assert json.loads((longer / "run.json").read_text()) == json.loads(
        (straight / "run.json").read_text()
    )


def test_learning_rate_warms_up_then_stays() -> None:
    assert len(TINY.checkpoint_steps()) == 4
    rates = [TINY.learning_rate_at(step) for step in range(1, 41)]
    assert np.all(np.diff(rates[:10]) > 0)
    assert rates[9:] == [2e-3] * 31


def test_families_are_what_they_say() -> None:
    assert len({spec.name for spec in families.queue(families.NAMES)}) == sum(
        len(families.family(name).runs) for name in families.NAMES
    )
    seeds = [spec.seed for spec in families.queue(families.NAMES)]
    assert seeds == sorted(seeds)
    depth = families.family("width_depth", [0]).runs
    sizes = np.array([spec.n_params for spec in depth])
    assert sorted(spec.n_layers for spec in depth)[::8] == [1, 20]
    assert sizes.max() / sizes.min() < 1.05
    for spec in depth:
        assert spec.d_ff / spec.hidden_size == pytest.approx(2.5, abs=0.25)
    by_scale = families.family("scales", [0]).runs
    assert [spec.activation for spec in by_scale] == ["relu"] * 4 + ["silu"] * 4
    some = families.family("scales", [2], max_tokens=1_000_000, only=["0.11m_silu_s2"]).runs
    assert [(spec.name, spec.seed) for spec in some] == [("0.11m_silu_s2", 2)]
    assert some[0].n_tokens <= 1_000_000
    with pytest.raises(ArgumentError, match=r"no run 0\.11m_silu_s1"):
        families.family("scales", [2], only=["0.11m_silu_s1"])
    with pytest.raises(ArgumentError, match="family"):
        families.family("other")
