"""A frame of the film: rows of methods, columns of moments, captions under each picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from gtr.study.style import FAINT, GRID, INK, PAPER, Look
from gtr.study.wording import number
from gtr.watch.episodes import Moment
from gtr.watch.screens.screen import Picture

_MARGIN, _GAP = 16, 14
_TITLE, _HEADING, _NOTE, _NAME, _CAPTION, _BAR = 28, 44, 16, 22, 20, 4


class Column(NamedTuple):
    """What stands over a column: in bold what it is, below it where; and the world's note."""

    heading: str
    where: str
    note: str


class Panel(NamedTuple):
    """One picture of a frame, and the moment that it shows."""

    picture: Picture
    moment: Moment


class Sheet:
    """What all frames of a film share.

    Args:
        title: above all.
        methods: a row each, from the top.
        columns: from the left.
        pictures: (height, width) of the largest picture.
    """

    def __init__(
        self,
        title: str,
        methods: Sequence[str],
        columns: Sequence[Column],
        pictures: tuple[int, int],
    ) -> None:
        self._height, self._width = pictures
        self._rows = len(methods)
        notes = _NOTE if any(column.note for column in columns) else 0
        self._top = _MARGIN + _TITLE + _HEADING + notes
        self._row = _NAME + self._height + _CAPTION + _GAP
        width = 2 * _MARGIN + len(columns) * (self._width + _GAP) - _GAP
        height = self._top + len(methods) * self._row + _BAR
        # Encoders of video want even numbers.
        self._blank = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)
        self._plain, self._small = _font("DejaVuSans", 12), _font("DejaVuSans", 11)
        self._bold = _font("DejaVuSans-Bold", 13)
        draw = ImageDraw.Draw(self._blank)
        draw.text((_MARGIN, _MARGIN), title, INK, _font("DejaVuSans-Bold", 14))
        for place, column in enumerate(columns):
            x, y = self._left(place), _MARGIN + _TITLE
            draw.text((x, y), column.heading, INK, self._bold)
            draw.text((x, y + 18), self._fitted(column.where), FAINT, self._plain)
            draw.text((x, y + 34), self._fitted(column.note), FAINT, self._small)
        look = Look(methods)
        for place, name in enumerate(methods):
            y = self._top + place * self._row
            draw.text((_MARGIN, y), name, look.colour(name), self._bold)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of a frame, in pixels; even numbers."""
        return self._blank.size

    def frame(self, rows: Sequence[Sequence[Panel]], shown: float) -> Image.Image:
        """One frame.

        Args:
            rows: of panels, as many as methods and columns.
            shown: share of the film that is over after this frame; a bar below tells it.
        """
        frame = self._blank.copy()
        draw = ImageDraw.Draw(frame)
        for i, panels in enumerate(rows):
            for j, panel in enumerate(panels):
                x, y = self._left(j), self._top + i * self._row + _NAME
                picture = Image.fromarray(panel.picture)
                inset = (self._width - picture.width) // 2, (self._height - picture.height) // 2
                frame.paste(picture, (x + inset[0], y + inset[1]))
                over = panel.moment.over
                edge = (x - 1, y - 1, x + self._width, y + self._height)
                draw.rectangle(edge, outline=INK if over else GRID)
                ink, font = (INK, self._small) if over else (FAINT, self._small)
                draw.text((x, y + self._height + 4), caption(panel.moment), ink, font)
        width, height = frame.size
        draw.rectangle((0, height - _BAR, round(shown * width) - 1, height), GRID)
        return frame

    def _left(self, column: int) -> int:
        return _MARGIN + column * (self._width + _GAP)

    def _fitted(self, text: str) -> str:
        """As much of a text as fits over a column."""
        if self._small.getlength(text) <= self._width:
            return text
        while self._small.getlength(text + " ...") > self._width:
            text = text[:-1]
        return text.rstrip(" ,") + " ..."


def caption(moment: Moment) -> str:
    """What stands under a picture."""
    end = " (end)" if moment.over else ""
    return f"episode {moment.episode} · step {moment.step}{end} · return {_return(moment.total)}"


def _return(total: float) -> str:
    return number(total, 0 if total == round(total) else 1)


def _font(name: str, size: int) -> Any:
    """A font that comes with matplotlib, which all figures are written in."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / f"fonts/ttf/{name}.ttf", size)
