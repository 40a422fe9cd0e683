"""What figures are drawn from: rows of runs with their estimate, marked lines, axes of steps."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from gtr.study.scores import BINS, with_positions
from gtr.study.statistics import Estimate
from gtr.study.style import PAPER, Look

WIDTH = 10.5
"""Of every figure, in inches."""


def label_rows(axes: Axes, names: Sequence[str], look: Look) -> None:
    """Rows from the top down, named in the methods' colours.

    Args:
        axes: where.
        names: of methods; the first is row 0.
        look: of the methods.
    """
    axes.set_yticks(range(len(names)), names)
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(look.colour(name))
        label.set_fontweight("bold")
    axes.set_ylim(len(names) - 0.5, -0.75)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)


def dots(axes: Axes, row: float, runs: np.ndarray, colour: str) -> None:
    """Every run faintly, along a row; a fixed ripple keeps runs of equal score apart."""
    ripple = 0.16 * np.sin(2.4 * np.arange(len(runs)))
    axes.plot(runs, row + ripple, "o", ms=4, mew=0, alpha=0.35, color=colour, zorder=2)


def whisker(
    axes: Axes, row: float, estimate: Estimate, look: Look, name: str, size: float = 8.5
) -> None:
    """An estimate and, where it has one, its interval, along a row.

    Args:
        axes: where.
        row: its place, from the top down.
        estimate: drawn in data units.
        look: of the methods.
        name: of the method.
        size: of the marker, in points; a large one hides a short interval.
    """
    colour = look.colour(name)
    if estimate.low is not None and estimate.high is not None:
        axes.plot([estimate.low, estimate.high], [row, row], color=colour, lw=2.6, zorder=4)
    axes.plot(
        estimate.value, row, look.marker(name), ms=size, color=colour, mec=PAPER, mew=1, zorder=5
    )


def mark(axes: Axes, at: float, label: str, colour: str) -> None:
    """A dashed vertical line and what it stands for."""
    axes.axvline(at, color=colour, lw=1, ls=(0, (4, 2)), zorder=1)
    axes.annotate(
        label,
        (at, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(3, -2),
        textcoords="offset points",
        va="top",
        color=colour,
        fontsize=8.5,
    )


def as_steps(value: float, _: int = 0) -> str:
    """A number of steps, such as `41k`; a formatter of an axis."""
    for size, suffix in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"


def folded(metrics: pd.DataFrame, column: str) -> pd.DataFrame:
    """A measurement since the change: the mean over phases at each twentieth of a phase.

    The first phase, which no change begins, counts only where there is no other.

    Args:
        metrics: one row an iteration and seed.
        column: the measurement.

    Returns:
        Shape (seeds, points), indexed by seed and by (phase, step), where phase is 0 and `step`
        the steps since the change at the end of the part. Empty where nothing was measured.
    """
    if not np.isfinite(metrics[column]).any():
        return pd.DataFrame()
    placed = with_positions(metrics)
    if placed["phase"].max() > 0:
        placed = placed[placed["phase"] > 0]
    width = placed["length"].max() / min(BINS, placed.groupby(["seed", "phase"]).size().max())
    step = np.ceil(placed["elapsed"] / width - 1e-9) * width
    table = placed.assign(at=step).groupby(["seed", "phase", "at"])[column].mean()
    table = table.groupby(["seed", "at"]).mean().unstack("at")
    table.columns = pd.MultiIndex.from_product([[0], table.columns], names=["phase", "step"])
    return finite(table)


def finite(table: pd.DataFrame) -> pd.DataFrame:
    """The table without what is not finite, and without the columns that then are empty."""
    return table.where(np.isfinite(table)).dropna(axis="columns", how="all")
