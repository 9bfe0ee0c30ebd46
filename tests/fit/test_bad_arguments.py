"""Arguments and runs that cannot be fitted are named."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError, FitError, TableError

Simulate = Callable[..., pd.DataFrame]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"law": "cubic"}, "unknown law"),
        ({"warmup": "early"}, "warmup"),
        ({"warmup": -1}, "warmup"),
        ({"warmup": 2.5}, "whole number"),
        ({"response": "accuracy"}, "response"),
        ({"rng": "seed"}, "rng"),
        ({"law": "loss"}, "describes the loss"),
    ],
)
def test_bad_arguments_are_named(
    options: dict[str, object], message: str, simulated_run: Simulate
) -> None:
    with pytest.raises(ArgumentError, match=message):
        sf.fit(simulated_run(), **options)


@pytest.mark.parametrize(
    ("verb", "arguments", "message"),
    [
        ("limit", {"level": 90}, "level"),
        ("limit", {"method": "magic"}, "method"),
        ("forecast", {"tokens": [-1.0]}, "tokens"),
        ("forecast", {"tokens": ["many"]}, "tokens"),
        ("forecast", {"tokens": []}, "tokens"),
        ("tokens_to", {}, "exactly one"),
        ("tokens_to", {"sparsity": 93}, "fraction"),
        ("tokens_to", {"sparsity": 0.9, "activation_ratio": 0.1}, "exactly one"),
        ("derivative", {"tokens": [1e9], "wrt": "steps"}, "wrt"),
        ("simulate", {"tokens": [1e9], "kind": "mean"}, "kind"),
    ],
)
def test_bad_arguments_of_verbs_are_named(
    fit: sf.Fit, verb: str, arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(ArgumentError, match=message):
        getattr(fit, verb)(**arguments)


def test_too_few_points_and_no_trend_are_typed(simulated_run: Simulate) -> None:
    with pytest.raises((FitError, TableError), match="point"):
        sf.fit(simulated_run().head(5))
    with pytest.raises(FitError, match="no trend"):
        sf.fit(simulated_run().assign(activation_ratio=0.1))
    with pytest.raises(FitError, match="leave out fewer"):
        sf.fit(simulated_run(), warmup=26)


def test_forecasts_at_billions_are_refused(fit: sf.Fit) -> None:
    with pytest.raises(ArgumentError, match=r"raw counts: 2000 is far before .* in billions"):
        fit.forecast([2e12, 2000])
    assert np.isfinite(fit.forecast(fit.tokens[0] / 100)["median"][0])


@pytest.mark.parametrize("target", ["2.5", None, [2.5], -1.0, float("nan")])
def test_targets_of_the_loss_are_numbers(simulated_run: Simulate, target: object) -> None:
    table = simulated_run()
    table["loss"] = 2.0 + 3.0 * table["tokens"] ** -0.1
    with pytest.raises(ArgumentError, match="loss"):
        sf.fit(table, response="loss").tokens_to(loss=target)


def test_data_scale_ratio_needs_the_parameter_count(simulated_run: Simulate) -> None:
    with pytest.raises(ArgumentError, match="n_params"):
        sf.fit(simulated_run()).derivative([1e10], wrt="data_scale_ratio")
