from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.backtesting.comparison_text import sentence
from sparsefit.backtesting.loo import conditional_log_likelihood, psis_loo
from sparsefit.errors import ArgumentError
from sparsefit.results.criteria import from_sum_of_squares, weights_of


@pytest.fixture(scope="module")
def run(make_run):
    return make_run("one", points=24, noise=1e-4)


@pytest.fixture(scope="module")
def fits(run):
    return {name: sf.fit(run, law=name) for name in ("eq4", "eq5")}


@pytest.fixture(scope="module")
def result(fits):
    return sf.compare(fits, cuts=[0.6])


def test_psis_loo_is_close_to_exact_loo_of_a_normal_mean():
    rng = np.random.default_rng(0)
    y = rng.normal(size=20)
    draws = y.mean() + rng.normal(size=20_000) / np.sqrt(20)
    log_likelihood = -0.5 * np.log(2 * np.pi) - 0.5 * (y - draws[:, None]) ** 2
    rest = (y.sum() - y) / 19
    variance = 1 + 1 / 19
    exact = -0.5 * np.log(2 * np.pi * variance) - 0.5 * (y - rest) ** 2 / variance
    loo = psis_loo(log_likelihood)
    assert loo.reliable
    np.testing.assert_allclose(loo.elpd, exact, atol=0.02)


def test_equal_ratios_need_no_smoothing():
    loo = psis_loo(np.full((100, 2), -1.5))
    assert loo.reliable
    np.testing.assert_allclose(loo.elpd, -1.5)


def test_loo_flags_a_point_that_decides_alone():
    rng = np.random.default_rng(1)
    y = np.append(rng.normal(size=5), 9.0)
    draws = y.mean() + rng.normal(size=4000) / np.sqrt(6)
    loo = psis_loo(-0.5 * (y - draws[:, None]) ** 2)
    assert not loo.reliable and loo.k.argmax() == 5
    assert (loo.k[:5] < 0.7).all()


def test_conditional_density_matches_the_joint_normal(fits):
    fit = fits["eq4"]
    values = conditional_log_likelihood(fit)
    draws, points = fit.averaged.draws, fit.points
    n = len(points)
    assert values.shape == (len(draws), n)
    # By the definition of a conditional density, from two joint densities.
    from scipy.stats import multivariate_normal

    checked = 0
    for index in range(len(draws)):
        noise = fit.averaged.noises[draws.noise[index]]
        if noise.kind != "ar1" or draws.drop[index] != 0:
            continue
        residual = points.y - draws.curve(fit.law, points.d)[index]
        covariance = noise.covariance(points)
        covariance = draws.sigma[index] ** 2 * covariance
        whole = multivariate_normal(np.zeros(n), covariance).logpdf(residual)
        for point in (0, 11, n - 1):
            rest = np.delete(np.arange(n), point)
            part = multivariate_normal(np.zeros(n - 1), covariance[np.ix_(rest, rest)])
            assert values[index, point] == pytest.approx(whole - part.logpdf(residual[rest]))
        checked += 1
        if checked == 3:
            break
    assert checked == 3


def test_criteria_follow_their_textbook_forms():
    # Burnham & Anderson: AIC = n log(ssr / n) + 2k up to a constant of n.
    a, b = from_sum_of_squares(2.0, 30, 4), from_sum_of_squares(1.5, 30, 5)
    expected = 30 * np.log(2.0 / 1.5) + 2 * (4 - 5) + 2 * 4 * 5 / 25 - 2 * 5 * 6 / 24
    assert a.aicc - b.aicc == pytest.approx(expected)
    assert a.bic - b.bic == pytest.approx(30 * np.log(2.0 / 1.5) - np.log(30))
    assert from_sum_of_squares(1.0, 5, 4).aicc == np.inf
    np.testing.assert_allclose(weights_of([0.0, np.log(3.0)]), [0.25, 0.75])
    assert np.isnan(weights_of([0.0, np.nan])).all()


def test_the_true_law_wins_by_every_criterion(result):
    table = result.table.set_index("fit")
    assert table.loc["eq4", "log_evidence"] > table.loc["eq5", "log_evidence"] + 3
    assert table.loc["eq4", "aicc"] < table.loc["eq5", "aicc"]
    assert table.loc["eq4", "future_crps"] < table.loc["eq5", "future_crps"]
    assert table.loc["eq4", "stacking"] > 0.5
    for name in ("aicc_weight", "evidence_weight", "stacking"):
        assert table[name].sum() == pytest.approx(1.0)
    assert "'eq4' forecasts best" in result.sentence
    assert "cannot show" in result.sentence  # one run


def test_names_of_fits_are_quoted_in_sentences():
    table = pd.DataFrame(
        {
            "run": ["a", "a", "b", "b"],
            "fit": ["warm-up found", "none"] * 2,
            "future_crps": [0.1, 0.2, 0.2, 0.1],
            "log_evidence": [10.0, 8.0, 10.0, 6.0],
        }
    )
    future = SimpleNamespace(methods=())
    assert sentence(table, future) == (
        "Fitted to the first part and scored on the rest, 'warm-up found' forecasts best on a and "
        "'none' forecasts best on b (CRPS). The evidence favours 'warm-up found' on all 2 runs, by "
        "2.0 to 4.0 nats."
    )


def test_laws_that_win_on_different_runs_are_named_run_by_run(two_runs):
    table = sf.compare({law: sf.fit(two_runs, law=law) for law in ("eq4", "eq5")}, cuts=[0.6])
    assert "'eq4' forecasts best on falling" in table.sentence
    assert "'eq5' forecasts best on rising" in table.sentence
    assert list(table.overall["runs"]) == [2, 2]


def test_future_scores_repeat_the_fits_own_settings(run):
    fits = [sf.fit(run, law="eq4", warmup=rule) for rule in ("auto", None, 4)]
    result = sf.compare(fits, cuts=[0.6])
    assert list(result.table["fit"]) == [
        "logspace_power",
        "logspace_power, warm-up none",
        "logspace_power, warm-up first 4 points",
    ]
    for name, warmup in (("logspace_power, warm-up none", None),):
        cut = round(0.6 * len(run))
        again = sf.fit(run.iloc[:cut], law="eq4", warmup=warmup)
        tokens = run["tokens"].to_numpy(dtype=float)[cut:]
        median = np.median(again.simulate(tokens, "curve"), axis=0)
        mae = 100 * np.abs(median - run["activation_ratio"].to_numpy()[cut:]).mean()
        got = result.table.set_index("fit").loc[name, "future_mae"]
        assert got == pytest.approx(mae, rel=0.3)
    # Least squares of all three on the points that all three use: one value.
    assert result.table["aicc"].nunique() == 1
    assert any("warm-ups differ" in remark for remark in result.remarks)


def test_without_leave_future_out_the_evidence_speaks(fits):
    result = sf.compare(fits, cuts=None)
    assert result.future is None and result.table["future_crps"].isna().all()
    assert result.sentence.startswith("The evidence favours 'eq4', by ")


def test_evidence_of_a_robust_fit_is_not_compared(run, fits):
    result = sf.compare([fits["eq4"], sf.fit(run, law="eq4", robust=True)], cuts=None)
    assert result.table["log_evidence"].isna().all()
    assert any("does not compare" in remark for remark in result.remarks)


def test_a_bayesian_fit_compares_by_forecasts_not_by_evidence(run, fits):
    bayes = sf.fit_bayes(run, law="eq4", engine="importance")
    result = sf.compare({"plain": fits["eq4"], "bayes": bayes}, cuts=[0.6])
    assert result.table["log_evidence"].isna().all()
    assert result.table["future_crps"].notna().all()
    # Much the same model and data: a point given the others is as likely under both.
    plain, other = (conditional_log_likelihood(f).mean(axis=0)[5:] for f in (fits["eq4"], bayes))
    np.testing.assert_allclose(plain, other, atol=0.7)


def test_measured_errors_enter_the_conditional_density(run):
    known = sf.fit_bayes(run.assign(se=1e-2), law="eq4", engine="importance")
    values = conditional_log_likelihood(known)[:, 10:].mean()
    # Noise of a hundredth, although the points scatter by a ten-thousandth.
    assert values == pytest.approx(-0.5 * np.log(2 * np.pi * 1e-4), abs=0.5)


def test_unreliable_loo_is_left_out_with_a_remark(fits):
    result = sf.compare({"a": fits["eq4"], "b": fits["eq4"]}, cuts=None)
    for _, row in result.table.iterrows():
        assert np.isnan(row["loo"]) == (row["loo_max_k"] >= 0.7)
        if np.isnan(row["loo"]):
            assert any(f"one, {row['fit']} (" in remark for remark in result.remarks)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda fits: [fits["eq4"]], "is fitted once"),
        (lambda fits: [], "no fit"),
        (lambda fits: [fits["eq4"], "eq5"], "got str"),
    ],
)
def test_what_cannot_be_compared_is_said(fits, make, message):
    with pytest.raises(ArgumentError, match=message):
        sf.compare(make(fits), cuts=None)


def test_runs_too_short_to_hold_points_back_can_be_compared_without(run):
    short = run.head(6)
    pair = [sf.fit(short, law="eq4"), sf.fit(short, law="eq5")]
    with pytest.raises(ArgumentError, match=r"nothing to forecast .*\. cuts=None \(--no-future\)"):
        sf.compare(pair)
    assert sf.compare(pair, cuts=None).table["log_evidence"].notna().all()


def test_fits_of_other_points_are_refused(run, fits):
    changed = run.copy()
    changed.loc[3, "activation_ratio"] += 1e-4
    with pytest.raises(ArgumentError, match="other points"):
        sf.compare([fits["eq4"], sf.fit(changed, law="eq4")], cuts=None)
    with pytest.raises(ArgumentError, match="other points"):
        sf.compare([fits["eq4"], sf.fit(run.iloc[:-1], law="eq4")], cuts=None)


def test_a_table_is_no_comparison(two_runs):
    with pytest.raises(ArgumentError, match="fit it in two or more ways first"):
        sf.compare(two_runs)


def test_one_fits_object_is_no_comparison(two_runs):
    with pytest.raises(ArgumentError, match="list of fits"):
        sf.compare(sf.fit(two_runs))


def test_equal_names_are_told_apart(fits):
    result = sf.compare([fits["eq4"], fits["eq4"]], cuts=None)
    assert list(result.table["fit"]) == ["logspace_power", "logspace_power (2)"]


def test_views_hold_the_same_numbers(result):
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["fits"][0]["aicc"] == pytest.approx(result.table["aicc"].iloc[0])
    tidy = result.tidy()
    assert set(tidy["criterion"]) >= {"aicc", "log_evidence", "future_crps", "stacking"}
    assert result.sentence in result.summary() and "<table>" in result._repr_html_()
    assert repr(result) == "Comparison(eq4, eq5)"
    with pytest.raises(AttributeError):
        replace(result).sentence = ""


def test_command(tmp_path, run, capsys):
    from sparsefit.cli import main

    path = tmp_path / "run.csv"
    run.to_csv(path, index=False)
    figure = tmp_path / "figure.svg"
    assert main(["compare", str(path), "--no-future", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["fits"]) == 2
    words = ["compare", str(path), "--laws", "eq4", "--warmup", "auto", "none", "3", "--no-future"]
    assert main([*words, "--out", str(figure)]) == 0
    assert figure.stat().st_size > 0
    assert "warm-up none" in capsys.readouterr().out
    assert main(["compare", str(path), "--laws", "eq4"]) == 1
    with pytest.raises(SystemExit, match="2"):
        main(["compare", str(path), "--warmup", "auto", "some"])
    assert "'some' is not auto, none, a number of points or of tokens" in capsys.readouterr().err


def test_command_leaves_out_a_run_that_has_hardly_begun(tmp_path, run, capsys):
    from sparsefit.cli import main

    path = tmp_path / "runs.csv"
    pd.concat([run, run.head(5).assign(run="begun")]).to_csv(path, index=False)
    assert main(["compare", str(path), "--no-future", "--json"]) == 3
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert list(document["failed"]) == ["begun"]
    assert "not fitted" in printed.err
    assert "begun" in printed.err


def test_plot_draws_a_row_for_each_run(result):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from sparsefit.plots import comparison

    figure, axes = plt.subplots()
    assert comparison(result, axes) is axes
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["one"]
    # Filled is the best of a run; the legend is about none.
    assert all(handle.get_facecolor().size == 0 for handle in axes.get_legend().legend_handles)
    with pytest.raises(ArgumentError, match="criterion"):
        comparison(result, axes, criterion="r2")
    plt.close(figure)


def test_pandas_input_is_left_alone(run, fits):
    before = run.copy()
    sf.compare(fits, cuts=[0.6])
    pd.testing.assert_frame_equal(run, before)


def test_fits_of_several_laws_are_repeated_where_they_were_fitted(two_runs):
    fits = [sf.fit(two_runs), sf.fit(two_runs, warmup=None)]
    result = sf.compare(fits, cuts=[0.6])
    assert not [remark for remark in result.remarks if "failed" in remark or "weights" in remark]
    assert result.table[["future_crps", "stacking"]].notna().all().all()
    assert result.table.groupby("run")["stacking"].sum().tolist() == pytest.approx([1, 1])


@pytest.mark.parametrize("what", [None, 5])
def test_what_is_no_list_of_fits_is_named(what):
    with pytest.raises(ArgumentError, match="list or mapping of fits"):
        sf.compare(what)


def test_one_fit_is_no_comparison(fits):
    with pytest.raises(ArgumentError, match="list or mapping of fits"):
        sf.compare(fits["eq4"])
