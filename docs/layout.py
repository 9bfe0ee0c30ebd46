"""Lines of the site: sentences of an output wrap, tables keep their columns and intervals.

A page is narrower than a terminal. Sentences get a class of their own, which site.css wraps; lines
that several runs of spaces make rows of a table are left to scroll.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from docutils import nodes
from pygments.lexers import BashSessionLexer, TextLexer
from pygments.token import Generic, Text, _TokenType

if TYPE_CHECKING:
    from sphinx.application import Sphinx

PROSE = Generic.Output.Prose
"""Token of a line that may wrap; its class in the page is "go-Prose"."""

# Shorter lines fit a page, mostly a phone too.
_SHORT = 50
_GAP = re.compile(r"\S {2,}(?=\S)")

_INTERVAL = re.compile(r"\[[-.\d]+, [-.\d]+\]")

_Tokens = Iterator[tuple[int, _TokenType, str]]


def is_prose(line: str) -> bool:
    """Whether a line of output is a sentence, or a name and a sentence about it."""
    return len(line.rstrip()) > _SHORT and len(_GAP.findall(line)) <= 2


class OutputLexer(TextLexer):
    """Plain output."""

    def get_tokens_unprocessed(self, text: str) -> _Tokens:  # type: ignore[override]
        """Yield each line as a sentence or as text."""
        at = 0
        # The help of a command has columns whose lines the program has wrapped already.
        wraps = not text.startswith("usage:")
        for line in text.splitlines(keepends=True):
            yield at, PROSE if wraps and is_prose(line) else Text, line
            at += len(line)


class SessionLexer(BashSessionLexer):
    """Commands with their output."""

    def get_tokens_unprocessed(self, text: str) -> _Tokens:  # type: ignore[override]
        """Yield commands as they are, and their output by lines."""
        for at, token, value in super().get_tokens_unprocessed(text):
            yield at, PROSE if token is Generic.Output and is_prose(value) else token, value


def keep_intervals_together(_: Sphinx, document: nodes.document) -> None:
    """Let no line of a table break inside of an interval such as [.82, .99]."""
    for entry in document.findall(nodes.entry):
        for text in list(entry.findall(nodes.Text)):
            kept = _INTERVAL.sub(lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
            if kept != text and text.parent is not None:
                text.parent.replace(text, nodes.Text(kept))


def setup(app: Sphinx) -> None:
    """Add both to the site."""
    app.add_lexer("text", OutputLexer)
    app.add_lexer("console", SessionLexer)
    app.connect("doctree-read", keep_intervals_together)
