"""A small canvas with smooth edges; pictures are drawn in the inks of all figures."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from gtr.study.style import FAINT, GRID, INK, PAPER, STRIPE
from gtr.watch.screens.screen import Picture

__all__ = ["BLUE", "FAINT", "GREEN", "GRID", "INK", "ORANGE", "PAPER", "STRIPE", "WIDTH", "Canvas"]

BLUE, ORANGE, GREEN = "#1f78b4", "#d55e00", "#009e73"
WIDTH = 240
"""Of a picture, in pixels."""

# Pillow draws hard edges; a picture is drawn so many times larger and reduced.
_FINER = 3

Point = tuple[float, float]


class Canvas:
    """Shapes in the pixels of the picture, from the top left; later ones cover earlier ones.

    Args:
        width: in pixels.
        height: in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self._size = (width, height)
        self._image = Image.new("RGB", (width * _FINER, height * _FINER), PAPER)
        self._draw = ImageDraw.Draw(self._image)

    def box(self, low: Point, high: Point, fill: str) -> None:
        """A rectangle from one corner to the opposite one, which it does not reach."""
        (left, top), (right, bottom) = _finer([low, high])
        self._draw.rectangle((left, top, right - 1, bottom - 1), fill)

    def polygon(self, points: Sequence[Point], fill: str) -> None:
        """A filled polygon."""
        self._draw.polygon(_finer(points), fill)

    def disc(self, centre: Point, radius: float, fill: str) -> None:
        """A filled circle."""
        self._draw.circle(_finer([centre])[0], radius * _FINER, fill)

    def line(self, points: Sequence[Point], fill: str, width: float) -> None:
        """A line with round ends."""
        self._draw.line(_finer(points), fill, round(width * _FINER), joint="curve")
        for end in (points[0], points[-1]):
            self.disc(end, width / 2, fill)

    def picture(self) -> Picture:
        """What was drawn."""
        return np.asarray(self._image.resize(self._size, Image.Resampling.BOX))


def _finer(points: Sequence[Point]) -> list[Point]:
    return [(x * _FINER, y * _FINER) for x, y in points]
