from __future__ import annotations

import base64
import io
import itertools
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import sparsefit as sf
from sparsefit.backtesting import METHODS, target_of
from sparsefit.cli import main
from sparsefit.errors import ArgumentError, FitError
from sparsefit.reporting.blocks import Section
from sparsefit.reporting.page import render
from sparsefit.reporting.svg import inline_svg
from sparsefit.reporting.words import warmup_sentence

# HTML elements that have no end tag.
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Tree(HTMLParser):
    """Elements of a page, with a check that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


@pytest.fixture(scope="module")
def tree(report_page: Path) -> Tree:
    parsed = Tree()
    parsed.feed(report_page.read_text(encoding="utf-8"))
    parsed.close()
    assert parsed.open == []
    return parsed


def files_of(tree: Tree) -> dict[str, bytes]:
    found = {}
    for tag, attributes in tree.elements:
        if tag == "a" and "download" in attributes:
            head, data = attributes["href"].split(",", 1)
            assert head.endswith(";base64")
            found[attributes["download"]] = base64.b64decode(data)
    return found


def test_ids_are_unique_and_every_reference_has_its_target(tree: Tree) -> None:
    ids = Counter(attributes["id"] for _, attributes in tree.elements if "id" in attributes)
    assert [name for name, count in ids.items() if count > 1] == []
    wanted = set()
    for _, attributes in tree.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            wanted.update(attributes.get(name, "").split())
        if attributes.get("href", "").startswith("#"):
            wanted.add(attributes["href"][1:])
        for value in attributes.values():
            wanted.update(re.findall(r"url\(#([^)]+)\)", value))
    assert wanted - set(ids) == set()


def test_needs_no_network(report_page: Path, tree: Tree) -> None:
    for tag, attributes in tree.elements:
        assert tag not in ("script", "iframe", "img", "object")
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), attributes
    assert "@import" not in report_page.read_text(encoding="utf-8")


def test_headings_descend_by_one_and_landmarks_are_there(tree: Tree) -> None:
    levels = [int(tag[1]) for tag, _ in tree.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    tags = [tag for tag, _ in tree.elements]
    assert all(tags.count(tag) == 1 for tag in ("main", "nav", "header", "footer"))
    first_link = next(attributes for tag, attributes in tree.elements if tag == "a")
    assert first_link["href"] == "#main"


def test_every_figure_is_named_for_screen_readers(tree: Tree) -> None:
    figures = [attributes for tag, attributes in tree.elements if tag == "svg"]
    assert len(figures) == 2 + 2 * 4
    for attributes in figures:
        assert attributes["role"] == "img"
        assert len(attributes["aria-labelledby"].split()) == 2
    # Whatever scrolls can be reached and scrolled by keyboard, and has a name.
    for _, attributes in tree.elements:
        if attributes.get("class") == "scroll":
            assert attributes["tabindex"] == "0"
            assert "aria-label" in attributes or "aria-labelledby" in attributes


def test_every_header_cell_has_a_scope(tree: Tree) -> None:
    cells = [attributes for tag, attributes in tree.elements if tag == "th"]
    assert cells
    assert all(attributes.get("scope") in ("col", "row") for attributes in cells)
    tags = [tag for tag, _ in tree.elements]
    assert tags.count("caption") == tags.count("table")


def test_run_names_are_escaped(report_page: Path, tree: Tree) -> None:
    assert "<silu>" not in report_page.read_text(encoding="utf-8")
    assert any("simulated <silu> & co" in text for text in tree.text)


def test_says_what_the_fit_says(tree: Tree, simulated_fits: Any) -> None:
    text = " ".join(tree.text)
    for fit in simulated_fits.values():
        assert fit.limit().sentence in text
        for note in fit.notes:
            assert note[1:] in text


def test_numbers_in_the_page_are_those_of_the_fits(tree: Tree, simulated_fits: Any) -> None:
    files = files_of(tree)
    names = ("summary", "coefficients", "forecast", "derivative", "budgets", "warmup", "points")
    assert set(files) == {*(f"{name}.csv" for name in names), "numbers.json"}
    coefficients = pd.read_csv(io.BytesIO(files["coefficients.csv"]))
    pd.testing.assert_frame_equal(
        coefficients[["run", "term", "estimate", "lower", "upper"]],
        simulated_fits.tidy()[["run", "term", "estimate", "lower", "upper"]],
        rtol=1e-12,
    )
    forecast = pd.read_csv(io.BytesIO(files["forecast.csv"]))
    for run, own in forecast.groupby("run"):
        again = simulated_fits[run].forecast(own["tokens"])
        pd.testing.assert_frame_equal(own.drop(columns="run").reset_index(drop=True), again)
    points = pd.read_csv(io.BytesIO(files["points.csv"]))
    assert (points["role"] == "failed").sum() == 1

    def refuse(word: str) -> None:
        raise AssertionError(f"not strict JSON: {word}")

    document = json.loads(files["numbers.json"], parse_constant=refuse)
    assert set(document["limits"]) == set(simulated_fits)
    assert len(document["points"]) == len(points)


def test_is_the_same_page_for_the_same_fits(simulated_fits: Any, tmp_path: Path) -> None:
    one = simulated_fits["simulated_relu"]
    first, again = (sf.report(one, tmp_path / f"{name}.html") for name in ("first", "again"))
    assert first.read_bytes() == again.read_bytes()
    assert sorted(tmp_path.iterdir()) == [again, first]


def test_single_run_of_the_loss(simulated_table: pd.DataFrame, tmp_path: Path) -> None:
    run = simulated_table[simulated_table["activation"] == "relu"].drop(columns="status")
    run = run.assign(loss=2.0 + 3.0 * (run["tokens"] / 1e9) ** -0.5, activation_ratio=0.1)
    run["loss"] += 1e-3 * (-1.0) ** run["tokens"].rank()
    text = sf.report(run, tmp_path / "loss.html", response="loss", targets=[2.5]).read_text("utf-8")
    assert "nats per token" in text
    assert "sparsity ratio" not in text


def test_a_run_that_its_law_does_not_describe(
    simulated_table: pd.DataFrame, tmp_path: Path
) -> None:
    wrong = simulated_table[simulated_table["activation"] == "silu"].assign(
        run="wrong", activation="relu"
    )
    page = sf.report(wrong, tmp_path / "wrong.html", targets=[0.3]).read_text(encoding="utf-8")
    assert "its forecasts should not be used" in page
    assert "0.3: no answer, as the law does not describe this run." in page
    assert page.count("<td>not described by the law</td>") == 4


def test_the_warm_up_is_judged_by_the_interval_of_the_page(simulated_fits: Any) -> None:
    """A limit that leaves a narrow interval can be little beside a wide one."""
    fit = simulated_fits["simulated_relu"]
    narrow, wide = fit.limit(0.5), fit.limit(0.99)
    table = fit.warmup_sensitivity()
    table["limit"] = np.linspace(narrow.estimate, wide.lower, len(table))
    assert "farther than its interval reaches" in warmup_sentence(fit, table, 0.5)
    assert "farther than its interval reaches" not in warmup_sentence(fit, table, 0.99)


def test_methods_name_laws_measure_and_versions(tree: Tree, simulated_fits: Any) -> None:
    text = " ".join(tree.text)
    for fit in simulated_fits.values():
        assert fit.law.equation in text
        assert fit.averaged.prior_text in text
    assert f"sparsefit {sf.__version__}" in text
    assert f"numpy {__import__('numpy').__version__}" in text


@pytest.mark.parametrize("source", [3, None, {}, "table.csv"])
def test_refuses_what_is_no_table(source: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError):
        sf.report(source, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_path_that_cannot_be_written(simulated_fits: Any, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="is a folder"):
        sf.report(simulated_fits, tmp_path)
    with pytest.raises(ArgumentError, match="no folder"):
        sf.report(simulated_fits, tmp_path / "absent" / "page.html")
    with pytest.raises(ArgumentError, match="name of a file"):
        sf.report(simulated_fits, None)
    for name in ("page.pdf", "page.md", "page.tex"):
        with pytest.raises(ArgumentError, match=r"page is HTML; give a name that ends in \.html"):
            sf.report(simulated_fits, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_the_command_refuses_a_page_of_another_kind_before_it_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", "absent.csv", "-o", str(tmp_path / "page.pdf")]) == 1
    assert "--out" in (said := capsys.readouterr().err) and "ends in .html" in said


def test_the_stacked_forecast_is_that_of_the_runs_on_the_page(
    simulated_table: pd.DataFrame, tmp_path: Path
) -> None:
    best = sf.forecast_best(simulated_table, ["fit", "log_linear"])
    rising = simulated_table[simulated_table["activation"] == "silu"]
    (run,) = rising["run"].unique()
    fits = sf.fit(rising)
    path = sf.report(fits, tmp_path / "page.html", best=best, until=5e10, sparsities=[0.5])
    page = Tree()
    page.feed(path.read_text(encoding="utf-8"))
    stored = json.loads(files_of(page)["numbers.json"])["best"]
    assert list(stored["runs"]) == [run]
    own = stored["runs"][run]
    tokens = [row["tokens"] for row in own["forecast"]]
    assert tokens == [2e10, 3e10, 4e10, 5e10]
    expected = best.predictive(tokens, run).table()
    for name in ("median", "curve_lower", "obs_upper"):
        assert [row[name] for row in own["forecast"]] == pytest.approx(expected[name].tolist())
    assert [one["method"] for one in stored["weights"]] == ["fit", "log_linear"]
    text = " ".join("".join(page.text).split())
    assert best.why in text
    budget = best.tokens_to(sparsity=0.5, run=run, until=2e11)
    assert budget.sentence in text
    elsewhere = sf.forecast_best(simulated_table[simulated_table["activation"] == "relu"], ["fit"])
    with pytest.raises(ArgumentError, match="best is about simulated_relu, the page is not"):
        sf.report(fits, tmp_path / "other.html", best=elsewhere)


def test_progress_counts_the_parts_of_the_page(simulated_fits: Any, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    sf.report(simulated_fits, tmp_path / "page.html", progress=lambda *at: told.append(at))
    assert told == [(done, 5) for done in range(1, 6)]


def test_a_run_without_a_stacked_forecast_is_named_beside_the_others(
    simulated_table: pd.DataFrame, tmp_path: Path
) -> None:
    falling, rising = simulated_table["run"].unique()
    whole = simulated_table[simulated_table["run"] == rising]

    def falling_only(seen: pd.DataFrame, tokens: Any, rng: Any) -> Any:
        # Not in the backtest, in which every candidate but those that failed gets a weight.
        if len(seen) == len(whole) and target_of(seen)["run"] == rising:
            raise FitError("falling runs only")
        return METHODS["log_linear"].function()(seen, tokens, rng)

    best = sf.forecast_best(simulated_table, {"falling_only": falling_only})
    path = sf.report(sf.fit(simulated_table), tmp_path / "page.html", best=best, sparsities=[0.5])
    page = Tree()
    page.feed(path.read_text(encoding="utf-8"))
    text = " ".join("".join(page.text).split())
    assert f"Stacked forecast of {falling}" in text and f"Stacked forecast of {rising}" not in text
    why = f"run {rising!r} has no forecast: falling_only: falling runs only"
    assert f"Not forecast: {why}" in text
    stored = json.loads(files_of(page)["numbers.json"])["best"]
    assert list(stored["runs"]) == [falling] and stored["left_out"] == {rising: why}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"until": [1e10, 2e10]}, "until must be finite"),
        ({"targets": 0.08}, "targets must be a sequence"),
        ({"sparsities": ["0.9"]}, "each of sparsities must be finite and > 0"),
        ({"comparison": "both laws"}, r"comparison must be what sf\.compare returns, got str"),
        ({"backtest": pd.DataFrame()}, r"what sf\.backtest returns, got DataFrame"),
        ({"best": "fit"}, r"best must be what sf\.forecast_best returns, got str"),
        ({"width_depth": 3.0}, r"what sf\.fit_width_depth returns, got float"),
    ],
)
def test_options_of_another_kind_are_refused_before_any_work(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ArgumentError, match=words):
        sf.report("nothing that could be fitted", tmp_path / "page.html", **options)


def test_a_failed_report_leaves_the_old_page(
    simulated_fits: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.html"
    page.write_text("old", encoding="utf-8")

    def fail(**content: Any) -> str:
        raise RuntimeError("stop")

    # What is drawn before does not matter here.
    for part in ("overview.overview", "api.run_section", "methods.methods"):
        monkeypatch.setattr(f"sparsefit.reporting.{part}", lambda *given: ())

    monkeypatch.setattr("sparsefit.reporting.page.render", fail)
    with pytest.raises(RuntimeError):
        sf.report(simulated_fits, page)
    assert page.read_text(encoding="utf-8") == "old"


def test_the_contents_of_many_runs_fold() -> None:
    names = [f"run number {i}" for i in range(10)]

    def contents(count: int) -> str:
        page = render(
            version="0",
            title="t",
            subtitle="s",
            sections=[Section(f"run-{i}", name) for i, name in enumerate(names[:count])],
            glossary=(),
            methods=(),
            downloads=(),
            footer="f",
        )
        return page[page.index("<nav") : page.index("</nav>")]

    assert "<summary>10 runs</summary>" in contents(10)
    assert contents(10).count('href="#run-') == 10
    assert "<details>" not in contents(8)
    assert contents(8).count('href="#run-') == 8


def test_black_shapes_follow_the_ink_of_the_page() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], [1, 2], "s", color="black", markeredgecolor="white")
    axes.fill_between([1, 2], [0, 1], [1, 2], color="black", alpha=0.2)
    svg = inline_svg(figure, "k", "t", "d")
    markers = [m for m in re.findall(r"<use [^>]*>", svg) if "c-paper" in m]
    assert len(markers) == 2
    assert all("fill:var(--c-ink,#000000)" in marker for marker in markers)
    (band,) = [m for m in re.findall(r"<use [^>]*>", svg) if "fill-opacity" in m]
    assert "fill:var(--c-ink,#000000)" in band
    # Points of long runs are small and have no edge.
    figure = Figure()
    figure.subplots().plot([1, 2, 3], [1, 2, 3], "o", color="black", markeredgewidth=0.0)
    markers = re.findall(r"<use [^>]*>", inline_svg(figure, "k", "t", "d"))
    assert len(markers) > 3
    assert all("fill:var(--c-ink,#000000)" in marker for marker in markers)
