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


def keys_of(command: str) -> dict[str, list[str]]:
    """Key to the names in its row of the table for a command."""
    after = PAGE.read_text(encoding="utf-8").split(f"<!-- keys of: {command} -->")[1]
    table = re.search(r"^\| key .*?(?=\n\n)", after, re.MULTILINE | re.DOTALL)
    assert table is not None
    rows = re.findall(r"^\| `([a-z_.\[\]]+)` \| (.*) \|$", table[0], re.MULTILINE)
    return {key: re.findall(r"`([a-z_0-9]+)`", meaning) for key, meaning in rows}


@pytest.fixture(scope="module")
def documented() -> dict[str, list[str]]:
    return keys_of("forecast")


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
    names = ["term", "estimate", "std_error", "median", "lower", "upper", "unit"]
    assert list(run["coefficients"][0]) == names


def test_keys_of_a_stacked_forecast(documented: dict[str, list[str]], printed: Any) -> None:
    answer = printed("forecast", "--method", "best", "--target-sparsity", "0.77")
    stacked = keys_of("forecast --method best")
    assert {key.removesuffix("[]") for key in stacked if "." not in key} == set(answer)
    assert list(answer["weights"][0]) == stacked["weights[]"]
    (run,) = answer["runs"]
    keys = {k.removeprefix("runs[].").removesuffix("[]") for k in stacked if "." in k}
    assert keys == set(run)
    for name in ("forecast", "budgets"):
        assert set(run[name][0]) <= set(documented[f"runs[].{name}[]"])
