"""What the study's figures share: looks, legends, and scores as numbers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gtr.study.records import ORACLE
from gtr.study.statistics import Estimate
from gtr.study.style import INK, PAPER, Look
from gtr.study.transitions.plan import ANCHORS, MAIN, RIVALS, SHAPES

LOOK = Look((*MAIN, *SHAPES, *ANCHORS, *RIVALS))
"""A method keeps its colour in all figures."""

SCORE = "normalised score"
DASHES = (0, (4, 2))


def scored(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose score rests on a run."""
    return table[np.array([score.runs > 0 for score in table["score"]], dtype=bool)]


def as_arrays(found: Sequence[Estimate] | pd.Series) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, lower ends and upper ends of estimates; NaN where there is none."""
    rows = [(one.value, one.low, one.high) for one in found]
    middle, low, high = np.array(rows, dtype=float).T
    return middle, low, high


def handle(name: str) -> Line2D:
    """An arm in a legend."""
    marker = "D" if name == ORACLE else LOOK.marker(name)
    return Line2D([], [], lw=2, marker=marker, ms=7, mec=PAPER, **LOOK.line(name))


def sample(colour: str, marker: str, label: str, hollow: bool) -> Line2D:
    """A marker alone in a legend."""
    face = PAPER if hollow else colour
    return Line2D([], [], ls="", marker=marker, ms=7, mfc=face, mec=colour, mew=1.6, label=label)


def oracle_handle() -> Line2D:
    """The oracle's level in a legend."""
    return Line2D([], [], color=INK, lw=1, ls=DASHES, label="oracle")


def legend(figure: Figure, handles: Sequence[Any], columns: int = 7) -> None:
    """A legend above all panels."""
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, handlelength=2.2)
