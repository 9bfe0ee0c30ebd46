"""The command and the figure."""

from __future__ import annotations

import json

import numpy as np
import pytest

import sparsefit as sf
from sparsefit.cli import main
from sparsefit.errors import ArgumentError


@pytest.fixture
def files(tmp_path, simulated, simulated_loss):
    limits, losses = tmp_path / "limits.csv", tmp_path / "losses.csv"
    simulated(se=5e-4).to_csv(limits, index=False)
    simulated_loss.to_csv(losses, index=False)
    return str(limits), str(losses), tmp_path


def test_json_is_one_strict_document(files, capsys) -> None:
    limits, losses, folder = files
    figure = folder / "law.png"
    words = [limits, "--json", "--loss", losses, "--variants", "--draws", "99"]
    assert main(["width-depth", *words, "--out", str(figure)]) == 0
    document = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert document["located"] is True
    assert document["recommendation"]["ratio"] == 74.0
    assert document["variants"]["line_plateau"]["weight"] > 0.5
    assert figure.stat().st_size > 5000


@pytest.mark.parametrize("method", ["profile", "bootstrap", "bayes"])
def test_text_names_the_break_and_the_advice(files, capsys, method) -> None:
    limits, losses, _ = files
    words = [limits, "--loss", losses, "--method", method, "--draws", "99"]
    assert main(["width-depth", *words]) == 0
    text = capsys.readouterr().out
    assert "A break is placed between" in text
    assert "Recommended width-depth ratio: 74" in text


def test_a_fall_is_fitted_on_request_only(tmp_path, simulated, capsys) -> None:
    path = tmp_path / "fall.csv"
    table = simulated()
    table.assign(limit=0.14 - table["limit"]).to_csv(path, index=False)
    found = {}
    for sign in ("rising", "any"):
        assert main(["width-depth", str(path), "--json", "--draws", "99", "--sign", sign]) == 0
        found[sign] = json.loads(capsys.readouterr().out)
    assert not found["rising"]["located"]
    assert "do not rise" in found["rising"]["status"]
    assert found["any"]["located"]
    assert found["any"]["slope"] < 0
    assert main(["width-depth", str(path), "--sign", "any", "--method", "bayes"]) == 0
    assert "A break is placed" in capsys.readouterr().out
    assert main(["width-depth", str(path), "--sign", "any", "--model", "line_line"]) == 1
    assert "--sign" in capsys.readouterr().err


def test_loss_in_the_same_table_has_its_own_standard_error(
    tmp_path, simulated, simulated_loss, capsys
) -> None:
    path = tmp_path / "both.csv"
    table = simulated(se=5e-4).assign(loss=simulated_loss["loss"], loss_se=1e-4)
    table.to_csv(path, index=False)
    assert main(["width-depth", str(path), "--json", "--draws", "99"]) == 0
    advice = json.loads(capsys.readouterr().out)["recommendation"]
    assert advice["ratio_safe"] == 74.0
    assert {p["se"] for p in advice["points"]} == {1e-4}


def test_errors_are_typed_and_name_the_file(tmp_path, simulated, capsys) -> None:
    assert main(["width-depth", str(tmp_path / "none.csv")]) == 1
    assert "no such file" in capsys.readouterr().err
    path = tmp_path / "few.csv"
    simulated().iloc[:4].to_csv(path, index=False)
    assert main(["width-depth", str(path)]) == 1
    assert "at least 5" in capsys.readouterr().err
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert main(["width-depth", str(empty)]) == 1
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_figure_is_drawn_on_the_axes_given(simulated, simulated_loss, scale) -> None:
    from matplotlib import pyplot as plt

    fit = sf.fit_width_depth(simulated(se=5e-4), draws=99)
    figure, axes = plt.subplots(ncols=2)
    try:
        drawn = sf.plots.width_depth(
            fit, axes[1], advice=fit.recommend(simulated_loss), band=False, scale=scale
        )
        assert drawn is axes[1]
        assert not axes[0].has_data()
        labels = drawn.get_legend_handles_labels()[1]
        assert "recommended ratio 74" in labels
        law = next(line for line in drawn.lines if line.get_label() == "law")
        assert np.allclose(law.get_ydata(), fit.predict(law.get_xdata()))
    finally:
        plt.close(figure)


def test_figure_refuses_other_results(simulated) -> None:
    with pytest.raises(ArgumentError, match="fit_width_depth"):
        sf.plots.width_depth("fit")
    fit = sf.fit_width_depth(simulated(), draws=99)
    with pytest.raises(ArgumentError, match="scale"):
        sf.plots.width_depth(fit, scale="cubic")
    with pytest.raises(ArgumentError, match="recommend"):
        sf.plots.width_depth(fit, advice="the smallest")


def test_the_loss_of_an_unstable_run_does_not_squeeze_the_others(simulated, simulated_loss) -> None:
    from matplotlib.figure import Figure

    fit = sf.fit_width_depth(simulated(), draws=99)
    stable = np.arange(len(simulated_loss)) > 0
    losses = simulated_loss.assign(stable=stable)
    losses.loc[0, "loss"] = 50.0
    axes = sf.plots.width_depth(
        fit, Figure().subplots(), advice=fit.recommend(losses), band=False, level=0.975
    )
    assert "unstable training" in axes.get_legend_handles_labels()[1]
    right = next(other for other in axes.figure.axes if other is not axes)
    assert right.get_ylim()[1] < 10


def test_the_band_is_named_by_its_level_and_small_ratios_have_ticks(simulated) -> None:
    from matplotlib.figure import Figure

    table = simulated()
    table["width_depth_ratio"] /= 500
    fit = sf.fit_width_depth(table, draws=199)
    axes = sf.plots.width_depth(fit, Figure().subplots(), scale="log", level=0.975)
    assert "97.5% band of the law" in axes.get_legend_handles_labels()[1]
    low, high = axes.get_xlim()
    assert sum(low < tick < high for tick in axes.get_xticks()) >= 3
