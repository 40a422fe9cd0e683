"""A service follows metrics.csv: in a thread of its own, at its own pace.

The file is what counts. Whatever a service has not been given yet, because the run was cut, the
network was down, or nobody asked for the service before, is in the file and is sent when the run
goes on.
"""

import queue
import threading
import time
from typing import NamedTuple, Protocol

import pandas as pd

from gtr.loggers.names import scalars
from gtr.loggers.thinning import Schedule, thinned

# The thread may take this share of a core; the service's own process takes about as much again.
_SHARE = 0.005
# Points that are sent in one go, after which the share is seen to.
_AT_ONCE = 8
# Seconds that the end of a training waits for what is left to be sent.
_PATIENCE = 60.0


class Point(NamedTuple):
    """Measures at a step of the environment, by tag."""

    step: int
    values: dict[str, float]


class Service(Protocol):
    """Where each seed's points go, into a run of its own."""

    def send(self, seed: int, points: list[Point]) -> None:
        """Sends points in the order of their steps; those that it has already are left out."""
        ...

    def close(self, *, finished: bool) -> None:
        """Ends the runs there; `finished` if the training is over, not cut."""
        ...


class Follower:
    """A `Logger` that hands rows to a service's thread and never waits for it before the end."""

    def __init__(self, service: Service, schedule: Schedule, so_far: pd.DataFrame) -> None:
        """Starts the thread.

        Args:
            service: where points go.
            schedule: the run's.
            so_far: the rows of metrics.csv that the run goes on from.
        """
        self._service, self._schedule = service, schedule
        self._rows: queue.Queue[pd.DataFrame | None] = queue.Queue()
        self._rows.put(so_far)
        self._ending = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def append(self, rows: pd.DataFrame) -> None:
        """See `Logger.append`.

        Raises:
            Exception: what the thread met.
        """
        self._raise()
        self._rows.put(rows)

    def close(self) -> None:
        """See `Logger.close`; from here on nothing is spared.

        Raises:
            TimeoutError: the service is too slow.
            Exception: what the thread met.
        """
        self._rows.put(None)
        self._ending.set()
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            raise TimeoutError(
                f"not everything was taken within {_PATIENCE:.0f} s; "
                "the same command sends what is left"
            )
        self._raise()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _follow(self) -> None:
        try:
            rest, done = pd.DataFrame(), 0
            while (rows := self._rows.get()) is not None:
                if len(rows):
                    done = int(rows["iteration"].iloc[-1]) + 1
                    together = pd.concat([rest, rows]) if len(rest) else rows
                    points, rest = thinned(together, self._schedule)
                    self._send(points)
            self._service.close(finished=done == self._schedule.total)
        except Exception as error:
            self._failure = error

    def _send(self, points: pd.DataFrame) -> None:
        for start in range(0, len(points), _AT_ONCE):
            began = time.thread_time()
            some = points.iloc[start : start + _AT_ONCE]
            for seed in some["seed"].unique():
                own = some[some["seed"] == seed].to_dict("records")
                self._service.send(int(seed), [Point(int(r["step"]), scalars(r)) for r in own])
            self._ending.wait((time.thread_time() - began) / _SHARE)
