"""As many points as a chart has room for, in place of a row for every iteration."""

from typing import NamedTuple

import pandas as pd

POINTS = 500
"""Of a whole run, about; charts on a screen show no more, and services ask for no more."""


class Schedule(NamedTuple):
    """Iterations of a run: all of them, and those of a phase."""

    total: int
    phase: int

    @property
    def window(self) -> int:
        """Iterations that become one point; the windows of a phase end with it."""
        return -(-self.total // POINTS)


def thinned(rows: pd.DataFrame, schedule: Schedule) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Points for windows that are complete, and the rows of those that are not.

    The windows follow from the iterations' numbers alone, so a run that was cut has the same.

    Args:
        rows: of metrics.csv, in order, from the beginning of a window on.
        schedule: of the run.

    Returns:
        Of each seed and window the means of what was measured, at the step of its end; and the
        rows that are left.
    """
    window = schedule.window
    following = rows["iteration"] + 1
    ends = following % window == 0
    ends |= (following % schedule.phase == 0) | (following == schedule.total)
    complete = rows["iteration"] <= rows["iteration"].where(ends).max()
    whole, rest = rows[complete], rows[~complete]
    if window == 1:
        return whole, rest
    place = [whole["seed"], whole["phase"], whole["iteration"] // window]
    groups = whole.groupby(place, sort=False)
    points = groups.mean()
    points[["seed", "phase", "iteration", "step"]] = groups[
        ["seed", "phase", "iteration", "step"]
    ].max()
    return points.reset_index(drop=True), rest
