"""How results show themselves: short and useful, and as the golden files have it.

After a change on purpose: ``SPARSEFIT_UPDATE_GOLDEN=1 pytest tests/docs/test_display.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.backtesting import expected_shrinkage

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def results(reference_fits: Any) -> dict[str, Any]:
    shipped = sf.datasets.load("reference_scales")
    relu = shipped[shipped["run"] == "0.11m_relu_s0"]
    fit = reference_fits["0.11m_relu_s0"]
    rng = np.random.default_rng(3)
    ratio = np.array([20.0, 40, 60, 90, 130, 200, 300])
    break_at = 0.08 - 2.5e-4 * np.maximum(110 - ratio, 0) + 5e-4 * rng.standard_normal(7)
    posterior = sf.fit_bayes(relu, draws=400)
    every = shipped[shipped["activation"] == "relu"]
    pooled = sf.fit_bayes(every, pool="scale", draws=400)
    width_depth = sf.fit_width_depth(
        pd.DataFrame({"width_depth_ratio": ratio, "limit": break_at}), draws=199
    )
    return {
        "fit": fit,
        "fits": reference_fits,
        "limit": fit.limit(),
        "limit_one_sided": reference_fits["0.03m_silu_s0"].limit(),
        "budget": fit.tokens_to(activation_ratio=0.23),
        "budget_undetermined": reference_fits["0.03m_silu_s0"].tokens_to(activation_ratio=0.45),
        "sparsity": fit.limit().sparsity,
        "diagnostics": fit.diagnostics(),
        "bayes": posterior,
        "bayes_diagnostics": posterior.diagnostics(),
        "pooled": pooled,
        "scale_forecast": pooled.predict_scale(2e5),
        "best": sf.forecast_best(relu, ["fit", "last_value"]),
        "shrinkage": expected_shrinkage(fit, (2.0,), densities=(), texts=(), simulations=4),
        "backtest": sf.backtest(relu, ["fit", "last_value"], cuts=(0.5,)),
        "comparison": sf.compare(
            {"found": sf.fit(relu), "none": sf.fit(relu, warmup=None)}, cuts=None
        ),
        "width_depth": width_depth,
        "placement": width_depth.placement(),
        "break_test": width_depth.break_test(),
    }


NAMES = (
    *("fit", "fits", "limit", "limit_one_sided", "budget", "budget_undetermined"),
    *("sparsity", "diagnostics", "bayes", "bayes_diagnostics", "pooled", "scale_forecast"),
    *("best", "shrinkage", "backtest", "comparison"),
    *("width_depth", "placement", "break_test"),
)


# Draws of heavy tails differ between machines by more than the numbers of the others: of these the
# words have to be the same.
SAMPLED = {"bayes", "bayes_diagnostics", "pooled", "scale_forecast"}


def shown(name: str, result: Any) -> str:
    parts = [f"repr\n{result!r}"]
    if hasattr(result, "summary") and name not in SAMPLED:
        parts.append(f"summary\n{result.summary()}")
    parts.append(f"html\n{result._repr_html_()}")
    text = "\n\n".join(parts)
    # What depends on the machine's speed is no part of the display's contract.
    text = re.sub(r"\d+\.\d+ s\b", "0.0 s", text).rstrip() + "\n"
    return re.sub(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?", "0", text) if name in SAMPLED else text


@pytest.mark.parametrize("name", NAMES)
def test_display_is_the_golden_one(
    results: dict[str, Any],
    snippets: ModuleType,
    golden: Callable[[Path, str], str],
    name: str,
) -> None:
    text = shown(name, results[name])
    wanted = golden(GOLDEN / f"{name}.txt", text).splitlines()
    found = text.splitlines()
    assert len(found) == len(wanted)
    different = [
        pair for pair in zip(found, wanted, strict=True) if not snippets.alike(pair[1], pair[0])
    ]
    assert different == []


@pytest.mark.parametrize("name", NAMES)
def test_repr_is_one_short_line(results: dict[str, Any], name: str) -> None:
    text = repr(results[name])
    assert "\n" not in text
    assert 10 < len(text) < 250
    assert " object at 0x" not in text


@pytest.mark.parametrize("name", NAMES)
def test_html_nests(
    results: dict[str, Any], assert_html_nests: Callable[[str], None], name: str
) -> None:
    assert_html_nests(results[name]._repr_html_())


def test_html_escapes_run_names() -> None:
    shipped = sf.datasets.load("reference_scales")
    run = shipped[shipped["run"] == "0.11m_relu_s0"].assign(run="<b>&")
    assert "<b>&" not in sf.fit(run)._repr_html_()
    assert "&lt;b&gt;&amp;" in sf.fit(run)._repr_html_()
