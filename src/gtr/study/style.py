"""How figures look, and how they are written: inks, a method's colours, PNG and SVG.

Figures are drawn in four plain inks on paper, which `as_svg` turns into CSS variables: one report
then serves light and dark screens.
"""

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from gtr.study.records import ORACLE, RANDOM

INK, FAINT, GRID, STRIPE = "#1f2430", "#6c7482", "#dfe3e9", "#f4f6f9"
PAPER = "#fefefe"

# Okabe and Ito's colours (jfly.uni-koeln.de/color), told apart by colour-blind readers, without the
# yellow and the black that vanish on a light or a dark page.
_PALETTE = ("#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c6bb1")
_RESERVED = {"gtr": "#d55e00", "ppo": "#1f78b4"}
_DASHES: tuple[Any, ...] = ("solid", (0, (5, 1.5)), (0, (1.5, 1.2)), (0, (6, 1.5, 1.5, 1.5)))
_MARKERS = "oDs^vP"

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.5,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": PAPER,
    "figure.facecolor": PAPER,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "savefig.facecolor": PAPER,
    "svg.fonttype": "path",
    "path.simplify_threshold": 0.3,
}


class Look:
    """Colour, dash and marker of each method, the same in every figure of a report."""

    def __init__(self, methods: Sequence[str]) -> None:
        """Give out colours.

        Args:
            methods: the learning methods of a comparison, in order.
        """
        self._styles: dict[str, tuple[str, Any, str]] = {
            ORACLE: (INK, (0, (4, 2)), "X"),
            RANDOM: (FAINT, (0, (1, 1.5)), "x"),
        }
        others = 0
        for method in methods:
            if method in _RESERVED:
                self._styles[method] = (_RESERVED[method], "solid", "o")
                continue
            turn, place = divmod(others, len(_PALETTE))
            marker = _MARKERS[(turn + 1) % len(_MARKERS)]
            self._styles[method] = (_PALETTE[place], _DASHES[turn % len(_DASHES)], marker)
            others += 1

    def colour(self, method: str) -> str:
        """The method's colour, as a hexadecimal string."""
        return self._styles[method][0]

    def line(self, method: str) -> dict[str, Any]:
        """Arguments of a line that stands for the method."""
        colour, dash, _ = self._styles[method]
        return {"color": colour, "linestyle": dash, "label": method}

    def marker(self, method: str) -> str:
        """The method's marker."""
        return self._styles[method][2]


def as_png(figure: Figure) -> bytes:
    """The figure as a PNG image on a white page."""
    with mpl.rc_context(STYLE):
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    # The layout holds for any format, and finding it is a third of the drawing.
    figure.set_layout_engine("none")
    return buffer.getvalue()


def as_svg(figure: Figure, name: str) -> str:
    """The figure as an SVG element to be put into a page.

    Args:
        figure: drawn in `STYLE`.
        name: unique in the page; identifiers inside the element are made from it.

    Returns:
        The element, without prolog, metadata or any address. Its inks are the page's CSS variables
        --ink, --faint, --grid, --stripe and --paper.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": name, "svg.id": None}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    for ink, variable in (
        (INK, "--ink"),
        (FAINT, "--faint"),
        (GRID, "--grid"),
        (STRIPE, "--stripe"),
        (PAPER, "--paper"),
    ):
        svg = svg.replace(ink, f"var({variable})")
    return svg
