"""Copies of a simulator side by side: in this process, or dealt to processes of their own.

Gymnasium's `AsyncVectorEnv` starts a process for each copy and does not say which of them hangs;
here a process has as many copies as it takes to fill a core, and names the one it is at.
"""

import contextlib
import math
import multiprocessing
import signal
from abc import abstractmethod
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt8, UInt32

from gtr.environments.host import (
    Copy,
    HostEnvironment,
    Observations,
    SimulatorFault,
    Simulators,
    Transitions,
)
from gtr.environments.protocol import World
from gtr.errors import GTRError

# Seconds that a process may take for an answer before it is taken to hang.
PATIENCE = 120.0


class Simulated(HostEnvironment):
    """An environment whose copies are simulators of their own.

    Attributes:
        processes: how many processes the copies are dealt to; 0 keeps them in this one.
    """

    processes: int

    @abstractmethod
    def start(self) -> Copy:
        """One copy."""

    def open(self, copies: int) -> Simulators:
        """See `HostEnvironment.open`."""
        # A process that is itself a worker of a comparison may have no processes of its own.
        if self.processes and not multiprocessing.current_process().daemon:
            return InProcesses(self, copies)
        return InTurn(self, copies)


class InTurn:
    """Copies in this process, stepped one after another.

    Args:
        environment: what the copies are of.
        copies: how many.
        at: told the number of the copy that is about to do something.
        room: where observations are written; to arrays of their own where None.
    """

    def __init__(
        self,
        environment: Simulated,
        copies: int,
        at: Callable[[int], None] = lambda copy: None,
        room: Observations | None = None,
    ) -> None:
        self._environment, self._at, self._room = environment, at, room
        self._copies = [environment.start() for _ in range(copies)]
        self._actions: Any = None

    def restart(
        self, which: Bool[np.ndarray, " e"], seeds: UInt32[np.ndarray, " e"], world: World
    ) -> Observations:
        """See `Simulators.restart`."""
        observations = self._blank()
        for i in map(int, np.flatnonzero(which)):
            first = self._do(i, lambda copy, i=i: copy.restart(int(seeds[i]), world))
            observations[i] = self._checked(i, first)
        return observations

    def send(self, actions: Shaped[np.ndarray, "e ..."]) -> None:
        """See `Simulators.send`: nothing is done before `receive`."""
        self._actions = actions

    def receive(self) -> Transitions:
        """See `Simulators.receive`."""
        number = len(self._copies)
        observations = self._blank()
        rewards, scores = np.zeros(number, np.float32), np.zeros(number, np.float32)
        terminated, truncated = np.zeros(number, bool), np.zeros(number, bool)
        for i in range(number):
            after = self._do(i, lambda copy, i=i: copy.step(self._actions[i]))
            observations[i] = self._checked(i, after.observation)
            if np.ndim(after.reward):
                raise SimulatorFault(i, f"gave a reward of shape {np.shape(after.reward)}, not ()")
            rewards[i] = after.reward
            scores[i] = after.reward if after.score is None else after.score
            terminated[i], truncated[i] = after.terminated, after.truncated
        return Transitions(observations, rewards, terminated, truncated & ~terminated, scores)

    def save(self) -> UInt8[np.ndarray, "e n"]:
        """See `Simulators.save`."""
        if not self._environment.saved_bytes:
            return np.zeros((len(self._copies), 0), np.uint8)
        return np.stack([self._do(i, lambda copy: copy.save()) for i in range(len(self._copies))])

    def restore(self, saved: UInt8[np.ndarray, "e n"], world: World) -> None:
        """See `Simulators.restore`."""
        for i, state in enumerate(saved):
            self._do(i, lambda copy, state=state: copy.restore(state, world))

    def close(self) -> None:
        """See `Simulators.close`."""
        for copy in self._copies:
            copy.close()

    def _blank(self) -> Observations:
        if self._room is not None:
            return self._room
        environment = self._environment
        shape = (len(self._copies), *environment.observation_shape)
        return np.zeros(shape, environment.observation_dtype)

    def _do(self, i: int, what: Callable[[Copy], Any]) -> Any:
        self._at(i)
        try:
            return what(self._copies[i])
        except Exception as error:
            line = (str(error).splitlines() or [""])[0]
            raise SimulatorFault(i, f"raised {type(error).__name__}: {line}") from error

    def _checked(self, i: int, observation: Any) -> np.ndarray:
        wanted = self._environment.observation_shape
        if np.shape(observation) != wanted:
            shape = np.shape(observation)
            raise SimulatorFault(i, f"gave an observation of shape {shape}, not {wanted}")
        return observation


class InProcesses:
    """Copies dealt to processes of their own, each with a part of them in a row.

    Observations come through memory that is shared: pictures sent through a pipe take a third of an
    Atari step.

    Args:
        environment: what the copies are of; it is sent to the processes, which start them.
        copies: how many.
    """

    def __init__(self, environment: Simulated, copies: int) -> None:
        self._name = environment.name
        edges = np.linspace(0, copies, min(environment.processes, copies) + 1).astype(int)
        self._parts = [slice(int(a), int(b)) for a, b in pairwise(edges)]
        context = multiprocessing.get_context("spawn")
        self._ats = [context.RawValue("i", 0) for _ in self._parts]
        rooms = [
            context.RawArray("b", _room_bytes(environment, part.stop - part.start))
            for part in self._parts
        ]
        self._rooms = [_view(environment, room) for room in rooms]
        self._pipes: list[Connection] = []
        self._processes = []
        for part, at, room in zip(self._parts, self._ats, rooms, strict=True):
            ours, theirs = context.Pipe()
            number = part.stop - part.start
            process = context.Process(
                target=_serve, args=(theirs, at, environment, number, room), daemon=True
            )
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        self._await_start()

    def restart(
        self, which: Bool[np.ndarray, " e"], seeds: UInt32[np.ndarray, " e"], world: World
    ) -> Observations:
        """See `Simulators.restart`."""
        for pipe, part in zip(self._pipes, self._parts, strict=True):
            pipe.send(("restart", which[part], seeds[part], world))
        self._answers()
        return np.concatenate(self._rooms)

    def send(self, actions: Shaped[np.ndarray, "e ..."]) -> None:
        """See `Simulators.send`."""
        for pipe, part in zip(self._pipes, self._parts, strict=True):
            pipe.send(("step", actions[part]))

    def receive(self) -> Transitions:
        """See `Simulators.receive`."""
        rest = zip(*self._answers(), strict=True)
        return Transitions(np.concatenate(self._rooms), *map(np.concatenate, rest))

    def save(self) -> UInt8[np.ndarray, "e n"]:
        """See `Simulators.save`."""
        for pipe in self._pipes:
            pipe.send(("save",))
        return np.concatenate(self._answers())

    def restore(self, saved: UInt8[np.ndarray, "e n"], world: World) -> None:
        """See `Simulators.restore`."""
        for pipe, part in zip(self._pipes, self._parts, strict=True):
            pipe.send(("restore", saved[part], world))
        self._answers()

    def close(self) -> None:
        """Ends the processes; one that does not listen is killed."""
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            with contextlib.suppress(OSError):
                pipe.send(("close",))
            process.join(1.0)
            if process.is_alive():
                process.kill()
                process.join()
            pipe.close()

    def _await_start(self) -> None:
        try:
            self._answers()
        except SimulatorFault as fault:
            self.close()
            raise GTRError(
                f"{self._name}: copy {fault.copy} {fault.what} while it was made; in a script, all "
                "that trains belongs under `if __name__ == '__main__':`"
            ) from None

    def _answers(self) -> list[Any]:
        return [self._answer(i) for i in range(len(self._pipes))]

    def _answer(self, i: int) -> Any:
        first = self._parts[i].start
        try:
            if not self._pipes[i].poll(PATIENCE):
                at = first + self._ats[i].value
                raise SimulatorFault(at, f"did not answer within {PATIENCE:g} s")
            answer = self._pipes[i].recv()
        except (EOFError, ConnectionError):
            self._processes[i].join(1.0)
            at, code = first + self._ats[i].value, self._processes[i].exitcode
            raise SimulatorFault(at, f"lost its process, which ended with code {code}") from None
        if isinstance(answer, SimulatorFault):
            raise SimulatorFault(first + answer.copy, answer.what)
        return answer


def _room_bytes(environment: Simulated, number: int) -> int:
    """Bytes that the observations of a number of copies take."""
    return (
        number * math.prod(environment.observation_shape) * environment.observation_dtype.itemsize
    )


def _view(environment: Simulated, room: Any) -> Observations:
    """Shared memory as the observations of as many copies as it has room for."""
    observations = np.frombuffer(room, environment.observation_dtype)
    return observations.reshape(-1, *environment.observation_shape)


def _serve(pipe: Connection, at: Any, environment: Simulated, number: int, room: Any) -> None:
    """What a process does until it is told to close, or its parent is gone."""
    # Ctrl-C reaches the whole group; the parent saves the copies' states before it lets them go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def note(copy: int) -> None:
        at.value = copy

    copies = InTurn(environment, number, note, _view(environment, room))
    pipe.send("ready")
    with contextlib.suppress(EOFError, ConnectionError):
        while (message := pipe.recv())[0] != "close":
            what, *given = message
            try:
                if what == "step":
                    copies.send(*given)
                    pipe.send(tuple(copies.receive())[1:])
                elif what == "restart":
                    copies.restart(*given)
                    pipe.send(None)
                else:
                    pipe.send(getattr(copies, what)(*given))
            except SimulatorFault as fault:
                pipe.send(fault)
    copies.close()
