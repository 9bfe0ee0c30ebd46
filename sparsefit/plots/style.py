"""The look of every figure: one table of rcParams and the colours.

Plots apply `RC` inside `matplotlib.rc_context`, so nothing global changes. To restyle a figure pass
``style=`` to the plot: a mapping of rcParams, or the name of a matplotlib style, put on top of
`RC`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sparsefit.errors import ArgumentError

Style = Mapping[str, Any] | str | None

# Okabe & Ito's palette: told apart with the common colour-vision deficiencies.
BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
ORANGE = "#E69F00"
BLACK = "#000000"
GREY = "#7F7F7F"

CYCLE = (BLUE, VERMILLION, GREEN, PURPLE, SKY, ORANGE, BLACK, GREY)
# Grey print loses the colours: series differ in marker and dash as well.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1)))

RC: dict[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.labelsize": 9.0,
    "legend.fontsize": 8.0,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "axes.spines.top": False,
    "axes.grid": False,
    "hatch.linewidth": 0.6,
    "figure.figsize": (6.4, 4.0),
    "figure.dpi": 110.0,
    "savefig.dpi": 160.0,
}


@contextmanager
def applied(style: Style = None) -> Iterator[None]:
    """Apply `RC`, then `style`, for the length of a ``with`` block.

    Raises
    ------
    ArgumentError
        For a style that matplotlib does not know or cannot use.
    """
    import matplotlib

    interactive = matplotlib.is_interactive()
    try:
        with matplotlib.rc_context(RC):
            _use(style)
            try:
                yield
            finally:
                interactive = matplotlib.is_interactive()
    finally:
        # The first figure loads the backend, and that of notebooks turns interactive mode on: were
        # it taken back with the rest, no later figure would be shown.
        matplotlib.interactive(interactive)


def _use(style: Style) -> None:
    import matplotlib

    try:
        if isinstance(style, str):
            # Only a named style needs matplotlib's style library.
            from matplotlib import style as library

            library.use(style)
        elif style is not None:
            matplotlib.rcParams.update(style)
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise ArgumentError(
            f"style must be a mapping of rcParams or the name of a matplotlib style: {error}"
        ) from None


def ink() -> str:
    """Colour of texts and of what is not coloured: black, unless the style has another."""
    import matplotlib
    from matplotlib.colors import to_hex

    return to_hex(matplotlib.rcParams["text.color"])


def paper() -> str:
    """Colour of the ground: white, unless the style has another."""
    import matplotlib
    from matplotlib.colors import to_hex, to_rgba

    ground = matplotlib.rcParams["axes.facecolor"]
    return to_hex(ground) if to_rgba(ground)[3] else "#ffffff"


def tone(share: float) -> str:
    """Mixture of ink and paper: ink at 0, paper at 1."""
    from matplotlib.colors import to_hex, to_rgb

    mixed = [
        (1.0 - share) * dark + share * light
        for dark, light in zip(to_rgb(ink()), to_rgb(paper()), strict=True)
    ]
    return to_hex(mixed)


def series_look(index: int) -> tuple[str, str, Any]:
    """Colour, marker and dash of the `index`-th series; no two of 64 share colour and marker."""
    colour = CYCLE[index % len(CYCLE)]
    return (
        ink() if colour == BLACK else colour,
        MARKERS[(index + index // len(CYCLE)) % len(MARKERS)],
        DASHES[index % len(DASHES)],
    )
