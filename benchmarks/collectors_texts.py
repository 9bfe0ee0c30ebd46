"""Ten offline texts of different kinds: what Python and its installed packages bring along.

They depend on the versions installed; `EvaluationText.hash` tells which tokens were used.
"""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from sparsefit.collectors import EvaluationText, pack_windows

_LIBRARY = Path(json.__file__).parents[1]


def _topics(part: int) -> Iterator[str]:
    from pydoc_data.topics import topics

    names = sorted(topics)
    half = len(names) // 2
    return (topics[name] for name in (names[:half] if part == 0 else names[half:]))


def _sources(pattern: str) -> Iterator[str]:
    return (path.read_text(encoding="utf-8") for path in sorted(_LIBRARY.glob(pattern)))


def _packages() -> list[metadata.Distribution]:
    found = {item.metadata["Name"].lower(): item for item in metadata.distributions()}
    return [found[name] for name in sorted(found)]


def _readmes(part: int) -> Iterator[str]:
    texts = [str(item.metadata.get_payload()) for item in _packages()]
    return iter([text[:8000] for text in texts if len(text) > 2000][part::2])


def _licences() -> Iterator[str]:
    seen = set()
    for item in _packages():
        for path in item.files or ():
            if path.name.upper().startswith(("LICENSE", "COPYING", "NOTICE")):
                content = path.locate().read_text(encoding="utf-8", errors="replace")
                # The same few licences are everywhere: each beginning once.
                if content[:400] not in seen:
                    seen.add(content[:400])
                    yield content[:8000]


def _docstrings(*modules: str) -> Iterator[str]:
    for name in modules:
        module = importlib.import_module(name)
        for key in sorted(vars(module)):
            words = inspect.getdoc(getattr(module, key))
            if words and len(words) > 400:
                yield words


TEXTS: dict[str, Callable[[], Iterator[str]]] = {
    "topics-1": lambda: _topics(0),
    "topics-2": lambda: _topics(1),
    "asyncio": lambda: _sources("asyncio/*.py"),
    "email": lambda: _sources("email/*.py"),
    "modules": lambda: _sources("[a-d]*.py"),
    "licences": _licences,
    "readmes-1": lambda: _readmes(0),
    "readmes-2": lambda: _readmes(1),
    "numpy": lambda: _docstrings("numpy"),
    "statistics": lambda: _docstrings("scipy.stats", "scipy.optimize"),
}


def benchmark_text(name: str, tokenizer: Any, size: int) -> EvaluationText:
    """Return the first `size` tokens of one of `TEXTS`, in windows of 1024."""
    pieces: list[str] = []
    length = 0
    for piece in TEXTS[name]():
        pieces.append(piece)
        length += len(piece)
        # Never more than ten characters a token: enough is known to be there.
        if length > 10 * size:
            break
    ids = tokenizer("\n\n".join(pieces), add_special_tokens=False, verbose=False)["input_ids"]
    if len(ids) < size:
        raise SystemExit(f"{name} has {len(ids)} tokens here: choose other texts or fewer tokens")
    return pack_windows([ids[:size]], seq_len=1024, name=name)
