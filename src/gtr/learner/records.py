"""What a run tells while it trains: rows of metrics.csv."""

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gtr.errors import GTRError
from gtr.files import unwritable


class MetricsFile:
    """metrics.csv: one row an iteration and run, the same bytes however often a run was cut."""

    def __init__(self, path: Path, *, keep: int) -> None:
        """Opens the file, cut back to its first `keep` bytes: what the checkpoint knows of."""
        self.path = path
        try:
            size = path.stat().st_size if path.exists() else 0
            if size < keep:
                raise GTRError(
                    f"{path} is shorter than its checkpoint says: it was changed by hand; "
                    "delete the run's directory to start it anew"
                )
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
            self._file.truncate(keep)
        except OSError as error:
            raise unwritable(path, error) from error
        self.bytes = keep

    def append(self, rows: pd.DataFrame) -> None:
        """Adds rows, safely on disk before this returns."""
        text = rows.to_csv(
            header=self.bytes == 0, index=False, float_format="%.7g", lineterminator="\n"
        )
        try:
            self.bytes += self._file.write(text.encode())
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def close(self) -> None:
        """Closes the file; what could not be written has been told of already."""
        with contextlib.suppress(OSError):
            self._file.close()


def rows(
    measures: dict[str, Any], labels: pd.DataFrame, *, start: int, phase_iterations: int, batch: int
) -> pd.DataFrame:
    """Measures (runs, iterations) as rows, in the order of iterations, then of runs.

    Args:
        measures: each (runs, iterations); those that the environment tells of its episodes follow
            the columns that all runs have.
        labels: one row a run: its seed, and its setting where there are several.
        start: number of the first iteration.
        phase_iterations: iterations in a phase.
        batch: environment steps of a run in an iteration.
    """
    runs, count = next(iter(measures.values())).shape
    iteration = np.repeat(np.arange(start, start + count), runs)
    table = {"iteration": iteration}
    table |= {name: np.tile(labels[name], count) for name in labels.columns}
    table |= {"step": (iteration + 1) * batch, "phase": iteration // phase_iterations}
    told = [name for name in measures if name not in (*COLUMNS, *_NOT_WRITTEN)]
    table |= {name: measures[name].T.reshape(-1) for name in (*COLUMNS, *told)}
    table["episodes"] = table["episodes"].astype(np.int64)
    return pd.DataFrame(table)


# Of an iteration's measures: what `FaultWatch` looks at.
_NOT_WRITTEN = ("faults", "fault_step", "fault_copy")
COLUMNS = (
    "episodes",
    "return",
    "length",
    "policy_loss",
    "value_loss",
    "entropy",
    "kl",
    "ratio_max",
    "clip_fraction",
    "kernel_mean",
    "redescended_fraction",
    "redescended_advantage",
    "escape_advantage",
    "anchor_spread",
    "stiffness",
    "explained_variance",
    "policy_grad_norm",
    "value_grad_norm",
    "weight_norm",
    "learning_rate",
    "step_distance",
    "path_length",
    "net_displacement",
    "directional_efficiency",
    "step_cosine",
    "effective_rank",
    "dormant_fraction",
)
