"""Matplotlib figures as inline SVG: named for screen readers, coloured by the style sheet."""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG = "http://www.w3.org/2000/svg"
_XLINK = "{http://www.w3.org/1999/xlink}href"

# What inks and grounds become in the dark: colour of the plots -> (name, light, dark, light text,
# dark text). Text is darker in the light and lighter in the dark than a line of the same colour,
# for a contrast of 4.5 to 1; lines and areas need 3 to 1.
COLOURS: dict[str, tuple[str, str, str, str, str]] = {
    "#000000": ("ink", "#000000", "#f2f2f2", "#000000", "#f2f2f2"),
    "#ffffff": ("paper", "#ffffff", "#15181c", "#ffffff", "#15181c"),
    "#0072b2": ("blue", "#0072b2", "#4aa8e8", "#00639c", "#6bb8ee"),
    "#d55e00": ("vermillion", "#d55e00", "#ee7f2b", "#b04e00", "#f5975a"),
    "#009e73": ("green", "#009e73", "#2dbe94", "#00714f", "#46cfa6"),
    "#cc79a7": ("purple", "#cc79a7", "#d68db5", "#9a4274", "#e2a4c6"),
    "#56b4e9": ("sky", "#56b4e9", "#56b4e9", "#1a6c9c", "#7cc6f0"),
    "#e69f00": ("orange", "#e69f00", "#e69f00", "#875d00", "#f0b533"),
    "#7f7f7f": ("grey", "#7f7f7f", "#9a9a9a", "#5e5e5e", "#b0b0b0"),
    "#404040": ("dim", "#404040", "#c0c0c0", "#404040", "#c8c8c8"),
    "#ededed": ("zone", "#ededed", "#23282e", "#5e5e5e", "#b0b0b0"),
}

# Of layers with thousands of points, which are images: sharp at twice the width of a column.
_IMAGE_DPI = 220

_SHAPES = {f"{{{SVG}}}{tag}" for tag in ("path", "use", "rect", "circle", "ellipse", "polygon")}
_USE = f"{{{SVG}}}use"
_DECIMALS = re.compile(r"-?\d+\.\d{3,}")
_GREY = re.compile(r"#([0-9a-f]{2})\1\1")
_URL = re.compile(r"url\(#([^)]+)\)")


def colour_rules() -> tuple[str, str]:
    """CSS custom properties of the figures' colours, for a light and for a dark page."""
    light, dark = [], []
    for name, light_line, dark_line, light_text, dark_text in COLOURS.values():
        light.append(f"--c-{name}:{light_line};--t-{name}:{light_text};")
        dark.append(f"--c-{name}:{dark_line};--t-{name}:{dark_text};")
    return "".join(light), "".join(dark)


def inline_svg(figure: Figure, key: str, title: str, description: str) -> str:
    """Render a figure as an SVG element to be put into a page.

    Parameters
    ----------
    figure : Figure
        What to render.
    key : str
        Prefix of all ids in it; unique in the page.
    title, description : str
        Read out instead of the figure.

    Returns
    -------
    str
        Text stays text (it can be searched and scales), ids carry the prefix, and the colours of
        the default palette are CSS variables with themselves as fallback.
    """
    import matplotlib

    buffer = io.StringIO()
    # The salt makes the ids, and with them the page, the same at every run.
    with (
        matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": key}),
        warnings.catch_warnings(),
    ):
        # Text stays text, and the reader's browser has the glyphs that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message=r"Glyph \d+ ", category=UserWarning)
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None}, dpi=_IMAGE_DPI
        )
    ElementTree.register_namespace("", SVG)
    root = ElementTree.fromstring(buffer.getvalue())
    for element in list(root):
        if element.tag == f"{{{SVG}}}metadata":
            root.remove(element)
    for parent in list(root.iter()):
        for child in list(parent):
            # Its rule is for all elements, here those of the page; page.css has it for figures.
            if child.tag == f"{{{SVG}}}style":
                parent.remove(child)
    # What stands in <defs> takes its fill from where it is used.
    defined = {id(e) for defs in root.iter(f"{{{SVG}}}defs") for e in defs.iter()}
    for element in root.iter():
        _own_ids(element, key)
        _theme(element, filled=id(element) not in defined)
        for name, value in element.attrib.items():
            if name in ("d", "transform", "x", "y", "points"):
                element.set(name, _DECIMALS.sub(_two_decimals, value))
    width = float(str(root.get("width", "0pt")).removesuffix("pt"))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{key}-title {key}-desc")
    root.set("style", f"--width:{width:.0f}pt")
    for index, (tag, words) in enumerate((("title", title), ("desc", description))):
        named = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{key}-{tag}"})
        named.text = words
        root.insert(index, named)
    return ElementTree.tostring(root, encoding="unicode")


def _own_ids(element: Any, key: str) -> None:
    if "id" in element.attrib:
        element.set("id", f"{key}-{element.get('id')}")
    if _XLINK in element.attrib:
        target = element.attrib.pop(_XLINK)
        # An image of thousands of points is no reference, but itself.
        inside = target.startswith("#")
        element.set("href", f"#{key}-{target.removeprefix('#')}" if inside else target)
    for name, value in element.attrib.items():
        if "url(#" in value:
            element.set(name, _URL.sub(lambda found: f"url(#{key}-{found.group(1)})", value))


def _theme(element: Any, filled: bool) -> None:
    """Turn known colours into variables; what has no fill is black, hence ink."""
    text = element.tag == f"{{{SVG}}}text"
    style = dict(
        part.strip().split(":", 1) for part in element.get("style", "").split(";") if ":" in part
    )
    style = {name.strip(): value.strip() for name, value in style.items()}
    for name in ("fill", "stroke"):
        if name in element.attrib:
            style.setdefault(name, element.attrib.pop(name))
        value = style.get(name, "").lower()
        known = _nearest(value, text)
        if known:
            style[name] = f"var(--{'t' if text else 'c'}-{COLOURS[known][0]},{value})"
    if text:
        style.setdefault("fill", "var(--t-ink,#000000)")
        # Plots keep words apart by blanks at the ends of texts.
        style["white-space"] = "pre"
        if "font" in style:
            # The page's own font is always there; matplotlib's list of families is not.
            style["font"] = re.sub(r"(\d[\d.]*px).*", r"\1 system-ui, sans-serif", style["font"])
    elif filled and (style or element.tag == _USE) and element.tag in _SHAPES:
        # A marker without an edge has no style at all.
        style.setdefault("fill", "var(--c-ink,#000000)")
    if style:
        element.set("style", ";".join(f"{name}:{value}" for name, value in style.items()))


def _nearest(value: str, text: bool) -> str | None:
    """Colour of the table that stands for `value`: itself, or for any grey one of a like tone."""
    if value in COLOURS:
        return value
    if not _GREY.fullmatch(value):
        return None
    tone = int(value[1:3], 16)
    if text or tone < 0x60:
        return "#404040"
    return "#7f7f7f" if tone < 0xC0 else "#ededed"


def _two_decimals(found: re.Match[str]) -> str:
    return f"{float(found.group()):.2f}".rstrip("0").rstrip(".")
