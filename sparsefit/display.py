"""How small results show themselves in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any


def number_text(value: Any) -> str:
    """Value for a reader: numbers to four digits, a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return "-" if value != value else f"{value:.4g}"
    return str(value)


def facts_html(title: str, facts: Mapping[str, Any], sentences: Iterable[str] = ()) -> str:
    """Title, a two-column table and a list of sentences as HTML."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(name)}</th>'
        f"<td>{escape(number_text(value))}</td></tr>"
        for name, value in facts.items()
    )
    said = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f"<h4>{escape(title)}</h4><table>{rows}</table>" + (f"<ul>{said}</ul>" if said else "")
