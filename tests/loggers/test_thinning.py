"""A chart's points are means over windows, however a run's rows came."""

import math

import numpy as np
import pandas as pd
import pytest

from gtr.loggers.thinning import POINTS, Schedule, thinned

SEEDS = np.array([3, 8])


def table(schedule: Schedule) -> pd.DataFrame:
    """Rows of a whole run; `return` is measured in every third iteration alone."""
    iteration = np.repeat(np.arange(schedule.total), 2)
    seed = np.tile(SEEDS, schedule.total)
    return pd.DataFrame(
        {
            "iteration": iteration,
            "seed": seed,
            "step": (iteration + 1) * 32,
            "phase": iteration // schedule.phase,
            "return": np.where(iteration % 3, np.nan, np.sin(iteration) + seed),
            "kl": 1 / (1 + iteration) + seed,
        }
    )


@pytest.mark.parametrize("schedule", [Schedule(30, 10), Schedule(1999, 333), Schedule(2600, 650)])
def test_points_are_means_of_windows_that_end_with_their_phase(schedule: Schedule) -> None:
    rows = table(schedule)
    points, rest = thinned(rows, schedule)
    assert not len(rest)
    assert len(points) <= 2 * (POINTS + -(-schedule.total // schedule.phase))
    own = rows[rows["seed"] == 8]
    expected, begin = [], 0
    for end in range(1, schedule.total + 1):
        if end % schedule.window == 0 or end % schedule.phase == 0 or end == schedule.total:
            some = own.iloc[begin:end]
            known = some["return"].dropna()
            mean = known.mean() if len(known) else math.nan
            expected.append((end * 32, (end - 1) // schedule.phase, mean, some["kl"].mean()))
            begin = end
    found = points[points["seed"] == 8][["step", "phase", "return", "kl"]].to_numpy()
    np.testing.assert_allclose(found, expected)


def test_a_short_run_is_shown_as_it_is() -> None:
    rows = table(Schedule(30, 10))
    points, _ = thinned(rows, Schedule(30, 10))
    pd.testing.assert_frame_equal(points, rows)


@pytest.mark.parametrize("chunk", [1, 37])
def test_chunks_do_not_change_the_points(chunk: int) -> None:
    schedule = Schedule(1999, 333)
    rows = table(schedule)
    whole, _ = thinned(rows, schedule)
    parts, rest = [], rows.iloc[:0]
    for start in range(0, 2 * 200 if chunk == 1 else len(rows), 2 * chunk):
        points, rest = thinned(pd.concat([rest, rows.iloc[start : start + 2 * chunk]]), schedule)
        parts.append(points)
    together = pd.concat(parts, ignore_index=True)
    pd.testing.assert_frame_equal(together, whole.iloc[: len(together)])
    assert len(together) == (2 * 50 if chunk == 1 else len(whole))
