"""Thousands of markers are an image inside of a vector figure; everything else stays a shape."""

from __future__ import annotations

import io
from typing import Any

import pytest
from matplotlib.figure import Figure

import sparsefit as sf
from sparsefit.plots import canvas
from sparsefit.reporting.svg import inline_svg


@pytest.fixture
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas, "FEW", 5)
    monkeypatch.setattr(canvas, "DENSE", 10)


def svg_of(figure: Any) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return buffer.getvalue()


def test_only_beyond_thousands() -> None:
    assert canvas.crowd(2001)["rasterized"]
    assert not canvas.crowd(2000)["rasterized"]
    assert "rasterized" not in canvas.crowd(200)


@pytest.mark.parametrize("plot", ["fit", "residuals", "runs"])
def test_markers_are_an_image_and_the_curve_is_not(fits, plot, few_are_many, monkeypatch) -> None:
    fit = fits["falling_sim"]
    assert len(fit.points) > 10
    axes = getattr(sf.plots, plot)(fit, Figure().subplots())
    images = [line for line in axes.lines if line.get_rasterized()]
    assert images
    assert all(line.get_linestyle() == "None" for line in images)
    assert any(not line.get_rasterized() and len(line.get_xdata()) > 20 for line in axes.lines) or (
        plot == "residuals"
    )
    drawn = svg_of(axes.figure)
    monkeypatch.setattr(canvas, "DENSE", 10**6)
    plain = svg_of(getattr(sf.plots, plot)(fit, Figure().subplots()).figure)
    assert "<image" in drawn and "<image" not in plain
    assert drawn.count("<use") < plain.count("<use") - 10


def test_a_page_holds_the_image_itself(fits, few_are_many) -> None:
    axes = sf.plots.fit(fits["falling_sim"], Figure().subplots())
    text = inline_svg(axes.figure, "key", "title", "words")
    assert ' href="data:image/png;base64,' in text
    assert "#key-data:" not in text
