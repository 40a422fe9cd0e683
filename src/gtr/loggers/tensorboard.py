"""Event files for TensorBoard, written at once."""

import contextlib
import time
from pathlib import Path

import pandas as pd

from gtr.loggers.names import scalars


class TensorBoard:
    """Event files, a folder a seed; after a cut, events past the checkpoint are purged."""

    def __init__(self, directory: Path, seeds: list[int], *, next_step: int) -> None:
        # tensorboardX's SummaryWriter queues events for a thread, and what a kill leaves in the
        # queue would be a gap; its EventsWriter is the part that writes at once
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore

        self._event, self._writers = Event, {}
        for seed in seeds:
            folder = directory / f"seed-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            # a file is named after the second it is opened in, and a run continued within
            # that second must not write over the file before
            self._writers[seed] = EventsWriter(str(folder / "events"), f".{next_step:012d}")
            if next_step > 0:
                # what is at the purge's step goes too, and the last step before the cut is to stay
                purge = Event(
                    wall_time=time.time(), step=next_step + 1, session_log={"status": "START"}
                )
                self._writers[seed].write_event(purge)

    def append(self, rows: pd.DataFrame) -> None:
        """Adds every number of the rows that is one, safely on disk before this returns."""
        now = time.time()
        for row in rows.to_dict("records"):
            values = [{"tag": tag, "simple_value": x} for tag, x in scalars(row).items()]
            event = self._event(wall_time=now, step=int(row["step"]), summary={"value": values})
            self._writers[row["seed"]].write_event(event)
        for writer in self._writers.values():
            writer.flush()

    def close(self) -> None:
        """Closes the files; what could not be written has been told of already."""
        for writer in self._writers.values():
            with contextlib.suppress(OSError):
                writer.close()
