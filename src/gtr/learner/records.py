"""What a run tells while it trains: rows of metrics.csv, and scalars for TensorBoard."""

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gtr.errors import GTRError
from gtr.files import unwritable

# The names that users of the peers watch (Stable-Baselines3); the rest go under "gtr/".
_TENSORBOARD = {
    "return": "rollout/ep_rew_mean",
    "length": "rollout/ep_len_mean",
    "entropy": "train/entropy",
    "kl": "train/approx_kl",
    "clip_fraction": "train/clip_fraction",
    "policy_loss": "train/policy_gradient_loss",
    "value_loss": "train/value_loss",
    "explained_variance": "train/explained_variance",
    "learning_rate": "train/learning_rate",
}


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


class TensorBoard:
    """Event files, a folder a seed; after a cut, events past the checkpoint are purged."""

    def __init__(self, directory: Path, seeds: list[int], *, next_step: int) -> None:
        # tensorboardX's SummaryWriter queues events for a thread, and what a kill leaves in the
        # queue would be a gap; its EventsWriter is the part that writes at once
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore

        self._directory, self._event, self._writers = directory, Event, {}
        for seed in seeds:
            folder = directory / f"seed-{seed}"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                # a file is named after the second it is opened in, and a run continued within
                # that second must not write over the file before
                self._writers[seed] = EventsWriter(str(folder / "events"), f".{next_step:012d}")
            except OSError as error:
                raise unwritable(folder, error) from error
            if next_step > 0:
                # what is at the purge's step goes too, and the last step before the cut is to stay
                purge = Event(
                    wall_time=time.time(), step=next_step + 1, session_log={"status": "START"}
                )
                self._writers[seed].write_event(purge)

    def append(self, rows: pd.DataFrame) -> None:
        """Adds every number of the rows that is one, safely on disk before this returns."""
        now = time.time()
        measures = [name for name in rows.columns if name not in ("iteration", "seed", "step")]
        for row in rows.to_dict("records"):
            values = [
                {"tag": _TENSORBOARD.get(name, f"gtr/{name}"), "simple_value": row[name]}
                for name in measures
                if np.isfinite(row[name])
            ]
            event = self._event(wall_time=now, step=int(row["step"]), summary={"value": values})
            self._writers[row["seed"]].write_event(event)
        try:
            for writer in self._writers.values():
                writer.flush()
        except OSError as error:
            raise unwritable(self._directory, error) from error

    def close(self) -> None:
        """Closes the files; what could not be written has been told of already."""
        for writer in self._writers.values():
            with contextlib.suppress(OSError):
                writer.close()


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
