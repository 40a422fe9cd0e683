"""What a directory is for: written before the work begins, and compared when it goes on."""

import json
from pathlib import Path
from typing import Any

from gtr.errors import GTRError
from gtr.files import read_json, unwritable, write_whole

# Told, not compared: an upgrade or another spelling of the command must not orphan the work.
_TOLD = ("versions", "command")

_KINDS = {
    "comparison.json": "comparison",
    "config.json": "training",
    "tuning.json": "tuning",
    "study.json": "study",
}


def refuse_others(directory: Path, name: str) -> None:
    """Refuses a directory that holds work of another kind than the file `name` stands for.

    Raises:
        GTRError: what it holds, or that it cannot be looked into.
    """
    for other, kind in _KINDS.items():
        path = directory / other
        try:
            found = path.exists()
        except OSError as error:
            raise unwritable(path, error) from None
        if found and other != name:
            raise GTRError(f"{directory} holds a {kind}; choose another directory")


def claim(path: Path, plan: dict[str, Any]) -> None:
    """Writes the plan of a directory, or sees that the one that is there is the same.

    Args:
        path: the plan's file in its directory.
        plan: what JSON can hold; all but `versions` and `command` must agree.

    Raises:
        GTRError: the directory is for something else, or cannot be read or written.
    """
    refuse_others(path.parent, path.name)
    if not path.exists():
        write_whole(path, (json.dumps(plan, indent=2) + "\n").encode())
        return
    held = read_json(path)
    # through JSON, as the file was: tuples become lists
    wanted = json.loads(json.dumps(plan))
    differs = [
        key
        for key in dict.fromkeys([*wanted, *held])
        if key not in _TOLD and held.get(key) != wanted.get(key)
    ]
    if differs:
        raise GTRError(
            f"{path.parent} holds another {_KINDS[path.name]} (what differs: "
            f"{', '.join(differs)}); choose another directory, or delete this one to start anew"
        )
