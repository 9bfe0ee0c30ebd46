"""Fits of many runs: the verbs of one, in tables with a column of runs."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError

Simulate = Callable[..., pd.DataFrame]


# Public members of a `Fit` that are no table of several runs.
NO_TABLE = {
    "summary": "text",
    "to_json": "text",
    "response": "the same for all runs of a call; a column of `glance`",
    "tokens": "a column of `points_table`",
}


ASKED: dict[str, dict[str, Any]] = {
    **{name: {"tokens": [1e10, 2e10]} for name in ("predict", "forecast", "derivative")},
    "simulate": {"tokens": [1e10], "rng": 1},
    "tokens_to": {"sparsity": 0.5},
}


def test_fits_have_every_verb(simulated_run: Simulate) -> None:
    rising = simulated_run(law="eq5", theta=(0.7, 0.08, 0.39)).assign(run="b", status="ok")
    rising.loc[4, ["activation_ratio", "status"]] = [np.nan, "failed"]  # so that there is a note
    fits = sf.fit(pd.concat([simulated_run().assign(status="ok"), rising]))
    assert isinstance(fits, sf.Fits) and list(fits) == ["b", "simulated"]
    fields = {field.name for field in dataclasses.fields(sf.Fit)}
    public = {name for name in dir(sf.Fit) if not name.startswith("_")} - fields
    for name in sorted((public | {"notes"}) - set(NO_TABLE)):
        found = getattr(fits, name)
        if callable(found):
            one = inspect.signature(getattr(sf.Fit, name)).parameters
            many = inspect.signature(getattr(sf.Fits, name)).parameters
            assert [(p.name, p.default) for p in many.values()] == [
                (p.name, p.default) for p in one.values()
            ], name
            found = found(**ASKED.get(name, {}))
        assert isinstance(found, pd.DataFrame), name
        assert set(found["run"]) == ({"b"} if name == "notes" else {"simulated", "b"}), name
    loaded = sf.load_fit(fits.to_json())
    assert isinstance(loaded, sf.Fits)
    pd.testing.assert_frame_equal(loaded.limit(), fits.limit())


def test_tables_of_many_runs_hold_what_each_run_says(simulated_run: Simulate) -> None:
    fits = sf.fit(pd.concat([simulated_run(), simulated_run(seed=1).assign(run="b")]))
    for run, rows in fits.residuals().groupby("run"):
        np.testing.assert_array_equal(rows["residual"], fits[str(run)].residuals())
        assert len(rows["tokens"]) == 30 - fits[str(run)].n_warmup
    for run, rows in fits.simulate([1e10, 2e10], rng=3).groupby("run"):
        drawn = rows.pivot(index="draw", columns="tokens", values="value").to_numpy()
        np.testing.assert_array_equal(drawn, fits[str(run)].simulate([1e10, 2e10], rng=3))
    assert list(fits.notes.columns) == ["run", "kind", "note"]
    assert list(fits.misfit["misfit"]) == [fit.misfit for fit in fits.values()]


def test_limits_and_budgets_of_many_runs_are_numbers_and_sentences(
    simulated_run: Simulate,
) -> None:
    both = pd.concat([simulated_run(), simulated_run(seed=1).assign(run="b", loss=3.0)])
    both["loss"] = 2.0 + both["activation_ratio"]
    for fits in (sf.fit(both), sf.fit(both, response="loss")):
        asked = {"loss": 2.01} if fits["b"].response == "loss" else {"activation_ratio": 0.01}
        for table, verb in (
            (fits.limit(), lambda fit: fit.limit()),
            (fits.tokens_to(**asked), lambda fit, asked=asked: fit.tokens_to(**asked)),
            (fits.tokens_within(), lambda fit: fit.tokens_within()),
        ):
            results = [verb(fits[run]) for run in table["run"]]
            assert list(table["sentence"]) == [one.sentence for one in results]
            for end in ("estimate", "lower", "upper"):
                assert table[end].dtype == float
                assert list(table[end]) == [getattr(one, end) for one in results]
        assert list(fits.limit()["is_identified"]) == list(fits.limit()["identified"] == "yes")
    assert np.isinf(sf.fit(both).tokens_to(activation_ratio=0.01)["upper"]).all()


def test_one_run_and_many_are_looped_over_alike(simulated_run: Simulate) -> None:
    one = sf.fit(simulated_run())
    many = sf.fit(pd.concat([simulated_run(), simulated_run(seed=1).assign(run="b")]))
    assert isinstance(one, sf.Fit) and isinstance(many, sf.Fits)
    assert dict(sf.as_fits(one)) == {"simulated": one}
    assert sf.as_fits(many) is many
    assert list(sf.as_fits({"mine": one})) == ["mine"]
    for other in (simulated_run(), [one], {"a": 1}, None):
        with pytest.raises(ArgumentError, match=r"as_fits takes what sf\.fit"):
            sf.as_fits(other)  # type: ignore[arg-type]


def test_fits_is_a_mapping(simulated_run: Simulate) -> None:
    fits = sf.fit(pd.concat([simulated_run(), simulated_run(seed=1).assign(run="b")]))
    assert fits.get("c") is None
    assert fits.get("c", 5) == 5
    assert fits.get("b") is fits["b"]
    assert "b" in fits and "c" not in fits
    assert dict(fits) == fits.fits
    # Both what a mapping raises and what sparsefit raises for an argument.
    for kind in (KeyError, ArgumentError):
        with pytest.raises(kind, match=r"^no run 'c'; runs: 'b', 'simulated'$"):
            fits["c"]
