"""Files that are there whole or not at all, and what to say where they are not."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gtr.errors import GTRError

RERUN = "run the training again, or restore the file from a copy"
"""How to mend a damaged record."""


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that a reader finds the old content or the new, whatever happens between.

    Raises:
        GTRError: if it cannot be written; the old content is untouched.
    """
    with whole(path) as temporary:
        temporary.write_bytes(content)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """As `write_whole`, of a file that the block writes: where it should write it.

    Raises:
        GTRError: likewise, also for an OSError of the block.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
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


def read_text(path: Path) -> str:
    """Read a record that is text.

    Raises:
        GTRError: the file is missing, empty, or cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise GTRError(f"{path} is missing: {RERUN}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise GTRError(f"{path} cannot be read ({error}): {RERUN}") from None
    if not text.strip():
        raise GTRError(f"{path} is empty: {RERUN}")
    return text


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        GTRError: the file is missing, empty, cut short, or holds something else.
    """
    text = read_text(path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise GTRError(
            f"{path} is not valid JSON (line {error.lineno}: {error.msg}), it may have been cut "
            f"short: {RERUN}"
        ) from None
    if not isinstance(document, dict):
        raise GTRError(f"{path} must hold a JSON object, not {type(document).__name__}: {RERUN}")
    return document
