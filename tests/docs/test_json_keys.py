"""The keys of JSON documents that scripts rely on are those in the docs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import sparsefit as sf
from sparsefit.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
TOP = ("level", "at", "failed", "runs[]")


@pytest.fixture(scope="module")
def documented() -> dict[str, list[str]]:
    """Key to the names in its row."""
    table = PAGE.read_text(encoding="utf-8").split("<!-- keys of: forecast -->")[1]
    rows = re.findall(r"^\| `([a-z_.\[\]]+)` \| (.*) \|$", table, re.MULTILINE)
    rows = [row for row in rows if row[0] in TOP or row[0].startswith("runs[]")]
    return {key: re.findall(r"`([a-z_]+)`", meaning) for key, meaning in rows}


@pytest.fixture
def printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    table = sf.datasets.load("reference_scales")
    sf.write_table(table[table["run"] == "0.11m_relu_s0"], tmp_path / "one.csv")

    def call(command: str, *words: str) -> Any:
        assert main([command, str(tmp_path / "one.csv"), *words, "--json"]) == 0
        return json.loads(capsys.readouterr().out, parse_constant=pytest.fail)

    return call


def test_keys_of_a_forecast(documented: dict[str, list[str]], printed: Any) -> None:
    answer = printed("forecast", "--target-sparsity", "0.77")
    assert {key.removesuffix("[]") for key in documented if "." not in key} == set(answer)
    (run,) = answer["runs"]
    keys = {k.removeprefix("runs[].").removesuffix("[]"): k for k in documented if "." in k}
    assert set(keys) == set(run)
    for name in ("limit", "limit_sparsity", "forecast", "budgets"):
        held = run[name] if isinstance(run[name], dict) else run[name][0]
        missing = set(held) - set(documented[keys[name]])
        assert not missing, f"{name}: {missing} printed and not in the docs"
        for word in documented[keys[name]]:
            assert word in held or word in ("null", "yes", "no"), f"{name}: no {word}"


def test_keys_of_a_fit(documented: dict[str, list[str]], printed: Any) -> None:
    (run,) = printed("fit")["runs"]
    keys = {k.removeprefix("runs[].").removesuffix("[]") for k in documented if "." in k}
    assert set(run) == keys - {"forecast", "budgets"} | {"equation", "coefficients"}
    names = ["term", "estimate", "std_error", "lower", "upper", "unit"]
    assert list(run["coefficients"][0]) == names
