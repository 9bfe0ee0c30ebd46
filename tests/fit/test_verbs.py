"""Verbs of a fit: contracts, warm-up, budget, derivative, serialisation, bad arguments."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.errors import ArgumentError, FitError, TableError
from sparsefit.estimation import engine

Simulate = Callable[..., pd.DataFrame]


@pytest.fixture(scope="module")
def fit(simulated_run: Simulate) -> sf.Fit:
    return sf.fit(simulated_run(n_params=1e8))


def test_the_same_table_gives_the_same_fit(simulated_run: Simulate) -> None:
    table = simulated_run()
    first, second = sf.fit(table), sf.fit(table.sample(frac=1, random_state=3))
    pd.testing.assert_series_equal(first.params, second.params)
    pd.testing.assert_frame_equal(first.forecast([1e11]), second.forecast([1e11]))
    assert first.limit() == second.limit()


def test_forecast_columns_and_order(fit: sf.Fit) -> None:
    table = fit.forecast([5e9, 3e10, 1e11, 1e13])
    assert list(table) == [
        "tokens",
        "mean",
        "median",
        "curve_lower",
        "curve_upper",
        "obs_lower",
        "obs_upper",
    ]
    assert (table["obs_lower"] <= table["curve_lower"]).all()
    assert (table["curve_lower"] <= table["median"]).all()
    assert (table["median"] <= table["curve_upper"]).all()
    assert (table["curve_upper"] <= table["obs_upper"]).all()
    # Further away, nothing becomes surer.
    widths = (table["curve_upper"] - table["curve_lower"]).to_numpy()
    assert (np.diff(widths[1:]) > 0).all()


def test_wider_level_wider_interval(fit: sf.Fit) -> None:
    narrow, wide = fit.limit(0.5), fit.limit(0.95)
    assert wide.lower <= narrow.lower <= narrow.upper <= wide.upper
    for method in ("integrated", "profile", "wald", "bootstrap"):
        ends = fit.conf_int(0.9, method)
        assert (ends["lower"] <= ends["upper"]).all()
        assert ends.loc["A0", "lower"] >= 0


def test_limit_says_sparsity(fit: sf.Fit) -> None:
    limit = fit.limit()
    assert float(limit.sparsity) == pytest.approx(1 - limit.estimate)
    assert limit.sparsity.lower == pytest.approx(1 - limit.upper)
    assert limit.identified == "yes"
    assert limit.lower <= 0.07 <= limit.upper


def test_tokens_to_statuses(fit: sf.Fit) -> None:
    reached = fit.tokens_to(activation_ratio=0.09)
    assert reached.status == "reached" and reached.upper <= 3e10
    soon = fit.tokens_to(sparsity=1 - 0.0735)
    assert soon.status == "reachable" and 3e10 < soon.lower <= soon.estimate <= soon.upper
    never = fit.tokens_to(activation_ratio=0.03)
    assert never.status == "unreachable" and np.isinf(never.lower)
    level = fit.limit()
    between = fit.tokens_to(activation_ratio=level.estimate)
    assert between.status == "undetermined" and np.isinf(between.upper)
    assert 0 < between.probability < 1


def test_tokens_to_meets_the_forecast(fit: sf.Fit) -> None:
    """The budget and the forecast come from the same draws."""
    budget = fit.tokens_to(activation_ratio=0.075)
    curve = fit.simulate([budget.estimate], "curve")
    assert np.median(curve) == pytest.approx(0.075, abs=1e-5)


def test_derivatives_differ_by_the_chain_rule(fit: sf.Fit) -> None:
    tokens = np.array([5e9, 2e10])
    per_token = fit.derivative(tokens)
    per_ratio = fit.derivative(tokens, wrt="data_scale_ratio")
    per_log = fit.derivative(tokens, wrt="log_tokens")
    np.testing.assert_allclose(per_ratio["median"], per_token["median"] * 1e8)
    np.testing.assert_allclose(per_log["lower"], per_token["lower"] * tokens)
    np.testing.assert_allclose(per_ratio["data_scale_ratio"], tokens / 1e8)
    assert (per_token["upper"] < 0).all()


def test_data_scale_ratio_needs_the_parameter_count(simulated_run: Simulate) -> None:
    with pytest.raises(ArgumentError, match="n_params"):
        sf.fit(simulated_run()).derivative([1e10], wrt="data_scale_ratio")


def test_json_round_trip(fit: sf.Fit, tmp_path: Path) -> None:
    fit.to_json(tmp_path / "fit.json")
    again = sf.load_fit(tmp_path / "fit.json")
    assert isinstance(again, sf.Fit)
    pd.testing.assert_frame_equal(fit.forecast([1e10, 1e12]), again.forecast([1e10, 1e12]))
    pd.testing.assert_frame_equal(fit.points_table(), again.points_table(), check_dtype=False)
    assert fit.limit(0.8) == again.limit(0.8)
    assert fit.summary() == again.summary()
    assert list(tmp_path.iterdir()) == [tmp_path / "fit.json"]


@pytest.mark.parametrize("source", [None, 5, b"{}"])
def test_what_is_no_saved_fit_is_named(source: object) -> None:
    with pytest.raises(ArgumentError, match="a path or a JSON document is expected"):
        sf.load_fit(source)  # type: ignore[arg-type]


def test_a_file_that_is_no_text_is_no_saved_fit(tmp_path: Path) -> None:
    (tmp_path / "fit.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ArgumentError, match="not UTF-8 text"):
        sf.load_fit(tmp_path / "fit.json")


@pytest.mark.parametrize("warmup", [[1], True, {"points": 3}, 1j])
def test_what_is_no_warmup_rule_is_named(warmup: object, simulated_run: Simulate) -> None:
    with pytest.raises(ArgumentError, match=r"warmup must be 'auto', 'none' \(or None\), a number"):
        sf.fit(simulated_run(), warmup=warmup)  # type: ignore[arg-type]


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


def test_the_bootstrap_of_a_limit_has_a_seed(simulated_run: Simulate) -> None:
    fit = sf.fit(simulated_run(n=12, noise=1e-3))
    first, again, other = (fit.limit(method="bootstrap", rng=seed) for seed in (1, 1, 2))
    assert first == again and first != other
    ends = fit.conf_int(method="bootstrap", rng=1).iloc[-1]
    assert (first.lower, first.upper) == tuple(ends)


def test_a_limit_that_is_not_identified_is_not_taken_for_one(simulated_run: Simulate) -> None:
    closed = sf.fit(simulated_run()).limit()
    opened = sf.fit(simulated_run(n=7, last=2e9, noise=2e-3)).limit()
    assert closed.identified == "yes" and closed.is_identified is True
    assert opened.identified != "yes" and opened.is_identified is False


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


def test_warmup_is_found_and_every_row_accounted_for(simulated_run: Simulate) -> None:
    table = simulated_run(noise=2e-4)
    table.loc[:3, "activation_ratio"] -= np.array([0.03, 0.02, 0.01, 0.005])
    found = sf.fit(table)
    roles = found.points_table()
    assert len(roles) == 30
    assert found.n_warmup >= 3
    assert (roles["role"].iloc[: found.n_warmup] == "warm-up").all()
    assert any("warm-up" in note for note in found.notes)
    limit = found.limit()
    assert limit.lower <= 0.07 <= limit.upper


def test_warmup_choices(simulated_run: Simulate) -> None:
    table = simulated_run()
    assert sf.fit(table, warmup=None).n_warmup == 0
    assert sf.fit(table, warmup=4).n_warmup == 4
    by_tokens = sf.fit(table, warmup=3.5e9)
    assert by_tokens.n_warmup == int((table["tokens"] < 3.5e9).sum())
    sensitivity = by_tokens.warmup_sensitivity()
    assert sensitivity.loc[sensitivity["chosen"], "n_dropped"].tolist() == [by_tokens.n_warmup]


@pytest.mark.parametrize("n", [8, 30, 92, 93, 300, 20_000])
def test_warmup_choices_of_long_runs_grow_by_tenths(n: int) -> None:
    choices = engine.warmup_choices(n, 4)
    most = max(0, min(n // 3, n - 9))
    assert choices[0] == 0 and choices[-1] == most
    assert (choices[: min(most, 30) + 1] == np.arange(min(most, 30) + 1)).all()
    assert (np.diff(choices) <= 1.0 + 0.1 * choices[:-1]).all()
    assert len(choices) < 100


def test_auto_finds_a_warmup_of_many_points(simulated_run: Simulate) -> None:
    run = simulated_run(n=300, last=3e11)
    run.loc[:44, "activation_ratio"] += 0.01
    fit = sf.fit(run)
    # Of the choices near 45 points, 46 is the first that leaves all of them out.
    assert fit.n_warmup == 46
    assert fit.limit().estimate == pytest.approx(0.07, abs=5e-4)


def test_auto_carries_the_limits_of_both_warmup_choices(
    authors_run: Callable[[str], pd.DataFrame],
) -> None:
    """Dropping one point or eight moves 0.2b_relu's least-squares limit from .068 to 0."""
    found = sf.fit(authors_run("0.2b_relu"))
    choices = found.warmup_sensitivity().set_index("n_dropped")["limit"]
    limit = found.limit()
    for drop in (1, 8):
        assert limit.lower <= choices[drop] <= limit.upper
    assert limit.identified == "one-sided"
    other = sf.fit(authors_run("0.4b_relu"))
    moved = other.warmup_sensitivity().set_index("n_dropped")["limit"]
    limit = other.limit()
    assert limit.lower <= min(moved[0], moved[1]) and max(moved[0], moved[1]) <= limit.upper


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


def test_failed_rows_are_kept_and_not_fitted(simulated_run: Simulate) -> None:
    table = simulated_run().assign(status="ok")
    table.loc[7, ["activation_ratio", "status"]] = [np.nan, "failed"]
    found = sf.fit(table)
    roles = found.points_table()
    assert len(roles) == 30 and roles["role"].tolist()[7] == "failed"
    assert len(found.points) == 29
    assert any("1 row has no value" in note for note in found.notes)


def test_law_by_evidence_without_an_activation(simulated_run: Simulate) -> None:
    for law, theta in (("eq4", (0.5, -2.2, 0.6, 0.07)), ("eq5", (0.7, 0.08, 0.39))):
        table = simulated_run(law=law, theta=theta).drop(columns="activation")
        found = sf.fit(table)
        assert found.law is sf.laws.get(law)
        assert "evidence" in found.law_reason


def test_loss_and_sparsity_converge_at_different_speeds(simulated_run: Simulate) -> None:
    table = simulated_run(n=40, last=1e11)
    d = table["tokens"] / 1e9
    rng = np.random.default_rng(1)
    table["loss"] = 2.0 + 0.5 * d**-0.9 + 1e-3 * rng.standard_normal(40)
    loss = sf.fit(table, response="loss")
    assert loss.limit().lower <= 2.0 <= loss.limit().upper
    assert loss.response == "loss"
    assert loss.tokens_within(0.05).estimate < sf.fit(table).tokens_within(0.05).estimate
    assert loss.tokens_to(loss=2.05).status in {"reached", "reachable"}
    with pytest.raises(ArgumentError, match="loss"):
        loss.tokens_to(sparsity=0.9)


def test_forecasts_at_billions_are_refused(fit: sf.Fit) -> None:
    with pytest.raises(ArgumentError, match=r"raw counts: 2000 is far before .* in billions"):
        fit.forecast([2e12, 2000])
    assert np.isfinite(fit.forecast(fit.tokens[0] / 100)["median"][0])


def test_a_law_that_does_not_describe_the_run_is_noticed(simulated_run: Simulate) -> None:
    rising = simulated_run(law="eq5", theta=(0.7, 0.08, 0.39)).assign(activation="relu")
    assert any("does not describe this run" in note for note in sf.fit(rising).notes)
    turning = simulated_run(noise=3e-4, n=40)
    late = turning["tokens"] > 1.2e10
    turning.loc[late, "activation_ratio"] += 2e-3 * (turning["tokens"][late] / 1e9 - 12)
    turned = sf.fit(turning)
    assert any("turn" in note for note in turned.notes)
    assert turned.misfit and turned.limit().identified == "no"
    # A value that the run has had: even there the law's curve says nothing about the run.
    for budget in (turned.tokens_to(activation_ratio=0.1), turned.tokens_within(0.05)):
        assert budget.status == "undetermined" and budget.misfit
        assert budget.lower <= turned.tokens[0] and budget.upper == np.inf
        assert "no answer" in budget.sentence and "does not describe" in repr(budget)
    assert not any("does not describe this run" in n for n in sf.fit(simulated_run()).notes)


def test_the_measured_run_that_turns_is_noticed() -> None:
    """A real ReLU run, measured by this project, whose activation ratio falls and then rises."""
    found = sf.fit(sf.datasets.load("reference_turning"))
    assert isinstance(found, sf.Fit)
    assert any("turn and rise" in note for note in found.notes)
    assert found.limit().identified == "no"


def test_diagnostics_see_correlation_and_outliers(simulated_run: Simulate) -> None:
    table = simulated_run(n=60, noise=0.0)
    rng = np.random.default_rng(3)
    residual = np.zeros(60)
    for i in range(1, 60):
        residual[i] = 0.85 * residual[i - 1] + 3e-4 * rng.standard_normal()
    found = sf.fit(table.assign(activation_ratio=table["activation_ratio"] + residual), warmup=None)
    assert found.diagnostics().ljung_box_p < 0.05
    spiky = simulated_run(noise=1e-4)
    spiky.loc[20, "activation_ratio"] += 0.004
    assert any("robust=True" in s for s in sf.fit(spiky, warmup=None).diagnostics().sentences)


def test_text_and_html_name_the_run(fit: sf.Fit) -> None:
    assert "simulated" in repr(fit) and "identified: yes" in repr(fit)
    assert "warm-up" in fit.summary() and "limit sparsity ratio" in fit.summary()
    assert "<table" in fit._repr_html_()


def test_band_and_budget_hold_a_limit_on_its_bound(
    simulated_run: Simulate,
) -> None:
    """A true limit of 0 lies below every draw; where 0 is not excluded the band reaches it."""
    theta = (0.5, -1.6, 0.66, 0.0)
    covered = []
    for seed in range(6):
        fit = sf.fit(simulated_run(theta=theta, noise=5e-4, seed=seed))
        assert fit.limit().lower == 0.0
        band = fit.forecast([9e10]).iloc[0]
        truth = float(fit.law.value([90.0], theta)[0])
        budget = fit.tokens_to(activation_ratio=float(fit.law.value([60.0], theta)[0]))
        covered.append([band["curve_lower"] <= truth <= band["curve_upper"], budget.lower <= 6e10])
        assert band["obs_lower"] <= band["curve_lower"]
    assert np.mean(covered, axis=0).min() >= 0.6


@pytest.mark.parametrize(
    ("law", "theta", "bound"),
    [("eq5", (0.05, 0.5, 1.0), 1.0), ("eq4", (0.08, 3.0, 4.0, 0.0), 0.0)],
    ids=["rising", "falling"],
)
def test_what_lies_on_a_physical_bound_is_that_bound(
    simulated_run: Simulate, law: str, theta: tuple[float, ...], bound: float
) -> None:
    """Not 1e-12 from it: in Python, in the coefficients and in JSON."""
    found = sf.fit(simulated_run(law=law, theta=theta, n=15, noise=5e-4), warmup=None)
    limit = found.limit()
    assert limit.identified != "yes" and limit.bounds == (0.0, 1.0)
    ends = (limit.lower, limit.upper)
    assert bound in ends and 1.0 - bound in (limit.sparsity.lower, limit.sparsity.upper)
    assert limit.lower <= limit.estimate <= limit.upper
    assert found.limit(method="profile").estimate == found.params["A0"]
    assert limit.estimate == bound or abs(limit.estimate - bound) > 1e-9
    assert all(value == 0.0 or value > 1e-9 for value in (*ends, limit.estimate))
    again = sf.load_fit(found.to_json())
    assert isinstance(again, sf.Fit) and again.limit() == limit


def test_a_fit_is_not_saved_into_a_folder_that_is_not_there(
    simulated_run: Simulate, tmp_path: Path
) -> None:
    found = sf.fit(simulated_run())
    with pytest.raises(ArgumentError, match=r"fit\.json: there is no folder .*absent"):
        found.to_json(tmp_path / "absent" / "fit.json")
    with pytest.raises(ArgumentError, match="this is a folder"):
        found.to_json(tmp_path)
    with pytest.raises(ArgumentError, match="the name of a file is expected, got 5"):
        found.to_json(5)  # type: ignore[arg-type]
