"""Training many tasks: one after another, or side by side in processes of their own.

A process trains one task and ends, so that one that dies takes nothing of the others along. Nothing
here imports JAX before a process has been given its share of the cores. `gtr.study.on_ray` is the
third place where tasks are trained.
"""

import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from gtr.errors import GTRError
from gtr.interruption import Interrupted, interrupted_by_sigterm
from gtr.learner.config import Setting
from gtr.suites import Suite

if TYPE_CHECKING:
    from gtr.learner.run import Status

ArmProgress = Callable[[str, "Status"], None]


class Trainable(Protocol):
    """What a process can be given to train, pickled."""

    @property
    def name(self) -> str:
        """Nothing else that is trained with it has it."""
        ...

    def train(self, progress: Callable[[str, Any], None] | None) -> None:
        """Trains or continues it; `progress` is told its name and how far it is.

        Raises:
            GTRError: what was asked for cannot be, or went wrong.
            Interrupted: stopped by SIGTERM; everything is saved.
        """


# Share of a GPU's memory that all workers take together, as JAX itself would.
_GPU_SHARE = 0.75


@dataclass(frozen=True)
class Task:
    """An arm, or settings that share a program, to be trained.

    Attributes:
        name: no other task has it.
        suite: what to train on.
        settings: what to train; one, or several that differ in numbers only.
        seeds: of their runs.
        directory: where to keep them.
        iterations: stop early.
        fresh_each_phase: begin anew at every change.
    """

    name: str
    suite: Suite
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    directory: Path
    iterations: int | None = None
    fresh_each_phase: bool = False

    def train(self, progress: ArmProgress | None) -> None:
        """Trains or continues it; `progress` is told of its end even if it had ended before.

        Raises:
            GTRError: as `gtr.train`.
            Interrupted: likewise.
        """
        from gtr.learner.run import Status, sweep

        sweep(
            self.suite,
            self.settings,
            seeds=self.seeds,
            directory=self.directory,
            iterations=self.iterations,
            fresh_each_phase=self.fresh_each_phase,
            progress=None if progress is None else partial(progress, self.name),
        )
        if progress is not None:
            suite, runs = self.suite, len(self.settings) * len(self.seeds)
            iterations = suite.iterations if self.iterations is None else self.iterations
            steps = iterations * suite.phase_steps // suite.phase_iterations
            progress(self.name, Status(steps, steps, runs, float("nan")))


Place = Callable[[Sequence[Task], ArmProgress | None], dict[str, GTRError]]
"""Where tasks are trained, all of them; it gives back what went wrong, by name."""


def place(workers: int | Place) -> Place:
    """This process for one worker, for more as many processes; a place is itself.

    Raises:
        GTRError: fewer than 1.
    """
    if callable(workers):
        return workers
    if workers < 1:
        raise GTRError(f"{workers} workers: use 1 or more")
    if workers == 1:
        return train_in_turn
    return lambda tasks, progress: train_side_by_side(tasks, workers, progress)


def train_in_turn(
    tasks: Sequence[Trainable], progress: Callable[[str, Any], None] | None
) -> dict[str, GTRError]:
    """Trains one task after another; one that fails does not keep the others from their turn.

    Returns:
        What went wrong, by name.

    Raises:
        Interrupted: stopped by Ctrl-C or SIGTERM; everything is saved.
    """
    failures = {}
    for task in tasks:
        try:
            task.train(progress)
        except GTRError as error:
            failures[task.name] = error
    return failures


def train_side_by_side(
    tasks: Sequence[Trainable], workers: int, progress: Callable[[str, Any], None] | None
) -> dict[str, GTRError]:
    """Trains tasks in `workers` processes at a time, each with its share of the cores.

    Returns:
        What went wrong, by name; a task whose process died is one of them.

    Raises:
        Interrupted: stopped by Ctrl-C or SIGTERM; every process has saved its work.
    """
    crew = _Crew(min(workers, len(tasks)), progress)
    with interrupted_by_sigterm():
        try:
            crew.work(tasks)
        except KeyboardInterrupt:
            crew.stop()
            raise Interrupted("stopped; the same command continues") from None
        except BaseException:
            crew.stop()
            raise
    return crew.failures


class _Crew:
    """The processes that are at work, and what they have said."""

    def __init__(self, workers: int, progress: Callable[[str, Any], None] | None) -> None:
        self.failures: dict[str, GTRError] = {}
        self._progress, self._workers = progress, workers
        self._shares = _shares(workers)
        self._working: dict[Connection, tuple[str, BaseProcess, list[int]]] = {}

    def work(self, tasks: Sequence[Trainable]) -> None:
        waiting = list(tasks)
        while waiting or self._working:
            while waiting and self._shares:
                self._start(waiting.pop(0), self._shares.pop(0))
            for connection in wait(list(self._working)):
                assert isinstance(connection, Connection)
                self._hear(connection)

    def stop(self) -> None:
        for _, process, _ in self._working.values():
            process.terminate()
        for _, process, _ in self._working.values():
            process.join()

    def _start(self, task: Trainable, share: list[int]) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_train_apart, args=(task, theirs, share, self._workers), daemon=True
        )
        try:
            process.start()
        except (AttributeError, TypeError, pickle.PicklingError) as error:
            raise GTRError(
                f"{task.name} cannot be sent to another process ({error}); define what it is made "
                "of at a module's top level (a suite's `make`), or use workers=1"
            ) from None
        # Else the pipe would stay open when the process dies.
        theirs.close()
        self._working[ours] = (task.name, process, share)

    def _hear(self, connection: Connection) -> None:
        name, process, share = self._working[connection]
        try:
            said: Any = connection.recv()
        except (EOFError, ConnectionError):
            process.join()
            del self._working[connection]
            connection.close()
            self._shares.append(share)
            if process.exitcode and name not in self.failures:
                self.failures[name] = GTRError(_obituary(process.exitcode))
            return
        if isinstance(said, GTRError):
            self.failures[name] = said
        elif self._progress is not None:
            self._progress(name, said)


def _train_apart(task: Trainable, connection: Connection, share: list[int], workers: int) -> None:
    # Ctrl-C reaches every process of a terminal; the one that started this one passes it on.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)
    os.environ["JAX_NUM_CPU_DEVICES"] = str(len(share))
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{_GPU_SHARE / workers:.3f}")
    try:
        task.train(lambda _, status: connection.send(status))
    except GTRError as error:
        connection.send(error)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _shares(workers: int) -> list[list[int]]:
    """The cores of this process dealt out; with more workers than cores, some share one."""
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
    else:
        cores = list(range(os.cpu_count() or 1))
    return [cores[place::workers] or [cores[place % len(cores)]] for place in range(workers)]


def _obituary(code: int) -> str:
    if code < 0:
        cause = f"was killed by {signal.Signals(-code).name}"
        if -code == signal.SIGKILL:
            cause += ", perhaps because memory ran out: use fewer workers or seeds"
    else:
        cause = f"stopped with exit status {code}"
    return f"its process {cause}"
