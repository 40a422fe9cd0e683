"""A run's directory: what is in it, and whether it is the run that is asked for."""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from gtr import loggers
from gtr.learner import checkpoint, policies, records
from gtr.learner.state import RunState
from gtr.loggers.logger import Logger
from gtr.plan import claim

# A checkpoint may take this share of the time.
_CHECKPOINT_SHARE = 0.03


class Store:
    """Configuration, metrics, checkpoints and loggers of one run.

    Args:
        directory: the run's own.
        description: what config.json holds.
        log: names of loggers (`gtr.loggers.chosen`).
        seeds: of the run.
        batch: environment steps of a seed in an iteration.

    Raises:
        GTRError: the directory holds another run, or cannot be read or written.
    """

    def __init__(
        self,
        directory: Path,
        description: dict[str, Any],
        *,
        log: Sequence[str],
        seeds: list[int],
        batch: int,
    ) -> None:
        self.directory = directory
        self._description, self._log = description, log
        self._seeds, self._batch = seeds, batch
        self._loggers: list[Logger] = []
        # Versions are told, not compared: an upgrade must not orphan a run that it can continue.
        same = {k: v for k, v in description.items() if k != "versions"}
        self._fingerprint = hashlib.sha256(json.dumps(same, sort_keys=True).encode()).hexdigest()[
            :16
        ]
        claim(directory / "config.json", description)

    def open(self, like: RunState) -> tuple[Any, int]:
        """The state to go on from and its iteration; (None, 0) for a new run."""
        found, refusals = checkpoint.read_newest(
            self.directory / "checkpoints", like, fingerprint=self._fingerprint
        )
        for line in refusals:
            print(line, flush=True)
        start = 0 if found is None else found.iteration
        self._metrics = records.MetricsFile(
            self.directory / "metrics.csv", keep=0 if found is None else found.metrics_bytes
        )
        self._loggers = loggers.open_all(
            self._log,
            self.directory,
            self._description,
            seeds=self._seeds,
            batch=self._batch,
            so_far=self._rows_so_far,
            start=start,
        )
        self._saved, self._cost = time.monotonic(), 0.0
        return (None if found is None else found.state), start

    def append(self, rows: pd.DataFrame) -> None:
        """Adds rows to the records."""
        self._metrics.append(rows)
        for logger in self._loggers:
            logger.append(rows)

    def save(self, state: RunState, iteration: int, *, now: bool) -> None:
        """Writes a checkpoint, unless it is too early for the next."""
        began = time.monotonic()
        if not now and self._cost > _CHECKPOINT_SHARE * (began - self._saved):
            return
        checkpoint.write(
            self.directory / "checkpoints",
            state,
            iteration=iteration,
            metrics_bytes=self._metrics.bytes,
            fingerprint=self._fingerprint,
        )
        self._saved = time.monotonic()
        self._cost = self._saved - began

    def keep(self, state: RunState, phase: int) -> None:
        """Keeps the policies of a phase's end; before a checkpoint that a cut would go on from."""
        policies.write(self.directory, state, phase=phase, seeds=self._seeds)

    def close(self) -> None:
        """Closes the records."""
        self._metrics.close()
        for logger in self._loggers:
            logger.close()

    def read_metrics(self) -> pd.DataFrame:
        """All rows so far."""
        return pd.read_csv(self.directory / "metrics.csv")

    def _rows_so_far(self) -> pd.DataFrame:
        return self.read_metrics() if self._metrics.bytes else pd.DataFrame()
