"""Fill the template with sections."""

from __future__ import annotations

from importlib import resources
from typing import Any

from sparsefit.reporting.svg import colour_rules


def render(**content: Any) -> str:
    """Render the page.

    Parameters
    ----------
    **content
        Names of ``page.html.j2``: title, subtitle, sections, methods, downloads, footer.
    """
    import jinja2

    folder = resources.files("sparsefit.reporting")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8"))
    light, dark = colour_rules()
    css = (folder / "page.css").read_text(encoding="utf-8")
    css = css.replace("/* figure colours: light */", light)
    css = css.replace("/* figure colours: dark */", dark)
    return template.render(css=css, **content)
