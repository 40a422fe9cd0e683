"""What is on disk of an offline run of Weights & Biases.

Its process writes in blocks and dies with its parent, so what was logged last before a kill is in
no file. Only the files tell from where to go on, and wandb has no function that reads them.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# LevelDB's log format, behind a header of seven bytes: records in parts, in blocks of 32 KiB.
_HEADER, _BLOCK = 7, 32768
_PART = struct.Struct("<IHB")  # checksum, length, kind
_WHOLE, _LAST = 1, 4


def last_step(directory: Path, identity: str) -> int:
    """The last step that the files of an offline run hold, -1 if none.

    Args:
        directory: what wandb was given as `dir`.
        identity: of the run, which may have been gone on with.
    """
    steps = (
        record.history.step.num
        for path in directory.glob(f"wandb/offline-run-*/run-{identity}.wandb")
        for record in records(path)
        if record.HasField("history")
    )
    return max(steps, default=-1)


def records(path: Path) -> Iterator[Any]:
    """The records of a file (wandb's protocol buffers), up to where it was cut."""
    from wandb.proto.wandb_internal_pb2 import Record  # pyright: ignore[reportAttributeAccessIssue]

    content = path.read_bytes()
    place, record = _HEADER, b""
    while place + _PART.size <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _PART.size:
            place += left
            continue
        _, length, kind = _PART.unpack_from(content, place)
        place += _PART.size + length
        if place > len(content):
            return
        record += content[place - length : place]
        if kind in (_WHOLE, _LAST):
            yield Record.FromString(record)
            record = b""
