"""How results show themselves: short and useful, and as the golden files have it.

After a change on purpose: ``SPARSEFIT_UPDATE_GOLDEN=1 pytest tests/collectors -k display``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sparsefit.collectors import Activity, EvaluationText, RunMeasurement, Thresholds

GOLDEN = Path(__file__).parent / "golden"


def measured() -> RunMeasurement:
    """A made-up run of three checkpoints, the second damaged."""
    table = pd.DataFrame(
        {
            "run": "<b>&tiny",
            "tokens": [1000, 2000, 12345678],
            "activation_ratio": [0.5, np.nan, 0.25],
            "se": [0.001, np.nan, 0.002],
            "se_shared": [0.003, np.nan, 0.004],
            "cett": [0.0433, np.nan, 0.0433],
            "ppl_ratio": [1.004, np.nan, 1.0101],
            "status": ["ok", "failed", "ok"],
            "message": ["", "step-2: config.json is missing", ""],
        }
    )
    layers = pd.DataFrame(
        {
            "run": "<b>&tiny",
            "tokens": 12345678,
            "layer": [0, 1],
            "threshold": [0.1, 0.2],
            "cett": 0.0433,
            "activation_ratio": [0.2, 0.3],
        }
    )
    solution = {
        "cett": 0.0433,
        "status": "converged",
        "message": "",
        "target_log_ratio": 0.00995,
        "checkpoints": ["step-1", "step-3"],
        "evaluations": [{"cett": 0.0433, "log_ratio": 0.01, "members": [0.004, 0.016]}],
    }
    return RunMeasurement(table, layers, {"run": solution})


def activity() -> Activity:
    """Made-up frequencies of two layers of three neurons on two texts."""
    neurons = pd.DataFrame(
        {
            "text": np.repeat(["code", "web"], 6),
            "layer": np.tile(np.repeat([0, 1], 3), 2),
            "neuron": np.tile([0, 1, 2], 4),
            "frequency": [0.0, 0.5, 1.0, 0.2, 0.3, 0.4, 0.0, 0.0005, 0.9, 0.1, 0.1, 0.4],
        }
    )
    tokens = pd.DataFrame({"text": ["code"], "token": [7], "count": [3], "activation_ratio": [0.4]})
    return Activity(neurons, tokens)


def text() -> EvaluationText:
    tokens = np.arange(3000).reshape(2, 1500)
    counted = np.ones_like(tokens, dtype=bool)
    counted[1, 1400:] = False
    return EvaluationText(tokens, counted, "pages.jsonl")


RESULTS: dict[str, Any] = {
    "run": measured,
    "activity": activity,
    "thresholds": lambda: Thresholds((0.1, 0.25), "0.1b_relu", 12345678, 0.0433),
    "text": text,
}


@pytest.mark.parametrize("name", RESULTS)
def test_display_is_the_golden_one(name: str, golden: Callable[[Path, str], str]) -> None:
    result = RESULTS[name]()
    parts = [f"repr\n{result!r}"]
    if hasattr(result, "summary"):
        parts.append(f"summary\n{result.summary()}")
    if hasattr(result, "_repr_html_"):
        parts.append(f"html\n{result._repr_html_()}")
    shown = "\n\n".join(parts) + "\n"
    assert shown == golden(GOLDEN / f"{name}.txt", shown)


@pytest.mark.parametrize("name", RESULTS)
def test_repr_is_one_short_line(name: str) -> None:
    shown = repr(RESULTS[name]())
    assert "\n" not in shown
    assert 10 < len(shown) < 250


@pytest.mark.parametrize("name", ["run", "activity", "thresholds"])
def test_html_nests_and_escapes(name: str, assert_html_nests: Callable[[str], None]) -> None:
    shown = RESULTS[name]()._repr_html_()
    assert_html_nests(shown)
    assert "<b>&tiny" not in shown


def test_a_run_without_any_measured_row() -> None:
    result = measured()
    table = result.table.assign(status="failed", activation_ratio=np.nan, message="broken")
    assert repr(RunMeasurement(table, result.layers.iloc[:0], {})) == (
        "RunMeasurement(<b>&tiny: 3 checkpoints, 3 failed)"
    )
