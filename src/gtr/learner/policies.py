"""Policies that are kept for good: those of the end of each phase, one small file a phase.

Checkpoints hold the newest state alone, and what a policy was before a change is gone with it.
These files hold what acts (the actor and the moments that it sees through), not what learns.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from gtr.errors import GTRError
from gtr.files import RERUN, write_whole
from gtr.learner.anchors import Policy
from gtr.learner.checkpoint import named
from gtr.learner.state import RunState

SEEDS = 3
"""Of so many seeds, the first ones, policies are kept: enough to look at, whatever the network."""

# The only entry of a file's header: safetensors writes several in no fixed order, and a run that
# was cut is to leave the same bytes.
_FORMAT = "gtr-policies-1"


def path_of(directory: Path, phase: int) -> Path:
    """Where a run's directory keeps the policies of a phase's end."""
    return directory / "policies" / f"phase-{phase}.safetensors"


def write(directory: Path, state: RunState, *, phase: int, seeds: list[int]) -> None:
    """Writes the first seeds' policies as a phase leaves them.

    Args:
        directory: the run's.
        state: of all runs after the phase's last iteration, as host arrays (runs, ...).
        phase: its number, from 0.
        seeds: of the runs, in their order.

    Raises:
        GTRError: the file cannot be written.
    """
    policies = jax.tree.map(lambda x: x[:SEEDS], Policy(state.trained.actor, state.moments))
    about = json.dumps({"phase": phase, "seeds": seeds[:SEEDS]})
    write_whole(path_of(directory, phase), save(named(policies), {_FORMAT: about}))


def kept_seeds(directory: Path, phase: int) -> list[int]:
    """The seeds whose policies of a phase's end are there; none where there is no file.

    Raises:
        GTRError: the file is damaged.
    """
    path = path_of(directory, phase)
    if not path.exists():
        return []
    with _opened(path) as file:
        return json.loads(file.metadata()[_FORMAT])["seeds"]


def read(directory: Path, like: Policy, *, phase: int, seed: int) -> Policy:
    """A seed's policy as a phase left it, as host arrays.

    Args:
        directory: the run's.
        like: a policy of the same structure and shapes.
        phase: its number, from 0.
        seed: one of `kept_seeds`.

    Raises:
        GTRError: the file is damaged, or holds policies of another shape.
    """
    path = path_of(directory, phase)
    place = kept_seeds(directory, phase).index(seed)
    with _opened(path) as file:
        found = {name: file.get_tensor(name)[place] for name in file.keys()}  # noqa: SIM118
    wanted = named(like)
    shapes = [{name: (x.shape, str(x.dtype)) for name, x in one.items()} for one in (found, wanted)]
    if shapes[0] != shapes[1]:
        raise GTRError(
            f"{path} holds policies of another shape than its config.json tells: {RERUN}"
        )
    return jax.tree.unflatten(jax.tree.structure(like), [found[name] for name in wanted])


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="numpy") as file:
            if _FORMAT not in (file.metadata() or {}):
                raise GTRError(f"{path} holds no policies of this version of gtr: {RERUN}")
            yield file
    except (SafetensorError, OSError) as error:
        raise GTRError(f"{path} is damaged ({str(error).splitlines()[0]}): {RERUN}") from None
