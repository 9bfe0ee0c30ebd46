"""Every command and snippet of README and docs runs, and shows what it prints."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    if not {"_build", "_generated"} & set(path.parts)
)
NEEDS = {"docs/notebooks/measure.md": ("torch", "transformers")}


@pytest.fixture(autouse=True)
def drawing_without_a_screen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import matplotlib.pyplot as plt

    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    plt.switch_backend("Agg")
    yield
    plt.close("all")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sparsefit.collectors.run_text.SmallTextWarning")
@pytest.mark.parametrize(
    "page",
    # Notebooks are executed when CI builds the site.
    [pytest.param(p, marks=[pytest.mark.long] if "/notebooks/" in p else []) for p in PAGES],
)
def test_page_runs_and_shows_what_it_prints(snippets: ModuleType, page: str) -> None:
    for package in NEEDS.get(page, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{page} needs {package} (extra collect)")
    # The commands of the README run as a reader runs them, each in its own process.
    snippets.run_page(ROOT / page, processes=page == "README.md")


def test_every_notebook_is_executed_by_the_site() -> None:
    """What the test above leaves out: notebooks that the configuration of the site would skip."""
    for page in (p for p in PAGES if "/notebooks/" in p and not p.endswith("index.md")):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert text.startswith("---\njupytext:"), page
        assert "{code-cell}" in text, page
        assert not re.search(r"skip-execution|raises-exception|execution_mode", text), page
    conf = (ROOT / "docs" / "conf.py").read_text(encoding="utf-8")
    assert 'nb_execution_mode = "auto"' in conf
    assert "nb_execution_raise_on_error = True" in conf
    assert "nb_execution_excludepatterns" not in conf


@pytest.mark.slow
def test_the_papers_points_are_refitted_where_they_are(
    snippets: ModuleType, authors_points: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSEFIT_AUTHORS_POINTS", str(authors_points))
    snippets.run_page(ROOT / "docs" / "notebooks" / "paper_points.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_run(snippets: ModuleType, page: str) -> None:
    """By a test, by CI itself, or not at all because no one could see it as a block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    sh = 0
    for block in snippets.blocks_of(text):
        where = f"{page}, line {block.line}"
        if block.skipped:
            # An installation. CI takes its commands from the page.
            assert block.skipped == "run by .ci/run", where
            assert f'"$(page_commands {page})"' in ci, where
        if block.language == "sh":
            sh += 1
            assert page == "README.md", where
            assert f'"$(readme_command {sh})"' in ci, where
        known = {"console", "python", "{code-cell}", "sh", "text", "{toctree}", "{eval-rst}"}
        assert block.language in known | {"{include}", "{literalinclude}"}, where
    prose = re.sub(r"^(`{3,}).*?^\1", "", text, flags=re.S | re.M)
    indented = re.findall(r"(?:^\n|\A)((?: {4}|\t)\S.*)", prose, flags=re.MULTILINE)
    assert indented == [], "indented code is run by no test: put it between ```"


@pytest.mark.parametrize("page", PAGES)
def test_commands_within_sentences_are_valid(page: str) -> None:
    from sparsefit.cli import build_parser

    text = re.sub(r"^(`{3,}).*?^\1", "", (ROOT / page).read_text("utf-8"), flags=re.S | re.M)
    for span in re.findall(r"`([^`]+)`", text):
        program, *words = span.split()
        if program == "sparsefit" and len(words) > 1:
            build_parser(only=words[0]).parse_args(words)  # leaves at wrong usage
        elif program == "python" and words[0] != "-m":
            assert (ROOT / words[0]).is_file(), span
        elif program == "make":
            assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text("utf-8"), re.M), span


@pytest.mark.parametrize("page", PAGES)
def test_links_and_images_exist(page: str) -> None:
    path = ROOT / page
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    missing = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            missing.append(target)
    assert missing == []


def anchors(path: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in words}


@pytest.mark.parametrize("page", PAGES)
def test_pages_name_no_machine(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(?:root|home|tmp|work|Users)/", text)


def test_every_page_is_in_the_table_of_contents() -> None:
    docs = ROOT / "docs"
    listed = set()
    for page in docs.rglob("*.md"):
        for block in re.findall(r"^```{toctree}.*?^```", page.read_text("utf-8"), re.S | re.M):
            names = re.findall(r"^[\w/]+$", block, re.MULTILINE)
            listed |= {(page.parent / name).relative_to(docs).as_posix() for name in names}
    pages = {page[5:-3] for page in PAGES if page.startswith("docs/")} - {"index"}
    assert pages - listed == set()


def test_gallery_shows_every_script_and_its_figure() -> None:
    docs = ROOT / "docs"
    text = (docs / "gallery.md").read_text(encoding="utf-8")
    scripts = {path.stem for path in (docs / "gallery").glob("*.py")}
    assert set(re.findall(r"{literalinclude} gallery/(\w+)\.py", text)) == scripts
    assert set(re.findall(r"\(images/(\w+)\.png\)", text)) == scripts


def test_columns_of_the_table_page_are_those_of_the_code(reference_pages: ModuleType) -> None:
    text = (ROOT / "docs" / "table.md").read_text(encoding="utf-8")
    assert reference_pages.table_page(text) == text


def test_pages_of_the_api_are_titled_by_names_that_work(reference_pages: ModuleType) -> None:
    import sparsefit as sf

    def found(root: object, names: str) -> object:
        return functools.reduce(getattr, names.split("."), root)

    titles = reference_pages.public_names()
    assert titles["sparsefit.results.fit.Fit"] == "sf.Fit"
    for full, title in titles.items():
        module, _, name = full.rpartition(".")
        assert found(sf, title.removeprefix("sf.")) is getattr(
            importlib.import_module(module), name
        )


def test_the_command_reference_has_every_command(
    reference_pages: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    from sparsefit.cli import COMMANDS

    text = reference_pages.cli_page()
    for name in COMMANDS:
        assert f"usage: sparsefit {name}" in text


def test_public_names_are_in_the_api_reference() -> None:
    import sparsefit as sf

    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    names = set(re.findall(r"^   ([\w.]+)$", text, flags=re.MULTILINE))
    wanted = set(sf.__all__) - {"__version__", *sf._MODULES}
    # Classes of results are listed under the module that defines them.
    assert wanted - {name.rpartition(".")[2] for name in names} == set()
    assert {f"plots.{name}" for name in sf.plots.__all__} - names == set()


@pytest.mark.parametrize(
    "module",
    [
        *("backtesting", "bayes", "collectors", "collectors.trainer", "datasets", "errors"),
        *("laws", "reporting", "width_depth"),
    ],
)
def test_public_names_of_modules_are_in_the_api_reference(module: str) -> None:
    if module.startswith("collectors"):
        pytest.importorskip("torch", reason="needs the extra collect")
    source = importlib.import_module(f"sparsefit.{module}")
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^   ([\w.]+)$", text, flags=re.MULTILINE))
    public = getattr(source, "__all__", None) or [
        name
        for name, value in vars(source).items()
        if isinstance(value, type) and issubclass(value, Exception) and not name.startswith("_")
    ]
    # Constants are described where they are used.
    wanted = {name for name in public if callable(getattr(source, name))}
    # What the top level has as well is listed there.
    assert {name for name in wanted if not {name, f"{module}.{name}"} & listed} == set()


class TestRunner:
    """The runner catches what it is there for."""

    def page(self, folder: Path, text: str) -> Path:
        path = folder / "page.md"
        path.write_text(text, encoding="utf-8")
        return path

    def test_other_output(self, snippets: ModuleType, tmp_path: Path) -> None:
        path = self.page(tmp_path, "```python\nprint('a 1.0')\n```\n\n```text output\nb 1.0\n```\n")
        with pytest.raises(snippets.SnippetError, match="line 5"):
            snippets.run_page(path)

    def test_other_number(self, snippets: ModuleType, tmp_path: Path) -> None:
        path = self.page(tmp_path, "```console\n$ echo limit 0.25\nlimit 0.31\n```\n")
        with pytest.raises(snippets.SnippetError, match="prints"):
            snippets.run_page(path)
        assert "limit 0.25\n```" in snippets.run_page(path, update=True)

    def test_a_number_close_by_passes(self, snippets: ModuleType, tmp_path: Path) -> None:
        snippets.run_page(self.page(tmp_path, "```console\n$ echo up to 0.250\nup to 0.251\n```\n"))

    def test_failure(self, snippets: ModuleType, tmp_path: Path) -> None:
        with pytest.raises(snippets.SnippetError, match="ended with 3"):
            snippets.run_page(self.page(tmp_path, "```console\n$ exit 3\n```\n"))
        with pytest.raises(snippets.SnippetError, match="ZeroDivisionError"):
            snippets.run_page(self.page(tmp_path, "```{code-cell} ipython3\n1 / 0\n```\n"))

    def test_skipped_and_shared(self, snippets: ModuleType, tmp_path: Path) -> None:
        text = (
            "```console no-run: needs a network\n$ exit 1\n```\n"
            "```python\nx = 3\n```\n"
            "```python\nfrom pathlib import Path\n\nPath('f').write_text(str(x))\n```\n"
            "```console\n$ cat f\n3\n```\n"
        )
        snippets.run_page(self.page(tmp_path, text))
