"""Files that are there whole or not at all."""

import contextlib
import os
from pathlib import Path

from gtr.errors import GTRError


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that a reader finds the old content or the new, whatever happens between.

    Raises:
        GTRError: if it cannot be written; the old content is untouched.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> GTRError:
    """The one line for a file that cannot be written."""
    return GTRError(
        f"cannot write {path}: {error.strerror or error}; free space or choose another directory, "
        "then run the same command again to continue"
    )
