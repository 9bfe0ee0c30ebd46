"""The page in a real browser: console, overflow, contrast; light and dark; three widths."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs Chromium (Debian package chromium)"),
]

# Chromium's windows cannot be as narrow as a phone: the page is laid out in a frame of that width.
FRAME = """<!DOCTYPE html><html><body style="margin:0"><pre id="found">nothing</pre>
<iframe id="page" style="border:0" width="360" height="900" srcdoc="{page}"></iframe>
<script>{script}</script></body></html>"""

SCRIPT = r"""
const frame = document.getElementById("page");
const measure = width => {
  frame.width = width;
  const doc = frame.contentDocument, view = frame.contentWindow;
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parse = c => (c.match(/[\d.]+/g) || []).map(Number);
  const luminance = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const c = parse(view.getComputedStyle(at).backgroundColor);
      if (c.length === 3 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  let texts = 0;
  const faint = [];
  const walk = doc.createTreeWalker(doc.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || element.closest("title, desc, style")) continue;
    const style = view.getComputedStyle(element);
    const inside = element.closest("svg");
    const a = luminance(parse(inside ? style.fill : style.color)), b = luminance(ground(element));
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    texts += 1;
    if (ratio < 4.5) faint.push([walk.currentNode.data.trim(), ratio]);
  }
  const root = doc.documentElement;
  const beyond = [...doc.body.querySelectorAll("*")].filter(
    e => !e.closest(".scroll, .skip") && e.getBoundingClientRect().right > root.clientWidth + 1);
  return {
    scroll: root.scrollWidth, client: root.clientWidth, texts, faint,
    ground: parse(view.getComputedStyle(doc.body).backgroundColor),
    beyond: beyond.map(e => e.outerHTML.slice(0, 80)),
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
  };
};
frame.addEventListener("load", () => {
  const found = Object.fromEntries([360, 800, 1600].map(width => [width, measure(width)]));
  document.getElementById("found").textContent = JSON.stringify(found);
});
"""


def look(page: Path, folder: Path, dark: bool) -> tuple[dict[str, Any], str]:
    """Lay the page out in the browser; returns what was found by width, and the console."""
    framed = folder / f"frame-{dark}.html"
    source = page.read_text(encoding="utf-8")
    framed.write_text(
        FRAME.format(page=html.escape(source, quote=True), script=SCRIPT),
        encoding="utf-8",
    )
    command = [
        str(BROWSER),
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *("--hide-scrollbars", "--enable-logging=stderr", "--window-size=1700,1000"),
        f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        f"--user-data-dir={folder / 'profile'}",
        *("--virtual-time-budget=5000", "--dump-dom", framed.as_uri()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    return json.loads(html.unescape(found.group(1))), done.stderr


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_fits_and_can_be_read(report_page: Path, tmp_path: Path, dark: bool) -> None:
    by_width, console = look(report_page, tmp_path, dark)
    assert list(by_width) == ["360", "800", "1600"]
    for width, found in by_width.items():
        assert found["dark"] is dark
        assert (sum(found["ground"]) < 200) is dark
        assert found["scroll"] <= found["client"] == int(width)
        assert found["beyond"] == []
        assert found["texts"] > 300
        assert found["faint"] == []
    assert "CONSOLE" not in console


def test_the_check_sees_what_it_checks(report_page: Path, tmp_path: Path) -> None:
    """A page with an overflow, a faint text and an error is caught."""
    bad = tmp_path / "bad.html"
    spoilt = '<p style="min-width:2000px;color:#ccc">faint</p><script>throw Error("x")</script>'
    source = report_page.read_text(encoding="utf-8")
    bad.write_text(source.replace('<main id="main"', spoilt + '<main id="main"'), encoding="utf-8")
    by_width, console = look(bad, tmp_path, dark=False)
    for found in by_width.values():
        assert found["beyond"]
        assert [text for text, _ in found["faint"]] == ["faint"]
    assert "CONSOLE" in console
