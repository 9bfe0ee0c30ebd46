"""The check of links inside the built site finds what is broken, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

WHOLE = {
    "index.html": '<a href="sub/page.html#place">x</a><img src="a%20b.png"><a href="#">top</a>'
    '<a href="https://example.org/none">out</a><a href="sub/">folder</a>',
    "sub/page.html": '<h1 id="place">p</h1><a href="../index.html">back</a><a href="#place">x</a>',
    "sub/index.html": '<a href="mailto:a@example.org">m</a><a href="?q=1">self</a>',
    "a b.png": "",
    # A template of the theme is no page.
    "_static/macros.html": '<script src="{{ path }}"></script>',
}


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_whole_site(check_links: ModuleType, tmp_path: Path) -> None:
    assert check_links.broken_links(write(tmp_path, WHOLE)) == []


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ('<a href="gone.html">x</a>', "gone.html: no such file"),
        ('<a href="sub/page.html#gone">x</a>', "no place 'gone'"),
        ('<a href="#gone">x</a>', "no place 'gone'"),
        ('<img src="gone.png">', "gone.png: no such file"),
        ('<script src="gone.js"></script>', "gone.js: no such file"),
        ('<a href="../outside.html">x</a>', "leads out of the site"),
    ],
)
def test_broken_link(check_links: ModuleType, tmp_path: Path, link: str, why: str) -> None:
    site = tmp_path / "site"
    write(tmp_path, {"outside.html": ""})
    write(site, {**WHOLE, "index.html": f"\n{link}"})
    (found,) = check_links.broken_links(site)
    assert found.startswith("index.html, line 2: ")
    assert why in found


def test_status(
    check_links: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["check_links.py", str(tmp_path)])
    assert check_links.main() == 2  # no pages at all is no success
    write(tmp_path, WHOLE)
    assert check_links.main() == 0
    assert "3 pages, 0 broken links" in capsys.readouterr().out
    write(tmp_path, {"index.html": '<a href="gone.html">x</a>'})
    assert check_links.main() == 1
