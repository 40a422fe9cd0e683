"""A change of a training or a comparison as a film: methods side by side, before and after."""

import math
from collections.abc import Iterator
from itertools import islice, repeat
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gtr.environments.protocol import World
from gtr.errors import GTRError
from gtr.files import write_whole
from gtr.study.report import CLIP
from gtr.suites import Suite
from gtr.watch.encode import as_gif, write_mp4
from gtr.watch.episodes import Moment, play, stage_of
from gtr.watch.policies import Change, choose, find
from gtr.watch.screens import screen_of
from gtr.watch.screens.screen import Picture, Screen
from gtr.watch.sheet import Column, Panel, Sheet

# Frames a second, at most; and how long the end of an episode is shown, in seconds.
_RATE, _PAUSE = 15.0, 0.7
_LONGEST = 60.0


class Film(NamedTuple):
    """What was written.

    Attributes:
        gif: path of the GIF.
        mp4: path of the MP4; None where no encoder is installed.
        frames: how many.
        change: that is shown.
    """

    gif: Path
    mp4: Path | None
    frames: int
    change: Change


def film(
    directory: Path | str,
    *,
    phase: int | None = None,
    seed: int | None = None,
    out: Path | str | None = None,
    seconds: float = 8.0,
    suite: Suite | None = None,
) -> Film:
    """Films the policies of each method around one change.

    Columns: the policy of the end of a phase in its own world; the same policy in the next world;
    the policy of the end of that phase, there. Nothing learns in the film. Actions are drawn as in
    training; episodes of a row's neighbours begin alike and follow one another.

    Args:
        directory: of `gtr train` or `gtr compare`, finished or not.
        phase: of the world that the change leads to, from 1; the last that all are through if None.
        seed: of the runs; the first if None.
        out: the GIF's path, the MP4's is beside it; DIR/watch.gif, which the report shows, if None.
        seconds: length of the film.
        suite: that was trained on, where it is one of your own.

    Raises:
        GTRError: there is no such change or seed, no policies were kept, an environment has no
            picture, or a file cannot be written.
    """
    directory = Path(directory)
    target = directory / CLIP if out is None else Path(out)
    if target.suffix != ".gif":
        raise GTRError(f"--out {target}: give a name that ends in .gif; an MP4 is put beside it")
    if not 0 < seconds <= _LONGEST:
        raise GTRError(f"--seconds is {seconds:g}; give a number above 0, at most {_LONGEST:g}")
    found, kept = find(directory, suite)
    change = choose(found, kept, phase, seed)
    before, after = change.phase - 1, change.phase
    problem = next(iter(kept.values())).problem
    screen, stage = screen_of(problem.environment), stage_of(problem)
    worlds = {number: stage.world(change.seed, number) for number in (before, after)}
    stride = math.ceil(screen.pace / _RATE)
    rate = screen.pace / stride
    frames = max(2, round(seconds * rate))
    rows = []
    for one in kept.values():
        shown = [(before, before), (before, after), (after, after)]
        rows.append(
            [
                _panels(
                    screen,
                    _held(
                        play(
                            stage,
                            one.policy(learnt, change.seed),
                            worlds[world],
                            np.random.default_rng([change.seed, world]),
                        ),
                        math.ceil(_PAUSE * rate) * stride,
                    ),
                    worlds[world],
                    range(0, frames * stride, stride),
                )
                for learnt, world in shown
            ]
        )
    stage.close()
    sheet = Sheet(
        f"{found.suite}, seed {change.seed}: the change from world {before} to world {after}",
        list(kept),
        [
            Column("before", f"end of phase {before}, in its world", screen.note(worlds[before])),
            Column("the change", f"same policy, in world {after}", screen.note(worlds[after])),
            Column("after", f"end of phase {after}, in its world", screen.note(worlds[after])),
        ],
        _largest([panels[0].picture for row in rows for panels in row]),
    )
    images = [
        sheet.frame([[panels[i] for panels in row] for row in rows], (i + 1) / frames)
        for i in range(frames)
    ]
    write_whole(target, as_gif(images, 10 * round(100 / rate)))
    mp4 = target.with_suffix(".mp4")
    if not write_mp4(mp4, images, rate):
        # That of an earlier film would be taken for this one's.
        mp4.unlink(missing_ok=True)
        return Film(target, None, frames, change)
    return Film(target, mp4, frames, change)


def _held(moments: Iterator[Moment], times: int) -> Iterator[Moment]:
    """The moments, an episode's last so many times."""
    for moment in moments:
        yield from repeat(moment, times if moment.over else 1)


def _panels(screen: Screen, moments: Iterator[Moment], world: World, ticks: range) -> list[Panel]:
    """The pictures of some of the moments."""
    chosen = islice(moments, ticks.start, ticks.stop, ticks.step)
    return [Panel(screen.draw(moment.scene, world), moment) for moment in chosen]


def _largest(pictures: list[Picture]) -> tuple[int, int]:
    """Height and width that have room for each of some pictures."""
    return max(one.shape[0] for one in pictures), max(one.shape[1] for one in pictures)
