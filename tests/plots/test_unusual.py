"""Figures of unusual runs stay legible: long, short, just begun, of six points, many at once."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest

import sparsefit as sf
from sparsefit.plots import canvas
from sparsefit.plots.style import series_look


@pytest.fixture
def wide():
    from matplotlib.figure import Figure

    return Figure(figsize=(6.4, 4.0), layout="constrained").subplots()


def falling(tokens, noise=2e-4, **columns):
    d = np.asarray(tokens) / 1e9
    values = np.exp(-1.2 * d**0.4 - 2.0) + 0.07
    values += noise * np.random.default_rng(3).standard_normal(d.size)
    known = {"activation": "relu", "n_params": 1e8, **columns}
    return pd.DataFrame({"run": "a", "tokens": tokens, "activation_ratio": values, **known})


def shown(axis):
    """Tick labels in view, from the left, with the room that each takes."""
    axis.axes.figure.draw_without_rendering()
    low, high = sorted(axis.get_view_interval())
    ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [tick.label1.get_window_extent() for tick in ticks if tick.label1.get_text()]
    return sorted(boxes, key=lambda box: box.x0)


@pytest.mark.parametrize("decades", [0.03, 0.3, 1.0, 3.0, 5.0, 9.0, 14.0])
@pytest.mark.parametrize(
    "labels", [canvas.token_axis, lambda axes: canvas.plain_log_axis(axes.xaxis)]
)
def test_a_log_axis_has_ticks_that_stay_apart_however_long_it_is(wide, decades, labels):
    wide.set_xscale("log")
    wide.set_xlim(1.3e3, 1.3e3 * 10**decades)
    labels(wide)
    boxes = shown(wide.xaxis)
    assert len(boxes) >= 2
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_limits_of_many_digits_do_not_run_into_one_another(wide):
    fit = sf.fit(falling(np.geomspace(1e7, 1e12, 25), 5e-5))
    limit = fit.limit()
    assert limit.upper - limit.lower < 2e-3
    wide.figure.set_size_inches(4.7, 3.0)
    sf.plots.limits(fit, wide)
    boxes = shown(wide.xaxis)
    assert len(boxes) >= 3
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))


def test_a_narrow_interval_has_two_ends(wide):
    fit = sf.fit(falling(np.linspace(1e9, 1e11, 400), 2e-5))
    limit = fit.limit()
    assert f"{limit.lower:.4f}" == f"{limit.upper:.4f}"
    sf.plots.limits(fit, wide)
    (words,) = [text.get_text() for text in wide.texts]
    low, high = (float(end) for end in words.split("[")[1].rstrip("]").split(","))
    assert limit.lower == pytest.approx(low, abs=6e-6)
    assert low < high == pytest.approx(limit.upper, abs=6e-6)
    sf.plots.fit(fit, wide)
    assert words in wide.get_title("left")


def test_a_single_choice_of_warm_up_is_a_whole_number(wide):
    fit = sf.fit(falling(np.linspace(1e9, 1e11, 6)))
    sf.plots.warmup_sensitivity(fit, wide)
    wide.figure.draw_without_rendering()
    told = [text.get_text() for text in wide.get_xticklabels()]
    assert [text for text in told if text] == ["0"]


def test_choices_of_a_long_run_stand_side_by_side(wide):
    fit = sf.fit(falling(np.linspace(1e9, 1e11, 120)))
    dropped = fit.warmup_sensitivity()["n_dropped"].tolist()
    assert dropped != list(range(len(dropped)))
    sf.plots.warmup_sensitivity(fit, wide)
    wide.figure.draw_without_rendering()
    low, high = wide.get_xlim()
    inside = [tick for tick in wide.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    for tick in inside:
        assert tick.label1.get_text() == str(dropped[round(tick.get_loc())])
    numbers = [text for text in wide.texts if text.get_text().endswith("%")]
    assert len(numbers) == 1


def test_no_legend_covers_residuals_beyond_the_view(wide):
    table = falling(np.geomspace(1e9, 1e11, 20))
    table.loc[:2, "activation_ratio"] += 0.05
    fit = sf.fit(table)
    assert fit.n_warmup >= 3
    sf.plots.residuals(fit, wide)
    wide.figure.draw_without_rendering()
    assert wide.get_legend().get_window_extent().y1 < wide.get_window_extent().y0


def test_a_narrow_column_of_residuals_keeps_its_axes_beside_a_long_legend():
    from matplotlib.figure import Figure

    table = falling(np.geomspace(1e9, 1e11, 20))
    table.loc[:2, "activation_ratio"] += [0.05, -0.05, 0.05]
    figure = Figure(figsize=(3.5, 2.4), layout="constrained")
    axes = figure.add_subplot()
    sf.plots.residuals(sf.fit(table), axes)
    # A second format is laid out anew, and once left the axes no width: warnings are errors.
    for _ in range(2):
        figure.draw_without_rendering()
        legend, whole = axes.get_legend().get_window_extent(), figure.bbox
        assert axes.get_window_extent().width > 0.5 * whole.width
        assert whole.x0 <= legend.x0 and legend.x1 <= whole.x1
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len(names) == len(set(names))


def test_thousands_of_residuals_are_points_without_a_line(wide):
    sf.plots.residuals(sf.fit(falling(np.linspace(1e9, 1e11, 400))), wide)
    (line,) = [one for one in wide.lines if one.get_label() == "used"]
    assert line.get_linestyle() == "None"
    assert line.get_markersize() < 4


def test_targets_of_a_run_that_has_just_begun_are_those_of_its_data(wide):
    table = falling(np.linspace(1e9, 1.05e9, 9))
    sf.plots.budget(sf.fit(table), wide)
    first = float(table["activation_ratio"].iloc[0])
    assert max(wide.get_xlim()) < 1.1 * first


def test_the_words_of_a_run_that_has_just_begun_stay_in_the_axes(wide):
    sf.plots.fit(sf.fit(falling(np.linspace(1e9, 1.05e9, 9))), wide)
    wide.figure.draw_without_rendering()
    (words,) = [text for text in wide.texts if "seen:" in text.get_text()]
    assert words.get_text() == " seen: 1.05B, forecast to 4.2B"
    assert words.get_window_extent().x0 >= wide.get_window_extent().x0


def test_no_two_of_many_runs_share_colour_and_marker():
    assert len({series_look(index)[:2] for index in range(64)}) == 64


def test_fits_with_long_names_stay_apart_in_a_comparison(wide):
    table = falling(np.geomspace(1e9, 1e11, 12))
    names = [f"the law number {at} with a name that is very long indeed" for at in (4, 5)]
    fits = {name: sf.fit(table, law=law) for name, law in zip(names, ("eq4", "eq5"), strict=True)}
    sf.plots.comparison(sf.compare(fits, cuts=None), wide)
    assert len({text.get_text() for text in wide.get_legend().get_texts()}) == 2
