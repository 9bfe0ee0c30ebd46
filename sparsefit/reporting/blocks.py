"""The parts that a page is built from: tables, figures, runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """A table of texts; the first cell of each row names the row.

    Attributes
    ----------
    key : str
        Id in the page.
    caption : str
        What it holds, with units.
    header : tuple of str
        Column names.
    rows : sequence of tuple of str
        Cells.
    """

    key: str
    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Figure:
    """A drawn figure.

    Attributes
    ----------
    key : str
        Id in the page.
    svg : str
        The SVG element.
    caption : str
        Text below it.
    label : str
        Short name, for the region that scrolls on narrow screens.
    """

    key: str
    svg: str
    caption: str
    label: str


@dataclass(frozen=True)
class Part:
    """A titled part of a section: sentences, then figures, then tables."""

    title: str
    sentences: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes
    ----------
    key : str
        Id in the page.
    title : str
        Heading.
    lead : tuple of str
        First sentences.
    warnings : tuple of str
        What a reader has to know before using the numbers.
    figures, tables : tuple
        What stands before the parts.
    parts : tuple of Part
        Titled parts.
    """

    key: str
    title: str
    lead: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    parts: tuple[Part, ...] = field(default=())

    @property
    def is_run(self) -> bool:
        """Whether the section is about one run."""
        return self.key.startswith("run-")
