"""Training tasks on a Ray cluster: the same tasks as `gtr.study.workers` trains on one machine.

A task is a Ray task. A worker that dies (killed, preempted, out of memory, its machine gone) is
replaced, and the new one goes on from the task's last checkpoint, so the numbers are those of a run
that nothing happened to. All that is kept goes through the file system, which the machines must
share; through Ray go the tasks, what they say of their progress, and what went wrong.
"""

import logging
import socket
import sys
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gtr.errors import GTRError
from gtr.files import write_whole
from gtr.interruption import Interrupted, interrupted_by_sigterm
from gtr.study.workers import ArmProgress, Place, Task

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ImportError as error:
    raise GTRError("Ray is not installed: pip install 'gtr-rl[ray]'") from error

# How often a task is begun anew after its worker died: preemptions are many where machines are
# cheap, but a task that kills every worker must end some day.
_RETRIES = 20
# Seconds between two looks at what the workers say.
_POLL = 0.5
# Seconds to wait for a cluster's address to answer.
_PATIENCE = 10.0


class Share(NamedTuple):
    """What a task is given of the machine that it runs on."""

    cpus: int
    gpus: int


@contextmanager
def on_ray(address: str = "local") -> Iterator[Place]:
    """A Ray cluster as a place for tasks: `compare(..., workers=place)`.

    A program that has joined a cluster already stays with it, and stays in it afterwards.

    Args:
        address: of a cluster to join ("auto": the one that this machine is part of); "local" starts
            one on this machine alone, which ends with the block.

    Raises:
        GTRError: there is no cluster to join, or it cannot start.
    """
    if ray.is_initialized():
        yield _train
        return
    try:
        _knock(address)
        dashboard = False if address == "local" else None
        # What workers print would run across the display.
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=dashboard,
        )
    except Exception as error:
        line = (str(error).splitlines() or [repr(error)])[0]
        raise GTRError(
            f"there is no Ray cluster at {address!r} ({line}): begin one with `ray start --head`, "
            "or give no address"
            if address != "local"
            else f"Ray did not start here ({line}): try again, or use workers instead"
        ) from error
    try:
        yield _train
    finally:
        ray.shutdown()


def _knock(address: str) -> None:
    """Ray itself waits for minutes where nobody answers."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "://" not in address:
        socket.create_connection((host, int(port)), timeout=_PATIENCE).close()


def share(nodes: Sequence[Mapping[str, float]], tasks: int) -> Share:
    """What each task is given, so that as many of them run at a time as can.

    Args:
        nodes: the resources of each machine, as Ray counts them ("CPU", "GPU").
        tasks: how many there are.

    Returns:
        A GPU where machines have some, and as many CPUs as then are left for a task.

    Raises:
        GTRError: no machine has a CPU.
    """
    gpus = int(any(node.get("GPU", 0) >= 1 for node in nodes))

    def places(cpus: int) -> int:
        return sum(
            int(min(node.get("CPU", 0) // cpus, node.get("GPU", 0) if gpus else node.get("CPU", 0)))
            for node in nodes
        )

    at_a_time = min(tasks, places(1))
    if at_a_time == 0:
        raise GTRError("no machine of the Ray cluster has a CPU for a task: add one that has")
    most = int(max(node.get("CPU", 0) for node in nodes))
    return Share(next(cpus for cpus in range(most, 0, -1) if places(cpus) >= at_a_time), gpus)


def _train(tasks: Sequence[Task], progress: ArmProgress | None) -> dict[str, GTRError]:
    """Trains tasks on the cluster; a `Place`."""
    # Workers have working directories of their own.
    tasks = [replace(task, directory=task.directory.absolute()) for task in tasks]
    with interrupted_by_sigterm(), _token(tasks[0].directory.parent) as token:
        _refuse_unshared(token)
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        return _Crew(share(nodes, len(tasks)), progress).work(tasks, token)


class _Token(NamedTuple):
    """A file of this call's own, by which a machine shows that it sees the runs' directory."""

    path: Path
    content: str

    def seen(self) -> bool:
        try:
            return self.path.read_text() == self.content
        except OSError:
            return False

    @property
    def refusal(self) -> str:
        return (
            f"do not see {self.path.parent}: choose a directory on a file system that all machines "
            "of the cluster have at the same path"
        )


@contextmanager
def _token(directory: Path) -> Iterator[_Token]:
    content = uuid.uuid4().hex
    path = directory / f".shared-{content}"
    write_whole(path, content.encode())
    try:
        yield _Token(path, content)
    finally:
        path.unlink(missing_ok=True)


def _refuse_unshared(token: _Token) -> None:
    """Asks every machine, before anything long starts."""
    look = ray.remote(num_cpus=0)(_Token.seen)
    nodes = [node for node in ray.nodes() if node["Alive"]]
    answers = [
        look.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=True)
        ).remote(token)
        for node in nodes
    ]
    try:
        seen = ray.get(answers)
    except RayError as error:
        raise GTRError(
            "a machine of the Ray cluster cannot run gtr: install this version of gtr-rl on all of "
            f"them ({str(error).strip().splitlines()[-1]})"
        ) from error
    blind = [node["NodeManagerAddress"] for node, sees in zip(nodes, seen, strict=True) if not sees]
    if blind:
        raise GTRError(f"machines of the Ray cluster ({', '.join(blind)}) {token.refusal}")


class _Board:
    """Where workers leave word of their progress until it is fetched; an actor."""

    def __init__(self) -> None:
        self._said: list[tuple[str, tuple[Any, ...]]] = []

    def note(self, name: str, status: tuple[Any, ...]) -> None:
        self._said.append((name, status))

    def take(self) -> list[tuple[str, tuple[Any, ...]]]:
        said, self._said = self._said, []
        return said


class _Crew:
    """The Ray tasks that are at work, and what they have said."""

    def __init__(self, each: Share, progress: ArmProgress | None) -> None:
        self._progress = progress
        self._board: Any = ray.remote(num_cpus=0, max_restarts=-1)(_Board).remote()
        self._remote: Any = ray.remote(
            num_cpus=each.cpus,
            num_gpus=each.gpus,
            max_retries=_RETRIES,
            max_calls=1,  # a worker trains one task and ends: its memory is the next one's
            # A worker does not know which cores are its share, but how many, and the number of
            # devices must be the same wherever a task goes on.
            runtime_env={
                "env_vars": {"JAX_NUM_CPU_DEVICES": str(each.cpus), "NPROC": str(each.cpus)}
            },
        )(_train_there)
        self._working: dict[Any, str] = {}

    def work(self, tasks: Sequence[Task], token: _Token) -> dict[str, GTRError]:
        self._working = {
            self._remote.options(name=task.name).remote(task, token, self._board): task.name
            for task in tasks
        }
        failures = {}
        try:
            while self._working:
                ended, _ = ray.wait(list(self._working), timeout=_POLL)
                self._tell()
                for reference in ended:
                    failure = _outcome(reference)
                    name = self._working.pop(reference)
                    if failure is not None:
                        failures[name] = failure
        except KeyboardInterrupt:
            self._stop()
            raise Interrupted("stopped; the same command continues") from None
        except BaseException:
            self._stop()
            raise
        return failures

    def _tell(self) -> None:
        said = ray.get(self._board.take.remote())
        if said and self._progress is not None:
            from gtr.learner.run import Status

            for name, status in said:
                self._progress(name, Status(*status))

    def _stop(self) -> None:
        """Each task that runs is interrupted, and has saved its work when it ends."""
        for reference in self._working:
            ray.cancel(reference)
        ray.wait(list(self._working), num_returns=len(self._working))


def _train_there(task: Task, token: _Token, board: Any) -> GTRError | None:
    """What a worker does; it gives back what went wrong."""
    # A machine may have joined since all were asked.
    if not token.seen():
        return GTRError(f"some machines of the Ray cluster {token.refusal}")
    try:
        task.train(lambda name, status: board.note.remote(name, tuple(status)))
    except GTRError as error:
        return error
    return None


def _outcome(reference: Any) -> GTRError | None:
    try:
        return ray.get(reference)
    except RayTaskError as error:
        # not a user's mistake: its traceback is wanted
        print(error, file=sys.stderr)
        return GTRError(f"its task stopped with {error.cause!r}")
    except RayError as error:
        return GTRError(f"its worker died {_RETRIES + 1} times, at last so: {error}")
