"""How far the training is: a bar in a terminal, and elsewhere a plain line now and then."""

import math
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

if TYPE_CHECKING:
    from gtr.learner.run import Status

# Seconds between two lines where there is no terminal.
_LINE_SECONDS = 15.0
# The pace is measured over this many seconds.
_PACE_SECONDS = 30.0


class Display:
    """Shows the progress of one or several arms (methods, say) as one amount of work.

    Called with an arm's name and its `Status`. Use as a context manager.
    """

    def __init__(
        self,
        total: int,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the display.

        Args:
            total: environment steps of all runs of all arms.
            console: where to write; standard error where None.
            clock: seconds.
        """
        self._total, self._clock = total, clock
        self._console = console or Console(stderr=True)
        self._bar = None
        if self._console.is_terminal:
            self._bar = Progress(
                BarColumn(bar_width=30),
                TextColumn("{task.description}"),
                console=self._console,
                refresh_per_second=4,
                transient=True,
            )
            self._task = self._bar.add_task("compiling", total=total)
        self._first: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._returns: dict[str, float] = {}
        self._active: dict[str, None] = {}
        self._pace: deque[tuple[float, int]] = deque()
        self._spoken = self._heard = self._began = clock()
        self._working = 0.0

    def __enter__(self) -> "Display":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, arm: str, status: "Status") -> None:
        """Takes note of how far an arm is."""
        done = status.done * status.runs
        now = self._clock()
        # What an earlier call of the command had done says nothing of the pace, nor does the wait
        # for an arm's first word, which is compilation.
        if arm in self._first:
            self._working += now - self._heard
        self._heard = now
        if not self._done:
            self._began = now
        self._first.setdefault(arm, done)
        self._done[arm] = done
        if status.done < status.total:
            self._active[arm] = None
        else:
            self._active.pop(arm, None)
        if math.isfinite(status.recent_return):
            self._returns[arm] = status.recent_return
        self._pace.append((self._working, sum(self._done.values()) - sum(self._first.values())))
        while len(self._pace) > 2 and self._pace[1][0] < self._working - _PACE_SECONDS:
            self._pace.popleft()
        if self._bar is not None:
            self._bar.update(self._task, completed=sum(self._done.values()), description=self.line)
        elif now - self._spoken >= _LINE_SECONDS:
            self._spoken = now
            self._console.print(self.line, soft_wrap=True, highlight=False)

    @property
    def line(self) -> str:
        """Share done, pace over all runs, time left, and each active arm with its return.

        Only to be asked for once an arm has reported.
        """
        done = sum(self._done.values())
        (began, before), (now, worked) = self._pace[0], self._pace[-1]
        speed = ["starting"]
        if worked > before:
            pace = (worked - before) / (now - began)
            # Arms to come will be waited for as those so far were, after the first.
            waiting = max(1.0, (self._heard - self._began) / self._working)
            left = _clock_time(waiting * (self._total - done) / pace)
            speed = [f"{pace:,.0f} steps/s", f"{left} left"]
        arms = [
            f"{arm} return {self._returns[arm]:.4g}" if arm in self._returns else arm
            for arm in self._active
        ]
        share = 100 * done / self._total if self._total else 100.0
        return "  ".join([f"{share:3.0f}%", *speed, *arms])


def _clock_time(seconds: float) -> str:
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
