"""Messages quote what they were given as a reader writes it: 0.0, not np.float64(0.0)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import SparsefitError, quoted
from sparsefit.reporting import save_figures

ZERO, ODD, NAME = np.float64(0.0), np.float32(2.5), np.str_("a")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float64(0.0), "0.0"),
        (np.float64("nan"), "nan"),
        (np.int64(3), "3"),
        (np.bool_(True), "True"),
        (np.str_("a"), "'a'"),
        (np.longdouble(0.5), "0.5"),
        (np.array(2.0), "2.0"),
        ([np.float64(1.5), "x"], "[1.5, 'x']"),
        ((np.int64(1),), "(1,)"),
        ({np.str_("a"): np.float64(1.0)}, "{'a': 1.0}"),
        (np.array([np.float64(1.0), None], dtype=object), "[1.0, None]"),
        (np.array([1.0, 2.0]), "array([1., 2.])"),
        (0.1, "0.1"),
        (None, "None"),
    ],
)
def test_quoted(value: object, text: str) -> None:
    assert quoted(value) == text


def _run() -> pd.DataFrame:
    tokens = np.geomspace(1e9, 1e11, 12)
    ratio = 0.07 + 0.1 * np.exp(-tokens / 2e10)
    return pd.DataFrame(
        {"run": "a", "tokens": tokens, "activation_ratio": ratio, "activation": "relu"}
    )


@pytest.fixture(scope="module")
def fit() -> sf.Fit:
    return sf.fit(_run())


RATIOS = {"width_depth_ratio": [20.0, 40, 60, 90, 130], "limit": [0.05, 0.06, 0.07, 0.07, 0.07]}

CALLS: dict[str, Callable[[sf.Fit], Any]] = {
    "warmup": lambda fit: sf.fit(_run(), warmup=np.float64(2.5)),
    "warmup below 0": lambda fit: sf.fit(_run(), warmup=np.int64(-1)),
    "law": lambda fit: sf.fit(_run(), law=NAME),
    "rng": lambda fit: sf.fit(_run(), rng=ODD),
    "level": lambda fit: fit.limit(level=np.float64(90)),
    "tokens": lambda fit: fit.forecast([1e9, ZERO]),
    "no tokens": lambda fit: fit.forecast([NAME]),
    "sparsity": lambda fit: fit.tokens_to(sparsity=np.float64(93)),
    "share": lambda fit: fit.tokens_within(ODD),
    "wrt": lambda fit: fit.derivative([1e9], wrt=NAME),
    "run": lambda fit: sf.as_fits(fit)[np.int64(3)],
    "run of a plot": lambda fit: sf.plots.limits(sf.as_fits(fit), runs=[np.int64(3)]),
    "cuts": lambda fit: sf.backtest(_run(), cuts=[ODD]),
    "cut twice": lambda fit: sf.backtest(_run(), cuts=np.array([0.5, 0.5])),
    "method": lambda fit: sf.backtest(_run(), methods=[NAME]),
    "draws": lambda fit: sf.fit_bayes(_run(), draws=np.int64(3)),
    "densities": lambda fit: sf.backtesting.expected_shrinkage(fit, densities=[ODD]),
    "width": lambda fit: save_figures(fit, "figures", width=ZERO),
    "until": lambda fit: sf.report(fit, "report.html", until=ZERO),
    "targets": lambda fit: sf.report(fit, "report.html", targets=[np.float64(7)]),
    "ratio": lambda fit: sf.fit_width_depth({"a": fit}, ratios={NAME: ZERO}),
    "limit": lambda fit: sf.fit_width_depth(
        pd.DataFrame(RATIOS | {"limit": [0.05] * 4 + [np.nan]})
    ),
    "identified": lambda fit: sf.fit_width_depth(pd.DataFrame(RATIOS | {"identified": [0.5] * 5})),
    "whole count": lambda fit: sf.validate(_run().assign(n_params=2.5)),
    "billions": lambda fit: sf.validate(_run().assign(tokens=np.r_[0.5, _run()["tokens"][1:]])),
    "data set": lambda fit: sf.datasets.load(NAME),
    "path": lambda fit: sf.read_table(ZERO),
}


@pytest.mark.parametrize("what", CALLS)
def test_no_message_names_a_type_of_numpy(
    what: str, fit: sf.Fit, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SparsefitError) as caught:
        CALLS[what](fit)
    assert "np." not in str(caught.value)
    assert len(str(caught.value)) > 15
