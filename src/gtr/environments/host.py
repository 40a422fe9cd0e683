"""Environments that run outside JAX: simulators in Python or C++, stepped copy by copy.

They are learnt in by the same update as those in JAX (`gtr.learner.hosted`); only the collecting of
a batch differs. As there, a world is a pure function of the schedule's seed and the phase's number,
so that every method run with the same seed meets the same changes.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Bool, Float, Shaped, UInt8, UInt32

from gtr.environments.protocol import Box, Discrete, World
from gtr.errors import GTRError

Observations = Shaped[np.ndarray, "e ..."]


class SimulatorFault(GTRError):
    """A copy raised, gave back what it must not, or did not answer.

    Attributes:
        copy: its number.
        what: what it did, as in "raised ValueError: no such action".
    """

    def __init__(self, copy: int, what: str) -> None:
        super().__init__(f"copy {copy} {what}")
        self.copy, self.what = copy, what

    def __reduce__(self) -> tuple:
        return type(self), (self.copy, self.what)


class Transition(NamedTuple):
    """What one step of one copy gives back; nothing is reset automatically.

    At most one of `terminated` and `truncated` is true. `score` is what the step adds to the
    episode's return as it is reported, where that is not the reward that is learnt from.
    """

    observation: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    score: float | None = None


class Copy(Protocol):
    """One simulator."""

    def restart(self, seed: int, world: World) -> np.ndarray:
        """A fresh episode in `world`, all that is random in it drawn from `seed`."""
        ...

    def step(self, action: np.ndarray) -> Transition:
        """One transition; `observation` is the successor's even where the episode ends."""
        ...

    def save(self) -> UInt8[np.ndarray, " n"]:
        """All that the episode's future depends on, in `HostEnvironment.saved_bytes` bytes."""
        ...

    def restore(self, saved: UInt8[np.ndarray, " n"], world: World) -> None:
        """Goes on from where `saved` was made, in `world`."""
        ...

    def close(self) -> None:
        """Frees what the simulator holds."""
        ...


class Transitions(NamedTuple):
    """One step of every copy; `score` is the reward where a copy has no other."""

    observation: Observations
    reward: Float[np.ndarray, " e"]
    terminated: Bool[np.ndarray, " e"]
    truncated: Bool[np.ndarray, " e"]
    score: Float[np.ndarray, " e"]


class Simulators(Protocol):
    """Copies that run side by side; every method may raise `SimulatorFault`."""

    def restart(
        self, which: Bool[np.ndarray, " e"], seeds: UInt32[np.ndarray, " e"], world: World
    ) -> Observations:
        """Fresh episodes of some copies; what is given back for the others is of no meaning."""
        ...

    def send(self, actions: Shaped[np.ndarray, "e ..."]) -> None:
        """Begins a step of every copy. One whose episode ended is restarted before."""
        ...

    def receive(self) -> Transitions:
        """Waits for the step that was begun."""
        ...

    def save(self) -> UInt8[np.ndarray, "e n"]:
        """The state of every copy; (e, 0) where it cannot be had."""
        ...

    def restore(self, saved: UInt8[np.ndarray, "e n"], world: World) -> None:
        """Puts the copies where they were when `saved` was made, in `world`."""
        ...

    def close(self) -> None:
        """Frees what the copies hold; processes end."""
        ...


class HostEnvironment(ABC):
    """One kind of environment outside JAX; instances are frozen, hashable and can be pickled.

    Attributes:
        name: what messages call it.
        observation_shape: of one observation.
        observation_dtype: float32, or uint8 for pixels.
        action_space: the actions that a step takes.
        saved_bytes: how many bytes hold the state of a copy; 0 where it cannot be had.
    """

    name: str
    observation_shape: tuple[int, ...]
    observation_dtype: np.dtype
    action_space: Discrete | Box
    saved_bytes: int

    @abstractmethod
    def world(self, seed: int, phase: int) -> World:
        """Parameters of the world in `phase` of the schedule drawn from `seed`; 0 is unchanged."""

    @abstractmethod
    def open(self, copies: int) -> Simulators:
        """Copies that can be run; each needs a `restart` before its first step."""
