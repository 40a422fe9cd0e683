"""Simulators outside JAX that are so small that what they do is known; some of them fail."""

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from gtr.environments.host import Transition
from gtr.environments.protocol import Discrete
from gtr.environments.simulators import Simulated

FLOAT32 = np.dtype(np.float32)
FOUR = Discrete(4)


@dataclass(frozen=True)
class HostClock(Simulated):
    """`tests.learner.problems.Clock` outside JAX: observations tell the time, reward t at step t.

    After `limit` steps an episode is truncated, in odd phases terminated. A copy counts its own
    steps, and at the one numbered `fault_at` it fails in the way of `fault`, if that is set.
    """

    limit: int = 3
    processes: int = 0
    saves: bool = True
    fault: str = ""
    fault_at: int = 20
    name: str = "clock"
    observation_shape: tuple[int, ...] = (1,)
    observation_dtype: Any = FLOAT32
    action_space: Any = FOUR

    @property
    def saved_bytes(self) -> int:  # pyright: ignore
        return 16 if self.saves else 0

    def world(self, seed: int, phase: int) -> bool:
        return phase % 2 == 1

    def start(self) -> "HostClockCopy":
        return HostClockCopy(self)


class HostClockCopy:
    def __init__(self, clock: HostClock) -> None:
        self.clock, self.time, self.steps, self.odd = clock, 0, 0, False

    def restart(self, seed: int, world: bool) -> np.ndarray:
        self.time, self.odd = 0, world
        return self._observe()

    def step(self, action: np.ndarray) -> Transition:
        self.time += 1
        self.steps += 1
        observation, reward = self._observe(), float(self.time)
        if self.clock.fault and self.steps == self.clock.fault_at:
            match self.clock.fault:
                case "raises":
                    raise ValueError("the clock is broken\nfor good")
                case "shape":
                    observation = np.zeros((2,), np.float32)
                case "reward":
                    reward = np.zeros(3)  # pyright: ignore
                case "nan":
                    observation = observation * np.nan
                case "nan reward":
                    reward = float("nan")
                case "hangs":
                    time.sleep(3600)
                case "dies":
                    os._exit(7)
        over = self.time >= self.clock.limit
        return Transition(observation, reward, over and self.odd, over and not self.odd)

    def save(self) -> np.ndarray:
        return np.array([self.time, self.steps], np.int64).view(np.uint8)

    def restore(self, saved: np.ndarray, world: bool) -> None:
        self.time, self.steps = map(int, np.ascontiguousarray(saved).view(np.int64))
        self.odd = world

    def close(self) -> None:
        pass

    def _observe(self) -> np.ndarray:
        return np.array([self.time / self.clock.limit], np.float32)
