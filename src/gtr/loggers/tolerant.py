"""Training does not end because a logger does."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pandas as pd

from gtr.loggers.logger import Logger


class Tolerant:
    """A logger whose first failure is one line on standard error, and its end."""

    def __init__(self, name: str, opened: Callable[[], Logger]) -> None:
        """Opens the logger.

        Args:
            name: of it, for the line.
            opened: opens it; may fail too.
        """
        self._name = name
        self._logger: Logger | None = None
        with self._told():
            self._logger = opened()

    def append(self, rows: pd.DataFrame) -> None:
        """See `Logger.append`."""
        if self._logger is not None:
            with self._told():
                self._logger.append(rows)

    def close(self) -> None:
        """See `Logger.close`."""
        if self._logger is not None:
            with self._told():
                self._logger.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        # a service may raise whatever it likes, and none of it is worth a training
        except Exception as error:
            self._logger = None
            told = " ".join(str(error).split()) or type(error).__name__
            print(
                f"gtr: {self._name} failed, and training goes on without it: {told[:300]}",
                file=sys.stderr,
                flush=True,
            )
