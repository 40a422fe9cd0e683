"""Checkpoints: a pytree of arrays in one safetensors file, written whole or not at all.

A file's header says what it is, of which run, and the checksum of all of it. The newest whole file
is the one that counts; the one before it is kept, so that a file damaged after it was written costs
minutes and not the run.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gtr.errors import GTRError
from gtr.files import write_whole

_FORMAT = "gtr-checkpoint-1"
_KEPT = 2


class Checkpoint(NamedTuple):
    """What was read back: host arrays, and where the run stood."""

    state: Any
    iteration: int
    metrics_bytes: int


def write(
    directory: Path, state: Any, *, iteration: int, metrics_bytes: int, fingerprint: str
) -> Path:
    """Writes `state` as it stands before `iteration`, and removes all but the newest two files.

    Args:
        directory: the run's checkpoints.
        state: pytree of arrays.
        iteration: the next iteration to do.
        metrics_bytes: length of metrics.csv up to here.
        fingerprint: names the run's configuration.

    Raises:
        GTRError: if the directory cannot be written or the disk is full; earlier files are whole.
    """
    arrays = named(state)
    header = {
        "format": _FORMAT,
        "iteration": str(iteration),
        "metrics_bytes": str(metrics_bytes),
        "fingerprint": fingerprint,
    }
    header["checksum"] = _checksum(arrays, header)
    path = directory / f"{iteration:09d}.safetensors"
    write_whole(path, save(arrays, header))
    for old in sorted(directory.glob("*.safetensors"))[:-_KEPT]:
        old.unlink()
    return path


def read_newest(
    directory: Path, like: Any, *, fingerprint: str
) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint of a run.

    Args:
        directory: the run's checkpoints.
        like: a pytree of arrays (or of their shapes) with the state's structure.
        fingerprint: names the run's configuration.

    Returns:
        The checkpoint, None if there are no files; and a line for each damaged file passed over.

    Raises:
        GTRError: if there are files but none is whole, or one belongs to another run.
    """
    refusals: list[str] = []
    files = sorted(directory.glob("*.safetensors"), reverse=True)
    for path in files:
        try:
            return _read(path, like, fingerprint), refusals
        except _Damaged as damage:
            refusals.append(f"{path} is damaged ({damage}); using the checkpoint before it")
    if files:
        raise GTRError(
            f"no checkpoint in {directory} is whole ({refusals[0]}); "
            "delete the run's directory to start it anew"
        )
    return None, refusals


class _Damaged(Exception):
    pass


def _read(path: Path, like: Any, fingerprint: str) -> Checkpoint:
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise _Damaged(str(error).splitlines()[0]) from error
    if header.get("format") != _FORMAT:
        raise GTRError(
            f"{path} is no checkpoint of this version of gtr; "
            "move it away, or choose another directory"
        )
    if header.pop("checksum", None) != _checksum(arrays, header):
        raise _Damaged("its checksum does not match")
    if header["fingerprint"] != fingerprint:
        raise GTRError(
            f"{path} belongs to a run with another configuration; choose another directory, "
            "or delete this one to start anew"
        )
    wanted = named(like)
    shapes = {name: (x.shape, str(x.dtype)) for name, x in wanted.items()}
    if {name: (x.shape, str(x.dtype)) for name, x in arrays.items()} != shapes:
        raise GTRError(
            f"{path} was written by another version of gtr; "
            "continue it with that version, or delete the directory to start anew"
        )
    state = jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in wanted])
    return Checkpoint(state, int(header["iteration"]), int(header["metrics_bytes"]))


def named(tree: Any) -> dict[str, Any]:
    """A pytree's arrays by the paths that lead to them, as a file holds them."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    by_path = {jax.tree_util.keystr(path): leaf for path, leaf in leaves}
    return {
        name: leaf if isinstance(leaf, jax.ShapeDtypeStruct) else np.asarray(leaf, order="C")
        for name, leaf in by_path.items()
    }


def _checksum(arrays: dict[str, np.ndarray], header: dict[str, str]) -> str:
    digest = hashlib.blake2b(json.dumps(header, sort_keys=True).encode(), digest_size=16)
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, str(array.dtype), array.shape]).encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
