from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import pytest

from sparsefit.errors import ArgumentError
from sparsefit.reporting import WIDTHS_MM, save_figures
from sparsefit.reporting.figures import file_name
from sparsefit.reporting.svg import COLOURS


@pytest.fixture(scope="module")
def one(simulated_fits: Any) -> Any:
    return simulated_fits["simulated_relu"]


@pytest.mark.parametrize("width", ["single", "double", 100.0])
def test_width_on_paper(one: Any, tmp_path: Path, width: Any) -> None:
    (path,) = [p for p in save_figures(one, tmp_path, ["svg"], width) if "forecast" in p.name]
    inches = float(ElementTree.parse(path).getroot().attrib["width"].removesuffix("pt")) / 72
    assert inches * 25.4 == pytest.approx(WIDTHS_MM.get(width, width), abs=0.1)


def test_every_figure_in_every_format(simulated_fits: Any, tmp_path: Path) -> None:
    paths = save_figures(simulated_fits, tmp_path / "new", ["pdf", "svg", "png"])
    assert len(paths) == len(set(paths)) == 3 * (2 + 2 * 5)
    heads = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}
    for path in paths:
        assert path.read_bytes().startswith(heads[path.suffix[1:]])


def test_settings_of_matplotlib_stay(one: Any, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    save_figures(one, tmp_path, ["svg"], style={"font.size": 12.0, "axes.facecolor": "0.9"})
    assert dict(mpl.rcParams) == before


def test_a_style_changes_the_figures(one: Any, tmp_path: Path) -> None:
    plain = save_figures(one, tmp_path / "plain", ["svg"])[0].read_text("utf-8")
    styled = save_figures(one, tmp_path / "styled", ["svg"], style="ggplot")[0].read_text("utf-8")
    assert "#e5e5e5" in styled
    assert "#e5e5e5" not in plain


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"formats": ["gif"]}, "formats"),
        ({"formats": []}, "formats"),
        ({"width": "wide"}, "width"),
        ({"width": 5.0}, "width"),
        ({"style": "no such style"}, "style"),
    ],
)
def test_refuses(one: Any, tmp_path: Path, options: dict[str, Any], word: str) -> None:
    with pytest.raises(ArgumentError, match=word):
        save_figures(one, tmp_path, **options)


@pytest.mark.parametrize(
    ("run", "name"), [("a/b c", "a_b_c"), ("../x", "x"), ("0.1b_relu", "0.1b_relu"), ("//", "run")]
)
def test_file_names_stay_in_the_folder(run: str, name: str) -> None:
    assert file_name(run) == name


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_of_texts_in_figures_contrast(theme: str) -> None:
    paper = COLOURS["#ffffff"][1 if theme == "light" else 2]
    for name, *colours in COLOURS.values():
        if name != "paper":
            assert contrast(colours[2 if theme == "light" else 3], paper) >= 4.5, name


def test_the_dark_ground_is_that_of_the_page() -> None:
    css = (Path(__import__("sparsefit").__file__).parent / "reporting" / "page.css").read_text()
    assert re.findall(r"--ground: (#\w+)", css) == list(COLOURS["#ffffff"][1:3])
