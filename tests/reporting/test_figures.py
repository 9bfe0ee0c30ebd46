from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib as mpl
import pytest
from matplotlib.colors import to_hex

from sparsefit.errors import ArgumentError
from sparsefit.plots.canvas import run_text
from sparsefit.reporting import WIDTHS_MM, save_figures
from sparsefit.reporting.figures import KINDS, file_name, file_names
from sparsefit.reporting.svg import COLOURS


@pytest.fixture(scope="module")
def one(simulated_fits: Any) -> Any:
    return simulated_fits["simulated_relu"]


@pytest.mark.parametrize("width", ["single", "double", 100.0])
def test_width_on_paper(one: Any, tmp_path: Path, width: Any) -> None:
    (path,) = save_figures(one, tmp_path, ["svg"], width, which=["forecast"])
    inches = float(ElementTree.parse(path).getroot().attrib["width"].removesuffix("pt")) / 72
    assert inches * 25.4 == pytest.approx(WIDTHS_MM.get(width, width), abs=0.1)


def test_every_figure(one: Any, tmp_path: Path) -> None:
    paths = save_figures(one, tmp_path / "new", "svg")
    assert {path.name for path in paths} == {f"simulated_relu-{kind}.svg" for kind in KINDS[2:]}


def test_every_format_of_several_runs(simulated_fits: Any, tmp_path: Path) -> None:
    which = ["limits", "residuals"]
    with warnings.catch_warnings():
        # The font has no Chinese glyphs: matplotlib says so for PDF and PNG.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ ")
        paths = save_figures(simulated_fits, tmp_path, ["pdf", "svg", "png"], which=which)
    assert len(paths) == len(set(paths)) == 3 * (1 + 2)
    heads = {"pdf": b"%PDF", "svg": b"<?xml", "png": b"\x89PNG"}
    for path in paths:
        assert path.read_bytes().startswith(heads[path.suffix[1:]])


def test_settings_of_matplotlib_stay(one: Any, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    look = {"font.size": 12.0, "axes.facecolor": "0.9"}
    save_figures(one, tmp_path, ["svg"], which="warmup", style=look)
    assert dict(mpl.rcParams) == before


def test_a_style_changes_the_figures(one: Any, tmp_path: Path) -> None:
    which = "residuals"
    (plain,) = save_figures(one, tmp_path / "plain", ["svg"], which=which)
    (styled,) = save_figures(one, tmp_path / "styled", ["svg"], which=which, style="ggplot")
    plain, styled = plain.read_text("utf-8"), styled.read_text("utf-8")
    assert "#e5e5e5" in styled
    assert "#e5e5e5" not in plain


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"formats": ["gif"]}, "formats"),
        ({"formats": []}, "formats"),
        ({"which": ["forecasts"]}, "which"),
        ({"which": []}, "which"),
        ({"width": "wide"}, "width"),
        ({"width": 5.0}, "width"),
        ({"style": "no such style"}, "style"),
        ({"style": 5}, "style"),
        ({"formats": None}, "formats"),
        ({"which": 3}, "which"),
        ({"width": None}, "width"),
        ({"dpi": "high"}, "dpi"),
        ({"until": [1e9, 2e9]}, "until"),
    ],
)
def test_refuses(one: Any, tmp_path: Path, options: dict[str, Any], word: str) -> None:
    with pytest.raises(ArgumentError, match=word):
        save_figures(one, tmp_path, **options)


def test_refuses_a_folder_that_is_none(one: Any, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for folder, words in ((file, "is a file"), (None, "name of a folder")):
        with pytest.raises(ArgumentError, match=words):
            save_figures(one, folder)


@pytest.mark.parametrize(
    ("run", "name"), [("a/b c", "a_b_c"), ("../x", "x"), ("0.1b_relu", "0.1b_relu"), ("//", "run")]
)
def test_file_names_stay_in_the_folder(run: str, name: str) -> None:
    assert file_name(run) == name


def test_runs_never_share_a_file() -> None:
    names = file_names(["a/b", "a b", "A_b", "a_b-2", 300 * "模", 300 * "模" + "2"])
    assert len({name.lower() for name in names}) == 6
    assert max(len(name.encode("utf-8")) for name in names) <= 125


@pytest.mark.parametrize(
    ("run", "text"),
    [
        ("0.1b_relu", "0.1b_relu"),
        ("two\nlines\tand \u202eback", "two lines and back"),
        ("_hidden", " _hidden"),  # legends leave out labels that begin with an underscore
        ("a$x_1^{2$", r"a\$x_1^{2\$"),  # no formula
        (40 * "a" + 40 * "b", 14 * "a" + "…" + 14 * "b"),
    ],
)
def test_names_of_runs_in_figures(run: str, text: str) -> None:
    assert run_text(run) == text


def texts_of_legend(axes: Any) -> list[Any]:
    legend = axes.get_legend()
    return [] if legend is None else list(legend.get_texts())


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


def test_a_dark_style_has_light_ink(one: Any) -> None:
    import sparsefit as sf
    from sparsefit.plots import style
    from sparsefit.reporting.draw import new_figure

    with style.applied("dark_background"):
        assert (style.ink(), style.paper(), style.tone(0.93)) == ("#ffffff", "#000000", "#121212")
        assert style.series_look(6)[0] == "#ffffff"
    assert (style.ink(), style.paper(), style.tone(0.93)) == ("#000000", "#ffffff", "#ededed")
    dark = "dark_background"
    for plot in (sf.plots.fit, sf.plots.warmup_sensitivity, sf.plots.residuals, sf.plots.budget):
        figure = new_figure(plot, one, (4, 3), dark, style=dark)
        for axes in figure.axes:
            shown = [*axes.lines, *axes.texts, *axes.get_xticklabels(), *texts_of_legend(axes)]
            assert "#000000" not in {to_hex(artist.get_color()) for artist in shown}
