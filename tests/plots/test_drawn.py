from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.display import interval_text
from sparsefit.errors import ArgumentError
from sparsefit.plots.canvas import count_text, run_texts
from sparsefit.plots.fits import limit_words
from sparsefit.plots.many import spread


def labelled(axes, label):
    found = [a for a in axes.get_children() if getattr(a, "get_label", str)() == label]
    assert len(found) == 1, label
    return found[0]


def ends_at(band, x):
    """Lowest and highest ordinate of a filled band's outline at one abscissa."""
    outline = band.get_paths()[0].vertices
    at = outline[np.isclose(outline[:, 0], x, rtol=1e-9)]
    return at[:, 1].min(), at[:, 1].max()


def texts(axes):
    return " ".join(text.get_text() for text in axes.texts)


def test_bands_end_at_the_forecasts_numbers(fits, axes):
    fit = fits["falling_sim"]
    last = 3.0 * fit.tokens[-1]
    sf.plots.fit(fit, axes, until=last, level=0.8)
    line = labelled(axes, "curve (median)")
    tokens = line.get_xdata()
    table = fit.forecast(tokens, level=0.8)
    np.testing.assert_allclose(line.get_ydata(), table["median"])
    assert tokens[-1] == pytest.approx(last)
    assert fit.tokens[-1] in tokens
    for label, columns in (
        ("80% band, curve", ["curve_lower", "curve_upper"]),
        ("80% band, new measurement", ["obs_lower", "obs_upper"]),
    ):
        for row in (0, 80, len(table) - 1):
            drawn = ends_at(labelled(axes, label), tokens[row])
            np.testing.assert_allclose(drawn, table.loc[row, columns].to_numpy(dtype=float))
    np.testing.assert_allclose(labelled(axes, "least-squares fit").get_ydata(), fit.predict(tokens))


def test_a_run_that_its_law_does_not_describe_gets_no_limit_and_no_budget(table, axes):
    rising = table[table["run"] == "rising_sim"].assign(activation="relu")
    fit = sf.fit(rising)
    sf.plots.fit(fit, axes)
    assert axes.get_title("left") == "rising_sim: not described by its law"
    axes.clear()
    sf.plots.budget(fit, axes, targets=[0.2, 0.3])
    assert 0 < axes.get_xlim()[1] < axes.get_xlim()[0] < 1
    (line,) = [line for line in axes.lines if not line.get_label().startswith("_")]
    assert line.get_label() == "rising_sim: not described by its law"
    assert line.get_ydata().max() < axes.get_ylim()[0]


def test_every_row_is_drawn_in_its_role(fits, axes):
    fit = fits["falling_sim"]
    sf.plots.fit(fit, axes)
    roles = fit.points_table()["role"].value_counts()
    assert len(labelled(axes, "used").get_xdata()) == roles["used"]
    assert len(labelled(axes, "warm-up").get_xdata()) == roles["warm-up"] >= 3
    assert len(labelled(axes, "failed (no value)").get_xdata()) == roles["failed"] == 1


def test_forecast_zone_is_shaded_and_named(fits, axes):
    fit = fits["falling_sim"]
    sf.plots.fit(fit, axes)
    assert "seen: 40B" in texts(axes)
    assert "forecast to 160B" in texts(axes)
    assert "∞" in [tick.get_text() for tick in axes.get_xticklabels()]


def test_a_bounded_limit_has_both_ends_and_no_word_of_unbounded(fits, axes):
    fit = fits["falling_sim"]
    limit = fit.limit()
    assert limit.identified == "yes"
    sf.plots.fit(fit, axes)
    np.testing.assert_allclose(labelled(axes, "_limit").get_ydata(), [limit.lower, limit.upper])
    assert "unbounded" not in texts(axes)
    assert interval_text(limit.estimate, limit.lower, limit.upper) in axes.get_title(loc="left")


def test_a_one_sided_limit_is_said_in_words_and_hatched(fits, axes):
    fit = fits["open_sim"]
    limit = fit.limit()
    assert limit.identified == "one-sided"
    sf.plots.fit(fit, axes)
    assert f"at most {limit.upper:.4f} (one-sided" in axes.get_title(loc="left")
    assert "unbounded" in texts(axes)
    assert [c for c in axes.collections if c.get_hatch()]
    bottom = axes.get_ylim()[0]
    assert bottom > 0.01, "an unbounded end must not squeeze the data"
    assert labelled(axes, "_limit").get_ydata()[0] == pytest.approx(bottom)


@pytest.mark.parametrize(
    ("identified", "lower", "upper", "words"),
    [
        ("yes", 0.05, 0.07, "limit 0.0600 [0.0500, 0.0700] (90%)"),
        ("one-sided", 0.0, 0.07, "limit at most 0.0700 (one-sided, 90%)"),
        ("one-sided", 0.05, 1.0, "limit at least 0.0500 (one-sided, 90%)"),
        ("no", 0.0, 1.0, "limit not identified"),
    ],
)
def test_words_for_a_limit(identified, lower, upper, words):
    from sparsefit.results.estimates import Limit

    limit = Limit(0.06, lower, upper, identified, 0.9, "profile", "activation_ratio", (0.0, 1.0))
    assert limit_words(limit) == words


def test_later_points_are_drawn_but_not_those_fitted(table, axes):
    one = table[table["run"] == "rising_sim"]
    fit = sf.fit(one.iloc[:14])
    sf.plots.fit(fit, axes, held_out=one)
    assert len(labelled(axes, "later, not used").get_xdata()) == 10


def test_sparsity_is_the_second_axis(fits, axes):
    sf.plots.fit(fits["falling_sim"], axes)
    (second,) = axes.child_axes
    axes.figure.draw_without_rendering()
    assert second.get_ylabel().startswith("sparsity")
    np.testing.assert_allclose(np.sort(second.get_ylim()), 1 - np.array(axes.get_ylim())[::-1])


def test_many_runs_are_named_and_end_at_their_forecast(fits, axes):
    sf.plots.runs(fits, axes, until=1e11)
    assert {text.get_text() for text in axes.texts} == set(fits)
    for run, fit in fits.items():
        line = labelled(axes, run)
        seen = fit.tokens[-1]
        assert line.get_xdata()[-1] == pytest.approx(seen)
        expected = fit.forecast(seen)["median"][0]
        assert line.get_ydata()[-1] == pytest.approx(expected)


def test_a_wild_band_does_not_squeeze_the_points(axes):
    import pandas as pd

    rng = np.random.default_rng(3)
    d = np.linspace(2, 40, 20)
    noisy = pd.DataFrame(
        {
            "run": "noisy_sim",
            "tokens": d * 1e9,
            "activation_ratio": 0.36 - 0.1 * d**-0.2 + rng.normal(0, 0.01, d.size),
            "activation": "silu",
        }
    )
    sf.plots.runs(sf.fit(noisy), axes)
    low, high = axes.get_ylim()
    assert high - low < 2.0 * np.ptp(noisy["activation_ratio"])


def test_fit_of_many_runs_draws_them_all(fits, axes):
    sf.plots.fit(fits, axes)
    assert {text.get_text() for text in axes.texts} == set(fits)


def test_residuals_are_those_of_the_fit(fits, axes):
    fit = fits["rising_sim"]
    sf.plots.residuals(fit, axes)
    np.testing.assert_allclose(labelled(axes, "used").get_ydata(), fit.residuals())


def test_residual_rows_carry_the_runs_names(fits, axes):
    sf.plots.residuals(fits, axes, runs=["rising_sim", "open_sim"])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["rising_sim", "open_sim"]


def test_warmup_plot_holds_the_tables_limits_and_weights(fits, axes):
    fit = fits["falling_sim"]
    sf.plots.warmup_sensitivity(fit, axes)
    table = fit.warmup_sensitivity()
    np.testing.assert_allclose(labelled(axes, "least-squares limit").get_ydata(), table["limit"])
    made = labelled(axes, "choice made")
    assert made.get_xdata() == [fit.n_warmup]
    heights = np.array([bar.get_height() for bar in axes.containers[0]])
    np.testing.assert_allclose(heights / heights.max(), table["weight"] / table["weight"].max())


def test_forest_says_the_limits_and_points_arrows_at_open_ends(fits, axes):
    sf.plots.limits(fits, axes)
    assert [tick.get_text() for tick in axes.get_yticklabels()] == list(fits)
    open_end, bounded = fits["open_sim"].limit(), fits["falling_sim"].limit()
    assert f"≤ {open_end.upper:.4f}, one-sided" in texts(axes)
    assert interval_text(bounded.estimate, bounded.lower, bounded.upper) in texts(axes)
    assert [line.get_marker() for line in axes.lines].count("<") == 1


def test_derivative_is_drawn_against_the_data_scale_ratio(fits, axes):
    fit = fits["falling_sim"]
    sf.plots.derivative(fit, axes)
    assert "data-scale ratio" in axes.get_xlabel()
    assert axes.get_xscale() == axes.get_yscale() == "log"
    line = labelled(axes, "falling_sim")
    assert line.get_xdata()[-1] == pytest.approx(fit.tokens[-1] / 1e8)
    expected = fit.derivative(fit.tokens[-1], "data_scale_ratio")["median"][0]
    assert line.get_ydata()[-1] == pytest.approx(-expected)
    entries = [text.get_text() for text in axes.get_legend().get_texts()]
    assert entries == ["90% band", "falling_sim", "forecast"]


def test_the_line_of_the_tokens_seen_does_not_cross_the_legends_words():
    from matplotlib.figure import Figure

    axes = Figure(figsize=(6.4, 4.8), layout="constrained").subplots()
    shipped = sf.datasets.load("reference_scales")
    fit = sf.fit(shipped[shipped["run"] == "0.11m_relu_s0"])
    sf.plots.fit(fit, axes)
    axes.figure.draw_without_rendering()
    seen = float(fit.tokens[-1])
    (line,) = [one for one in axes.lines if len(one.get_xdata()) and set(one.get_xdata()) == {seen}]
    heights = np.asarray(line.get_ydata(), dtype=float)
    assert np.isnan(heights).any()
    to_axes = axes.transAxes.inverted()
    for text in axes.get_legend().get_texts():
        box = text.get_window_extent().transformed(to_axes)
        assert box.y0 > heights[1] and box.y1 < heights[3]


def test_derivative_without_parameter_counts_uses_tokens(table, axes):
    fit = sf.fit(table[table["run"] == "rising_sim"].drop(columns="n_params"))
    sf.plots.derivative(fit, axes)
    assert axes.get_xlabel() == "training tokens"
    with pytest.raises(ArgumentError, match="n_params"):
        sf.plots.derivative(fit, axes, wrt="data_scale_ratio")


def test_budget_line_and_band_are_those_of_tokens_to(fits, axes):
    fit = fits["falling_sim"]
    targets = np.linspace(0.0705, 0.075, 7)
    sf.plots.budget(fit, axes, targets=targets)
    line = labelled(axes, "median")
    expected = [fit.tokens_to(activation_ratio=float(t)) for t in line.get_xdata()]
    np.testing.assert_allclose(line.get_ydata(), [budget.estimate for budget in expected])
    target = float(targets[-1])
    budget = fit.tokens_to(activation_ratio=target)
    drawn = ends_at(labelled(axes, "90% interval"), target)
    np.testing.assert_allclose(drawn, [budget.lower, budget.upper])
    for bad in ([7.0, 8.0], "many", [0.1, "x"]):
        with pytest.raises(ArgumentError, match="fractions"):
            sf.plots.budget(fit, axes, targets=bad)
    with pytest.raises(ArgumentError, match="held_out must be a measurement table"):
        sf.plots.fit(fit, axes, held_out="later.csv")


def test_budget_hatches_what_may_never_be_met(fits, axes):
    sf.plots.budget(fits["open_sim"], axes)
    assert labelled(axes, "may never be met").get_hatch()


def test_a_fit_of_the_loss_has_its_own_units(axes):
    import pandas as pd
    from matplotlib.figure import Figure

    d = np.geomspace(0.5, 40.0, 20)
    rng = np.random.default_rng(1)
    table = pd.DataFrame(
        {
            "run": "loss_sim",
            "tokens": d * 1e9,
            "activation_ratio": 0.1,
            "loss": 2.0 + 1.5 * d**-0.4 + rng.normal(0, 5e-3, d.size),
        }
    )
    fit = sf.fit(table, response="loss")
    sf.plots.fit(fit, axes)
    assert "nats" in axes.get_ylabel()
    assert not axes.child_axes
    for plot in (sf.plots.budget, sf.plots.residuals, sf.plots.limits, sf.plots.derivative):
        other = Figure().subplots()
        assert plot(fit, other) is other


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.4527e11, "145B"), (1.4527e12, "1.45T"), (999.6e9, "1T"), (2e6, "2M"), (10e3, "10k"),
     (512.0, "512"), (np.inf, "never")],
)  # fmt: skip
def test_token_counts_are_short(value, text):
    assert count_text(value) == text


def test_names_are_moved_apart_and_keep_their_order():
    placed = spread([0.1, 0.5, 0.51, 0.52, 0.9], 0.1)
    assert np.all(np.diff(placed) >= 0.1 - 1e-12)
    assert placed[0] == 0.1
    assert placed[-1] == 0.9
    assert np.mean(placed[1:4]) == pytest.approx(0.51)


def test_hundreds_of_points_leave_the_curve_to_be_seen(axes):
    tokens = np.linspace(1e9, 3e11, 400)
    noise = 0.03 * np.random.default_rng(0).standard_normal(400)
    loss = 2.1 + 0.9 * (tokens / 1e9) ** -0.3 + noise
    fit = sf.fit(pd.DataFrame({"run": "a", "tokens": tokens, "loss": loss}), response="loss")
    sf.plots.fit(fit, axes)
    points, curve = labelled(axes, "used"), labelled(axes, "curve (median)")
    assert len(points.get_xdata()) == 400 - fit.n_warmup
    assert points.get_zorder() < curve.get_zorder()
    assert points.get_markersize() < 4


@pytest.mark.parametrize("count", [2, 3, 30])
def test_long_names_of_runs_that_differ_in_the_middle_stay_apart(count):
    runs = [f"experiments/2026/0.1b_relu_s{i}_bs512_lr3e-4_warmup2000_final" for i in range(count)]
    texts = run_texts([*runs, "short"])
    assert list(texts) == [*runs, "short"]
    assert len(set(texts.values())) == count + 1
    for i, run in enumerate(runs):
        assert f"_s{i}" in texts[run]
        assert len(texts[run]) <= 28
    assert texts["short"] == "short"


def test_names_that_no_shortening_tells_apart_are_numbered():
    runs = [20 * "a" + middle + 20 * "b" for middle in ("x" * 40 + "1" + "x" * 40, "y" * 81)]
    texts = run_texts([*runs, runs[0] + "\n"])
    assert len(set(texts.values())) == 3


def test_a_legend_of_many_runs_leaves_the_axes_free(fits):
    from matplotlib.figure import Figure

    axes = Figure(layout="constrained").subplots()
    many = {f"run_{i}": fits["falling_sim"] for i in range(20)}
    sf.plots.derivative(many, axes)
    axes.figure.draw_without_rendering()
    legend = axes.get_legend().get_window_extent()
    assert legend.x0 >= axes.get_window_extent().x1
    assert legend.height < axes.figure.bbox.height
