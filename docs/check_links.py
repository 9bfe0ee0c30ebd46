"""Check that every link inside the built site leads to a file and, with ``#``, to a place in it.

Usage: ``python docs/check_links.py docs/_build`` (status 1 and a list where one does not). Links to
other hosts are not followed.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Elements that load or link, and the attribute that says what.
_LINKS = {
    "a": "href",
    "link": "href",
    "img": "src",
    "script": "src",
    "iframe": "src",
    "form": "action",
}


class _Page(HTMLParser):
    """Targets (ids) and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.links: list[tuple[int, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.targets.update(found[name] for name in ("id", "name") if found.get(name))
        wanted = _LINKS.get(tag)
        if wanted and found.get(wanted):
            self.links.append((self.getpos()[0], found[wanted]))


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    return page


def pages_of(site: Path) -> list[Path]:
    """Pages of the site; what lies in _static are templates of the theme."""
    return [path for path in sorted(site.rglob("*.html")) if path.parent.name != "_static"]


def broken_links(site: Path) -> list[str]:
    """Broken links of all pages, each as ``page, line N: link: why``.

    Parameters
    ----------
    site : Path
        Folder with the built pages.
    """
    site = site.resolve()
    pages = {path: _read(path) for path in pages_of(site)}
    found = []
    for path, page in pages.items():
        for line, link in page.links:
            why = _fault(link, path, site, pages)
            if why:
                found.append(f"{path.relative_to(site).as_posix()}, line {line}: {link}: {why}")
    return found


def _fault(link: str, path: Path, site: Path, pages: dict[Path, _Page]) -> str | None:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return None
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_relative_to(site):
        return "leads out of the site"
    if not target.is_file():
        return "no such file"
    anchor = unquote(parts.fragment)
    # "#" alone is the top of the page.
    if anchor and target in pages and anchor not in pages[target].targets:
        return f"no place {anchor!r} in that page"
    return None


def main() -> int:
    """Print what is broken; 1 where something is, 2 where there is no site."""
    if len(sys.argv) != 2:
        print("usage: python docs/check_links.py SITE", file=sys.stderr)
        return 2
    site = Path(sys.argv[1])
    count = len(pages_of(site))
    if not count:
        print(f"{site}: no built pages", file=sys.stderr)
        return 2
    faults = broken_links(site)
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{count} pages, {len(faults)} broken links")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
