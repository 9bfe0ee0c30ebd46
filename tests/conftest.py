from __future__ import annotations

import json
import os
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

# The authors' own points are not part of the project; tests that refit them read them from here.
AUTHORS_POINTS = Path(
    os.environ.get("SPARSEFIT_AUTHORS_POINTS")
    or Path(__file__).resolve().parents[2] / "shared" / "sparsing_law_points"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--run-long", action="store_true", help="also run tests that take minutes")


def pytest_configure(config: pytest.Config) -> None:
    # There is a process for every core, and they inherit this: more threads only get in the way.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    # Distributed by file, files with few tests come last by default. Some of these take a minute,
    # and one process would end alone.
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
    if config.getoption("--run-long"):
        return
    skip = pytest.mark.skip(reason="takes minutes: run with --run-long")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def authors_points() -> Path:
    """Folder with the measured points of the paper's authors (skips where it is absent)."""
    if not AUTHORS_POINTS.is_dir():
        pytest.skip(
            "the authors' points are not here: set SPARSEFIT_AUTHORS_POINTS to their folder"
        )
    return AUTHORS_POINTS


@pytest.fixture(scope="session")
def golden() -> Callable[[Path, str], str]:
    """Text of a golden file; SPARSEFIT_UPDATE_GOLDEN=1 writes what is shown into it first."""

    def read(path: Path, shown: str) -> str:
        if os.environ.get("SPARSEFIT_UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(shown, encoding="utf-8")
        return path.read_text(encoding="utf-8")

    return read


@pytest.fixture(scope="session")
def train_tiny() -> Callable[..., Any]:
    """Trainer of tiny language models, 16 windows of 32 tokens a step; needs the extra collect.

    With a folder it keeps a checkpoint every 20 steps, as a trainer would leave it.
    """

    def train(
        model: Any,
        tokens: np.ndarray,
        steps: int,
        *,
        folder: Path | None = None,
        tokens_per_step: int = 512,
        tokenizer: Any = None,
    ) -> Any:
        torch = pytest.importorskip("torch", reason="needs the extra collect")
        optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
        rng = np.random.default_rng(0)
        model.train()
        for step in range(1, steps + 1):
            starts = rng.integers(0, tokens.size - 33, 16)
            ids = torch.from_numpy(np.stack([tokens[at : at + 32] for at in starts]))
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if folder is not None and step % 20 == 0:
                target = folder / f"checkpoint-{step}"
                model.save_pretrained(target)
                if tokenizer is not None:
                    tokenizer.save_pretrained(target)
                state = {"global_step": step, "num_input_tokens_seen": step * tokens_per_step}
                (target / "trainer_state.json").write_text(json.dumps(state))
        return model.eval()

    return train


class _Nesting(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="session")
def assert_html_nests() -> Callable[[str], None]:
    """Assertion that every element of a piece of HTML is closed, in order."""

    def check(html: str) -> None:
        parser = _Nesting()
        parser.feed(html)
        parser.close()
        assert parser.open == []

    return check
