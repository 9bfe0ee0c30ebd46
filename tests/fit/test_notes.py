"""Notes: sentences that know their kind, and that name a law which describes the run better."""

from __future__ import annotations

import copy
import json
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit import laws
from sparsefit.estimation.notes import KINDS, Note, kind_of
from sparsefit.laws.vanilla_power import VanillaPower

Simulate = Callable[..., pd.DataFrame]


def kinds(fit: sf.Fit) -> list[str]:
    return [kind_of(note) for note in fit.notes]


def misfit_note(fit: sf.Fit) -> str:
    (note,) = [note for note in fit.notes if kind_of(note) == "misfit"]
    return note


@pytest.fixture(scope="module")
def rising(simulated_run: Simulate) -> pd.DataFrame:
    """A run that rises, with an activation whose law can only fall."""
    return simulated_run(law="eq5", theta=(0.7, 0.08, 0.39), n=15).assign(activation="relu")


def test_a_note_is_its_sentence() -> None:
    note = Note("the points turn", "misfit")
    assert note == "the points turn" and f"{note}" == "the points turn"
    assert json.dumps([note]) == '["the points turn"]'
    for same in (copy.deepcopy(note), pickle.loads(pickle.dumps(note))):
        assert (same, same.kind) == (note, "misfit")
    assert kind_of("words from elsewhere") == "other"
    with pytest.raises(ValueError, match="no kind"):
        Note("the points turn", "turn")


def test_a_misfit_goes_by_the_kind_of_the_note(rising: pd.DataFrame) -> None:
    found = sf.fit(rising)
    assert "misfit" in kinds(found) and found.misfit
    assert set(kinds(found)) <= set(KINDS)


def test_kinds_survive_the_file(rising: pd.DataFrame) -> None:
    found = sf.fit(rising)
    again = sf.load_fit(found.to_json())
    assert isinstance(again, sf.Fit)
    assert (again.notes, kinds(again)) == (found.notes, kinds(found))
    posterior = sf.fit_bayes(rising)
    assert all(isinstance(note, Note) for note in posterior.notes) and posterior.misfit


def test_a_law_that_describes_the_run_better_is_named(
    rising: pd.DataFrame, simulated_run: Simulate
) -> None:
    for verb in (sf.fit, sf.fit_bayes):
        assert "vanilla_power describes it better, by" in misfit_note(verb(rising))
    falling = sf.fit(simulated_run(n=15), law="eq5", warmup=None)
    assert "logspace_power describes it better, by" in misfit_note(falling)


def test_only_laws_that_the_points_do_not_go_against_are_named(
    rising: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(laws, "names", lambda: ("logspace_power", "loss_power"))
    assert "better" not in misfit_note(sf.fit(rising))


def test_registered_laws_take_part(rising: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(VanillaPower):
        name = "mine"
        aliases = ()

    monkeypatch.setattr(laws, "_LAWS", {"logspace_power": laws.get("eq4")})
    monkeypatch.setattr(laws, "_BY_ALIAS", {"logspace_power": "logspace_power"})
    laws.register(Mine())
    assert "mine describes it better" in misfit_note(sf.fit(rising, law="logspace_power"))


def test_token_counts_stand_in_words(simulated_run: Simulate) -> None:
    turning = simulated_run(n=40)
    late = turning["tokens"] > 1.2e10
    turning.loc[late, "activation_ratio"] += 2e-3 * (turning["tokens"][late] / 1e9 - 12)
    assert re.search(r"turn and rise after \d+(\.\d+)?B tokens", misfit_note(sf.fit(turning)))
    assert sf.fit(simulated_run(n=15), warmup=2.5e9).warmup == "points before 2.5B tokens"


@pytest.mark.parametrize("verb", [sf.fit, sf.fit_bayes])
def test_standard_errors_of_zero_are_noted(
    verb: Callable[..., Any], simulated_run: Simulate
) -> None:
    run = simulated_run(n=15)
    plain, zero = verb(run), verb(run.assign(se=0.0))
    assert zero.limit() == plain.limit()
    (note,) = [note for note in zero.notes if note not in plain.notes]
    assert kind_of(note) == "standard errors"
    assert "standard errors of zero are treated as not given" in note
    for known in (run.assign(se=1e-3), run.assign(se=float("nan"))):
        assert "standard errors" not in kinds(verb(known))


def test_a_shared_error_that_varies_is_noted(simulated_run: Simulate) -> None:
    run = simulated_run(n=15)
    found = sf.fit_bayes(run.assign(se_shared=[1e-3] * 14 + [2e-3]))
    assert "standard errors" in kinds(found)


def test_rows_that_are_not_fitted_are_told_by_the_reason(simulated_run: Simulate) -> None:
    """A row whose measurement failed may hold a loss: it has a value and is still not fitted."""
    table = simulated_run(status="ok")
    table["loss"] = 2.0 + 5.0 * table["activation_ratio"]
    table.loc[[5, 6, 7], "status"] = "failed"
    table.loc[[5, 6], "activation_ratio"] = float("nan")
    said = [str(note) for note in sf.fit(table).notes if note.kind == "failed rows"]
    assert said == [
        "2 rows have no value (failed measurements) and are not fitted",
        "1 row has a value of activation_ratio but the status 'failed' and is not fitted",
    ]
    said = [
        str(note) for note in sf.fit(table, response="loss").notes if note.kind == "failed rows"
    ]
    assert said == ["3 rows have a value of loss but the status 'failed' and are not fitted"]


def test_the_note_on_the_warmup_agrees_with_its_weights() -> None:
    """Least squares may leave out what the average keeps; then nothing says that the law fails."""
    table = sf.datasets.load("reference_scales_repeated")
    found = sf.fit(table[table["run"] == "0.26m_silu_s1"])
    shares = found.warmup_sensitivity()
    weight = shares.loc[shares["n_dropped"] >= found.n_warmup, "weight"].sum()
    (note,) = [note for note in found.notes if kind_of(note) == "warm-up"]
    assert found.n_warmup == 5 and weight < 0.1
    assert "does not describe" not in note and f"a weight of only {weight:.2f}" in note
    table = sf.datasets.load("reference_scales")
    found = sf.fit(table[table["run"] == "0.03m_relu_s0"])
    shares = found.warmup_sensitivity()
    assert shares.loc[shares["n_dropped"] >= found.n_warmup, "weight"].sum() >= 0.5
    (note,) = [note for note in found.notes if kind_of(note) == "warm-up"]
    assert "the law does not describe the first 5 points" in note


def test_correlated_residuals_are_no_pattern_of_the_law(simulated_run: Simulate) -> None:
    """Two hundred checkpoints whose neighbours correlate wander about a law that describes them."""
    from sparsefit.backtesting.simulate import autoregressive

    told = []
    for seed in range(12):
        run = simulated_run(law="eq5", theta=(0.7, 0.08, 0.39), n=200, noise=0.0)
        wander = autoregressive(200, 0.9, np.random.default_rng(seed))
        run["activation_ratio"] += 5e-4 * wander
        told.append("pattern" in kinds(sf.fit(run)))
    assert np.mean(told) < 0.15
    # A law of another form, whose departure is far larger than the noise, is told.
    run = simulated_run(law="eq5", theta=(0.2, 0.08, 0.39), n=30, noise=1e-5)
    run["activation_ratio"] -= 0.05 * (run["tokens"] / 1e9) ** -1.5
    assert "pattern" in kinds(sf.fit(run))
