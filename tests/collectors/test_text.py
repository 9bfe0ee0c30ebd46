"""Evaluation texts: windows, counted positions, hashes, damage."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsefit.collectors.text import EvaluationText, UnknownTokensWarning, load_text, pack_windows
from sparsefit.errors import ArgumentError, TextError


class Tokenizer:
    """A letter is a token."""

    bos_token_id = 1
    eos_token_id = 2

    def __init__(self, adds_bos: bool = True) -> None:
        self.adds_bos = adds_bos

    def __call__(self, text, add_special_tokens=True, **_):
        ids = [3 + ord(letter) % 50 for letter in text]
        return {"input_ids": [1, *ids] if add_special_tokens and self.adds_bos else ids}


@given(
    documents=st.lists(st.lists(st.integers(3, 60), min_size=2, max_size=40), min_size=1),
    length=st.integers(3, 17),
    separate=st.booleans(),
    bos=st.sampled_from([None, 1]),
)
def test_no_token_is_lost_or_counted_twice(documents, length, separate, bos) -> None:
    text = pack_windows(documents, seq_len=length, bos=bos, separate=separate)
    total = sum(len(document) for document in documents)
    # Without a token before it, a last window of one token predicts nothing and is left out.
    body = length - (bos is not None)
    ends = [len(document) for document in documents] if separate else [total]
    lost = 0 if bos is not None else sum(end % body == 1 for end in ends)
    assert text.n_tokens == total - lost
    if bos is not None:
        assert (text.tokens[:, 0] == bos).all()
        assert not text.counted[:, 0].any()
    if not lost:
        assert text.tokens[text.counted].tolist() == [t for d in documents for t in d]


def test_prediction_never_crosses_a_window() -> None:
    text = pack_windows([np.arange(3, 13)], seq_len=4, bos=1)
    assert text.tokens.tolist()[0] == [1, 3, 4, 5]
    assert text.predicted.sum() == 10
    unprefixed = pack_windows([np.arange(3, 13)], seq_len=5)
    assert unprefixed.predicted.sum() == 8


def test_sources_give_the_same_tokens(tmp_path) -> None:
    plain, lines, ids = tmp_path / "a.txt", tmp_path / "a.jsonl", tmp_path / "a.npy"
    plain.write_text("hello world, hello")
    lines.write_text(json.dumps({"text": "hello world, hello"}) + "\n")
    encoded = Tokenizer()("hello world, hello", add_special_tokens=False)["input_ids"]
    np.save(ids, np.array(encoded, dtype=np.int32))
    texts = [load_text(path, Tokenizer(), seq_len=8) for path in (plain, lines, ids)]
    assert texts[0].hash == texts[1].hash == texts[2].hash
    assert texts[0].label.startswith("a.txt sha256:")


def test_other_ways_to_save_a_corpus(tmp_path) -> None:
    """Compressed, with Windows' mark and line ends, JSON lines or an array named .json."""
    documents = [{"text": "hello world"}, {"text": "hello again"}]
    lines = "\r\n".join(json.dumps(document) for document in documents).encode("utf-8-sig")
    contents = {
        "a.jsonl": lines,
        "a.jsonl.gz": gzip.compress(lines),
        "a.json": lines,
        "a.json.gz": gzip.compress(lines),
        "b.json": json.dumps(documents, indent=1).encode(),
    }
    hashes = set()
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
        hashes.add(load_text(tmp_path / name, Tokenizer(), seq_len=8).hash)
    assert len(hashes) == 1
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"\xef\xbb\xbfhello\r\nworld"))
    plain = load_text(["hello\nworld"], Tokenizer(), seq_len=8)
    assert load_text(tmp_path / "a.txt.gz", Tokenizer(), seq_len=8).hash == plain.hash


def test_of_a_long_document_only_the_start_is_encoded() -> None:
    tokenizers = pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdef"), rng.integers(1, 9))) for _ in range(400)]
    document = " ".join(rng.choice(words, 20_000))
    model = tokenizers.Tokenizer(tokenizers.models.BPE())
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=500, show_progress=False)
    # No split into words first: the hardest case, a pair may be merged anywhere.
    model.train_from_iterator([document[:20_000]], trainer)
    whole = transformers.PreTrainedTokenizerFast(tokenizer_object=model)
    longest = 0

    def counting(part, **options):
        nonlocal longest
        longest = max(longest, len(part))
        return whole(part, **options)

    expected = whole(document, add_special_tokens=False, verbose=False)["input_ids"]
    for wanted in (2, 100, 3000):
        text = load_text([document], counting, seq_len=64, n_tokens=wanted, bos="never")
        assert text.tokens[text.counted].tolist() == expected[:wanted]
        assert longest < 8 * (wanted + 300)


class FewWords:
    """Knows two words."""

    unk_token, unk_token_id, eos_token_id = "<unk>", 7, 0

    def __call__(self, text, **_):
        known = {"a": 1, "b": 2}
        return {"input_ids": [known.get(word, self.unk_token_id) for word in text.split()]}


def test_a_text_that_the_tokenizer_does_not_know_is_warned_about() -> None:
    with pytest.warns(UnknownTokensWarning, match="25% of the tokens are <unk>"):
        load_text(["a b c a", "a b d b"], FewWords())
    load_text(["a b a b"], FewWords())
    # One token for everything special says nothing.
    one = FewWords()
    one.eos_token_id = 7
    load_text(["c d"], one)


def test_documents_are_joined_by_the_separator_or_kept_apart(tmp_path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "aaaa\\u2028b"}\n{"tokens": [9, 9, 9]}\n')
    joined = load_text(path, Tokenizer(False), seq_len=100)
    assert joined.n_windows == 1
    assert (joined.tokens == 2).sum() == 2
    apart = load_text(path, Tokenizer(False), seq_len=100, documents="separate")
    assert apart.n_windows == 2
    assert apart.tokens[1, :3].tolist() == [9, 9, 9]


def test_bos_follows_the_tokenizer_unless_told(tmp_path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("some text here")
    assert load_text(path, Tokenizer(True), seq_len=8).tokens[0, 0] == 1
    assert load_text(path, Tokenizer(False), seq_len=8).tokens[0, 0] != 1
    assert load_text(path, Tokenizer(False), seq_len=8, bos="always").tokens[0, 0] == 1
    assert load_text(path, Tokenizer(True), seq_len=8, bos="never").tokens[0, 0] != 1


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("e.txt", "", "empty"),
        ("e.txt", " \n ", "empty"),
        ("one.txt", "a", "1 tokens"),
        ("bad.jsonl", '{"text": "a b"}\n{oops\n', "line 2"),
        ("field.jsonl", '{"content": "a"}\n', "line 1"),
        (
            "null.jsonl",
            '{"text": "a b"}\n{"text": null}\n',
            "line 2: field 'text' must be",
        ),
        ("ids.jsonl", '{"tokens": [1, 2.5]}\n', "line 1: field 'tokens' must be a list of whole"),
        ("ids.npy", "not an array", "cannot be read"),
        (
            "half.jsonl",
            '{"text": "a \\ud800 b"}\n',
            r"line 1: field 'text' must be text, which '.ud800'",
        ),
        ("huge.jsonl", '{"tokens": [1, 99999999999999999999]}\n', "must be a list of whole"),
        ("deep.jsonl", "[" * 100_000, "line 1: not JSON"),
        ("deep.json", "[" * 100_000, "line 1: not JSON"),
        ("nothing.jsonl", '{"text": ""}\n{"text": ""}\n{"tokens": []}\n', "has 0 tokens"),
        ("old.gz", "not compressed", r"cannot be read .*UTF-8 text \(\.txt\), JSON lines"),
        ("array.json", '[{"text": "a b"}, {"body": "c"}]', "item 2: expected a field"),
    ],
)
def test_damaged_texts(tmp_path, name: str, content: str, match: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(TextError, match=match):
        load_text(path, Tokenizer(), seq_len=8)


def test_other_faults(tmp_path) -> None:
    with pytest.raises(TextError, match="no such"):
        load_text(tmp_path / "absent.txt", Tokenizer())
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xff\xfe\x00bad")
    with pytest.raises(TextError, match="cannot be read"):
        load_text(path, Tokenizer())
    path.write_text("fine")
    with pytest.raises(TextError, match="tokenizer"):
        load_text(path, None)
    with pytest.raises(ArgumentError, match="seq_len"):
        load_text(path, Tokenizer(), seq_len=2)
    with pytest.raises(ArgumentError, match="seq_len must be a whole number"):
        load_text(path, Tokenizer(), seq_len="long")
    with pytest.raises(ArgumentError, match="n_tokens must be a whole number"):
        load_text(path, Tokenizer(), n_tokens=100.5)
    with pytest.raises(ArgumentError, match=r"AutoTokenizer\.from_pretrained"):
        load_text(path, "folder")
    with pytest.raises(TextError, match="5 is no text"):
        load_text(5, Tokenizer())
    with pytest.raises(TextError, match="integer"):
        load_text(np.zeros(4))
    for documents in ([[1, 2], [2.5, 3.5]], [[1, 2], [[3], [4, 5]]], [[1, 2], None]):
        with pytest.raises(TextError, match="document 2 must be a list of whole numbers"):
            load_text(documents)
    with pytest.raises(TextError, match="mine: a document must be a list of whole numbers"):
        pack_windows([[1.5, 2.5]], seq_len=4, name="mine")
    with pytest.raises(TextError, match=r"mine: token ids must be .* not 2-dimensional float64"):
        EvaluationText(np.ones((2, 4)), np.ones((2, 4), dtype=bool), "mine")
    short = EvaluationText([[1, 2, 3]], [[1, 1, 0]])
    assert (short.n_tokens, short.tokens.dtype) == (2, np.int64)
    wrong = EvaluationText(np.full((2, 4), 99), np.ones((2, 4), dtype=bool))
    with pytest.raises(TextError, match="another model"):
        wrong.check_vocabulary(64)
