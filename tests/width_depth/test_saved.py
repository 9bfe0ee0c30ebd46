"""Fits of the width-depth law as JSON, and back."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError
from sparsefit.width_depth import (
    BreakpointFit,
    PosteriorFit,
    fit_segmented,
    fit_width_depth_bayes,
)


def _same(first: BreakpointFit | PosteriorFit, second: object) -> None:
    assert type(second) is type(first)
    assert repr(second) == repr(first) and second.summary() == first.summary()
    assert second.to_dict() == first.to_dict()
    ratios = np.array([10.0, 80.0, 500.0])
    pd.testing.assert_frame_equal(second.band(ratios), first.band(ratios), check_exact=True)
    assert second.points.label == first.points.label
    assert second.points.left_out == first.points.left_out


@pytest.mark.parametrize(
    "options", [{}, {"sign": "any", "rng": 3}, {"model": "line_line", "draws": 199}]
)
@pytest.mark.parametrize("columns", [{}, {"se": 2e-3, "run": list("abcdefghi")}])
def test_a_fit_comes_back_as_it_was(simulated, tmp_path, options, columns) -> None:
    fit = sf.fit_width_depth(simulated(3e-3, **columns), **{"draws": 199, **options})
    path = tmp_path / "fit.json"
    words = fit.to_json(path)
    assert path.read_text(encoding="utf-8") == words and list(tmp_path.iterdir()) == [path]
    back = sf.load_fit(path)
    _same(fit, back)
    pd.testing.assert_series_equal(back.conf_int()["lower"], fit.conf_int()["lower"])
    assert back.break_test() == fit.break_test()
    assert json.loads(words)["width_depth"]["estimates"]["breakpoint"] == fit.breakpoint


def test_runs_left_out_and_values_without_a_physical_range_come_back(simulated) -> None:
    table = simulated()
    x, y = table["width_depth_ratio"].to_numpy(), 100.0 * table["limit"].to_numpy()
    fit = fit_segmented(x, y, draws=199)
    _same(fit, sf.load_fit(fit.to_json()))
    posterior = fit_width_depth_bayes(table, draws=400)
    posterior.points.left_out["x"] = "run 'x' has no limit"  # type: ignore[index]
    assert "run 'x' has no limit" in posterior.to_json()
    _same(posterior, sf.load_fit(posterior.to_json()))


@pytest.mark.parametrize("noise", [0.0, 3e-3])
def test_a_posterior_comes_back_with_its_draws(simulated, tmp_path, noise) -> None:
    fit = fit_width_depth_bayes(simulated(noise, se=2e-3), draws=400)
    fit.to_json(tmp_path / "fit.json")
    back = sf.load_fit(tmp_path / "fit.json")
    _same(fit, back)
    pd.testing.assert_frame_equal(back.draws_table, fit.draws_table, check_exact=True)
    pd.testing.assert_frame_equal(back.density, fit.density, check_exact=True)


def test_a_document_of_another_kind_is_refused(simulated) -> None:
    document = json.loads(fit_segmented([1, 2, 3, 4, 5], [1, 2, 2, 2, 2], draws=99).to_json())
    document["another"] = document.pop("width_depth")
    with pytest.raises(ArgumentError, match="not a fit written by sparsefit"):
        sf.load_fit(json.dumps(document))
