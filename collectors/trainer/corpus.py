"""Training text that every machine has: the sources of the Python standard library.

The files are taken in the order of their paths, hashed, and split by the hash of each path, so that
the validation files stay the same whatever other files there are. A byte-level BPE vocabulary is
trained on the training files only.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsefit.errors import TextError

END_OF_TEXT = "<|endoftext|>"
"""Special token between documents; its id is 0."""

_VALIDATION_SHARE = 20  # one file in twenty is kept apart
_FILES = ("tokenizer.json", "train.npy", "validation.npy", "validation.jsonl", "corpus.json")


@dataclass(frozen=True)
class Corpus:
    """A tokenised corpus on disk.

    Attributes
    ----------
    path : Path
        Folder with ``tokenizer.json``, ``train.npy``, ``validation.npy`` (uint16 token ids),
        ``validation.jsonl`` (one document a line, for the collectors) and ``corpus.json``.
    sha256 : str
        Hash of all names and contents, in order.
    python : str
        Version of the Python whose standard library it is.
    vocab_size : int
    max_bytes : int or None
        The limit asked for, None for everything.
    n_files, n_validation_files, n_skipped : int
        Files used for training, kept apart, and left out (duplicates, not UTF-8).
    n_tokens, n_validation_tokens : int
    """

    path: Path
    sha256: str
    python: str
    vocab_size: int
    max_bytes: int | None
    n_files: int
    n_validation_files: int
    n_skipped: int
    n_tokens: int
    n_validation_tokens: int

    def tokens(self, part: str) -> np.ndarray:
        """Token ids of ``"train"`` or ``"validation"``, memory-mapped, shape (n,), uint16."""
        return np.load(self.path / f"{part}.npy", mmap_mode="r")

    @property
    def validation_text(self) -> Path:
        """The JSON lines file with the documents that training never sees."""
        return self.path / "validation.jsonl"

    def card(self) -> dict[str, Any]:
        """What a card or a run's record says of the corpus (no paths)."""
        record = asdict(self)
        del record["path"]
        return record


def standard_library_files(root: Path | None = None) -> list[tuple[str, Path]]:
    """List the standard library's Python files.

    Parameters
    ----------
    root : Path, optional
        Folder to search; by default the running Python's standard library.

    Returns
    -------
    list of (str, Path)
        Relative POSIX name and path, sorted by name. Installed packages and the build
        configuration, which differ between machines, are not part of it.
    """
    base = Path(sysconfig.get_paths()["stdlib"]) if root is None else Path(root)
    installed = {"site-packages", "dist-packages", "__pycache__"}
    named = [(path.relative_to(base).as_posix(), path) for path in base.rglob("*.py")]
    return sorted(
        (name, path)
        for name, path in named
        if not installed.intersection(name.split("/")) and not name.startswith("_sysconfigdata")
    )


def _name_hash(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def read_documents(
    files: list[tuple[str, Path]], max_bytes: int | None = None
) -> tuple[list[tuple[str, str]], int, str]:
    """Read the documents, without exact duplicates and undecodable files.

    Parameters
    ----------
    files : list of (str, Path)
        As from `standard_library_files`.
    max_bytes : int, optional
        Take files in the order of their names' hashes until this many bytes are reached.

    Returns
    -------
    documents : list of (name, text)
        Sorted by name.
    n_skipped : int
        Duplicates, empty files and files that are not UTF-8.
    sha256 : str
        Hash of the names and contents of the documents.
    """
    seen: set[bytes] = set()
    kept: list[tuple[str, bytes, str]] = []
    skipped = size = 0
    order = files if max_bytes is None else sorted(files, key=lambda item: _name_hash(item[0]))
    for name, path in order:
        if max_bytes is not None and size >= max_bytes:
            break
        content = path.read_bytes()
        digest = hashlib.sha256(content).digest()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            # The library ships files in other encodings as test data.
            skipped += 1
            continue
        if not text.strip() or digest in seen:
            skipped += 1
            continue
        seen.add(digest)
        size += len(content)
        kept.append((name, digest, text))
    kept.sort()
    total = hashlib.sha256()
    for name, digest, _ in kept:
        total.update(name.encode() + b"\0" + digest)
    return [(name, text) for name, _, text in kept], skipped, total.hexdigest()


def split_documents(
    documents: list[tuple[str, str]],
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Split documents into training and validation by the hash of each name."""
    apart = [_name_hash(name) // 7 % _VALIDATION_SHARE == 0 for name, _ in documents]
    training = [item for item, out in zip(documents, apart, strict=True) if not out]
    validation = [item for item, out in zip(documents, apart, strict=True) if out]
    return training, validation


def _train_tokenizer(texts: Iterator[str], vocab_size: int) -> Any:
    import tokenizers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    return tokenizer


def _encode(tokenizer: Any, documents: list[tuple[str, str]]) -> np.ndarray:
    """Token ids of the documents, each followed by the end-of-text token."""
    pieces = []
    for start in range(0, len(documents), 64):
        texts = [text for _, text in documents[start : start + 64]]
        for encoding in tokenizer.encode_batch(texts):
            pieces.append(np.array([*encoding.ids, 0], dtype=np.uint16))
    return np.concatenate(pieces)


def _read_record(path: Path) -> Corpus | None:
    if not all((path / name).is_file() for name in _FILES):
        return None
    return Corpus(path=path, **json.loads((path / "corpus.json").read_text(encoding="utf-8")))


def build_corpus(
    path: Path | str,
    vocab_size: int = 1024,
    max_bytes: int | None = None,
    root: Path | None = None,
) -> Corpus:
    """Tokenise the standard library into a folder, or return what is already there.

    Parameters
    ----------
    path : Path or str
        Folder to fill. A complete one is reused if it was built from the same text.
    vocab_size : int
        Size of the BPE vocabulary, at most 65,536.
    max_bytes : int, optional
        Use only about this much of the text (for tests and demonstrations).
    root : Path, optional
        Another folder of Python files in place of the standard library.

    Returns
    -------
    Corpus

    Raises
    ------
    TextError
        If there is no text, too little of it, or the folder holds another corpus.
    """
    path = Path(path)
    if not 257 <= vocab_size <= 65536:
        raise TextError(f"vocab_size={vocab_size}: choose between 257 (bytes) and 65536 (uint16)")
    documents, skipped, digest = read_documents(standard_library_files(root), max_bytes)
    training, validation = split_documents(documents)
    if not training or not validation:
        raise TextError(
            f"{len(documents)} Python files found: too few to keep some apart for validation. "
            "Install Python's standard library sources or raise max_bytes"
        )
    there = _read_record(path)
    if there is not None:
        if (there.sha256, there.vocab_size) != (digest, vocab_size):
            raise TextError(
                f"{path} holds a corpus with hash {there.sha256[:12]} and vocabulary "
                f"{there.vocab_size}, but this Python's standard library gives {digest[:12]} and "
                f"{vocab_size} were asked for. Use another folder"
            )
        return there

    path.mkdir(parents=True, exist_ok=True)
    tokenizer = _train_tokenizer((text for _, text in training), vocab_size)
    if tokenizer.get_vocab_size() != vocab_size:
        raise TextError(
            f"the text only supports a vocabulary of {tokenizer.get_vocab_size()}, not {vocab_size}"
        )
    tokenizer.save(str(path / "tokenizer.json"))
    ids = {"train": _encode(tokenizer, training), "validation": _encode(tokenizer, validation)}
    for part, values in ids.items():
        np.save(path / f"{part}.npy", values)
    with (path / "validation.jsonl").open("w", encoding="utf-8") as stream:
        for name, text in validation:
            stream.write(json.dumps({"name": name, "text": text}) + "\n")
    corpus = Corpus(
        path=path,
        sha256=digest,
        python=platform.python_version(),
        vocab_size=vocab_size,
        max_bytes=max_bytes,
        n_files=len(training),
        n_validation_files=len(validation),
        n_skipped=skipped,
        n_tokens=len(ids["train"]),
        n_validation_tokens=len(ids["validation"]),
    )
    # Written last: a folder without it is incomplete and is built again.
    partial = path / "corpus.json.partial"
    partial.write_text(json.dumps(corpus.card(), indent=1) + "\n", encoding="utf-8")
    partial.replace(path / "corpus.json")
    return corpus
