"""Every example in a docstring runs and shows what it prints.

Examples marked ``doctest: +SKIP`` are run as well, in a folder with a table and checkpoints; their
output is not compared.
"""

from __future__ import annotations

import doctest
import importlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    found = []
    for folder, package in (("sparsefit", "sparsefit"), ("collectors", "sparsefit.collectors")):
        for path in (ROOT / folder).rglob("*.py"):
            if ">>>" in path.read_text(encoding="utf-8"):
                parts = path.relative_to(ROOT / folder).with_suffix("").parts
                found.append(".".join([package, *(p for p in parts if p != "__init__")]))
    return sorted(found)


@pytest.fixture
def names(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """What examples take for granted, and the files that they read."""
    import sparsefit as sf

    table = sf.datasets.load("reference_scales")
    run = table[table["run"] == "0.11m_relu_s0"]
    sf.write_table(run, tmp_path / "points.csv")
    sf.write_table(run, tmp_path / "first.csv")
    sf.write_table(run.assign(run="another"), tmp_path / "second.csv")
    known: dict[str, Any] = {"fit": sf.fit(run)}
    if "collectors" in request.node.name:
        made = request.getfixturevalue("tiny_runs")
        shutil.copytree(made["folder"] / "runs" / "0.1b_relu", tmp_path / "runs" / "tiny")
        lines = (made["folder"] / "validation.jsonl").read_text(encoding="utf-8").splitlines()
        text = "\n".join(json.loads(line)["text"] for line in lines)
        (tmp_path / "validation.txt").write_text(text, encoding="utf-8")
        ids = made["model"].dummy_inputs["input_ids"]
        inputs = {"input_ids": ids, "max_new_tokens": 2, "pad_token_id": 0}
        known |= {"model": made["model"], "thresholds": [0.01], "inputs": inputs}
    return known


@pytest.mark.slow
@pytest.mark.parametrize("module", modules())
def test_examples_run(
    module: str, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    examined = 0
    for test in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module)):
        for example in test.examples:
            examined += 1
            if example.options.pop(doctest.SKIP, False):
                example.want = "...\n"
        test.globs.update(names)
        runner = doctest.DocTestRunner(optionflags=FLAGS)
        said: list[str] = []
        runner.run(test, out=said.append)
        assert not runner.failures, "".join(said)
    assert examined
