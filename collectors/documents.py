"""Reading a corpus: text, JSON lines and token ids, from files or from Python."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from sparsefit.errors import TextError


def read_documents(source: Any) -> tuple[np.ndarray | list[Any], str]:
    """Read a corpus.

    Parameters
    ----------
    source : path, array, or list of strings and of integer lists
        Paths as in `text.load_text`.

    Returns
    -------
    documents : numpy.ndarray or list
        Token ids, one stream or one window a row; or documents, each a string or an integer array.
    name : str
        Name of the file, or what the source is.

    Raises
    ------
    TextError
        No such file, or content that is neither text nor token ids.
    """
    if isinstance(source, np.ndarray):
        return whole_numbers(source, "array"), "array"
    if not isinstance(source, (str, Path)):
        if not isinstance(source, Iterable):
            raise TextError(
                f"{source!r} is no text: give a path, an array of token ids or a list of documents"
            )
        numbered = enumerate(source, 1)
        return [_document(item, f"document {at}") for at, item in numbered], "list"
    path = Path(source)
    if not path.is_file():
        raise TextError(f"{path}: no such text file")
    try:
        if path.suffix == ".npy":
            return whole_numbers(np.load(path, allow_pickle=False), str(path)), path.name
        opened: Any = gzip.open if path.suffix == ".gz" else open
        with opened(path, "rt", encoding="utf-8-sig") as file:
            content = file.read()
    except (OSError, ValueError, EOFError, zlib.error) as error:
        raise TextError(
            f"{path}: cannot be read ({error}). Give UTF-8 text (.txt), JSON lines (.jsonl), "
            "either also as .gz, or token ids (.npy)"
        ) from error
    if not content.strip():
        raise TextError(f"{path}: the evaluation text is empty")
    kind = Path(path.name.removesuffix(".gz")).suffix
    if kind not in (".jsonl", ".ndjson", ".json"):
        return [content], path.name
    return [_record(item, where) for where, item in _items(content, path, kind)], path.name


def token_ids(value: Any, where: str) -> np.ndarray:
    """Return token ids as an integer array, shape (tokens,).

    Raises
    ------
    TextError
        The value is no list of whole numbers.
    """
    try:
        ids = np.asarray(value)
    except ValueError:
        # Lists of different lengths.
        ids = np.asarray(None)
    if ids.ndim != 1 or (ids.size and ids.dtype.kind not in "iu"):
        raise TextError(f"{where} must be a list of whole numbers, not {str(value)[:40]}")
    return ids.astype(np.int64)


def whole_numbers(array: Any, name: str) -> np.ndarray:
    """Return an array of token ids as int64.

    Raises
    ------
    TextError
        It is neither one- nor two-dimensional, or holds no integers.
    """
    array = np.asarray(array)
    if array.dtype.kind not in "iu" or array.ndim not in (1, 2):
        raise TextError(
            f"{name}: token ids must be a one- or two-dimensional integer array, "
            f"not {array.ndim}-dimensional {array.dtype}"
        )
    return array.astype(np.int64, copy=False)


def _document(value: Any, where: str) -> str | np.ndarray:
    """A text as it is, or token ids."""
    if not isinstance(value, str):
        return token_ids(value, where)
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise TextError(
            f"{where} must be text, which {value[error.start]!a} alone is not (half of a pair)"
        ) from None
    return value


def _items(content: str, path: Path, kind: str) -> Iterable[tuple[str, Any]]:
    """(place, value) of each JSON value: one a line, or of one array in a ``.json`` file."""
    if kind == ".json":
        try:
            whole = json.loads(content)
        except (ValueError, RecursionError):
            # JSON lines, under the name that some corpora give them.
            whole = None
        if whole is not None:
            items = whole if isinstance(whole, list) else [whole]
            yield from ((f"{path}, item {at}", item) for at, item in enumerate(items, 1))
            return
    # Not splitlines(): JSON strings may hold U+2028 and others that splitlines would cut at.
    for at, line in enumerate(content.split("\n"), 1):
        if line.strip():
            try:
                yield f"{path}, line {at}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise TextError(f"{path}, line {at}: not JSON ({error})") from error


def _record(record: Any, where: str) -> str | np.ndarray:
    """A document from a JSON value: a string, or an object with one of three fields."""
    if isinstance(record, str):
        return _document(record, where)
    for key in ("text", "tokens", "input_ids") if isinstance(record, dict) else ():
        if key in record:
            value = record[key]
            if isinstance(value, str if key == "text" else list):
                return _document(value, f"{where}: field {key!r}")
            wanted = "a string" if key == "text" else "a list of whole numbers"
            shown = json.dumps(value)[:40]
            raise TextError(f"{where}: field {key!r} must be {wanted}, not {shown}")
    raise TextError(f"{where}: expected a field 'text', 'tokens' or 'input_ids'")
