"""Fill the template with sections."""

from __future__ import annotations

from importlib import resources
from typing import Any

from sparsefit.errors import MissingDependencyError
from sparsefit.reporting.svg import colour_rules


def require_jinja2() -> Any:
    """Return the module jinja2.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise MissingDependencyError.for_extra("jinja2", "report", "an HTML report") from None
    return jinja2


def render(**content: Any) -> str:
    """Render the page.

    Parameters
    ----------
    **content
        Names of ``page.html.j2``: title, subtitle, sections, methods, downloads, footer.

    Raises
    ------
    MissingDependencyError
        Without jinja2.
    """
    jinja2 = require_jinja2()
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
