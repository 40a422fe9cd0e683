"""Which runs of a service a directory's seeds are, kept beside the run so that it goes on there."""

import json
from pathlib import Path
from typing import Any

from gtr.files import read_json, write_whole


def recalled(path: Path) -> dict[str, Any]:
    """What was kept, or nothing yet."""
    return read_json(path) if path.exists() else {}


def keep(path: Path, known: dict[str, Any]) -> None:
    """Keeps it, whole or not at all."""
    write_whole(path, (json.dumps(known, indent=2) + "\n").encode())
