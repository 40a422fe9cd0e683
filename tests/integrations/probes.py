"""Environments of Gymnasium with known answers, for every framework."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Reversing(gymnasium.Env):
    """Says which of two actions pays, and from time to time begins to say the contrary.

    Episodes of 8 steps; the observation is -1 or 1, and the action 0 or 1 that has its sign pays 1,
    until `every` steps have been made; then the other one does, and so on.
    """

    observation_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, every: int = 4096) -> None:
        self.every = every
        self.steps = 0

    def paying(self, observation: np.ndarray) -> np.ndarray:
        """The action that pays now, for observations (..., 1)."""
        reversed_ = (self.steps // self.every) % 2
        return (observation[..., 0] > 0).astype(np.int64) ^ reversed_

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self._left = 8
        return self._observe(), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = float(int(action) == self.paying(self._seen))
        self.steps += 1
        self._left -= 1
        return self._observe(), reward, False, self._left == 0, {}

    def _observe(self) -> np.ndarray:
        self._seen = np.array([self.np_random.choice([-1.0, 1.0])], np.float32)
        return self._seen


class InDictionary(gymnasium.ObservationWrapper):
    """Shows the observation as the only entry of a dictionary."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.observation_space = spaces.Dict({"seen": env.observation_space})

    def observation(self, observation: np.ndarray) -> dict[str, np.ndarray]:
        return {"seen": observation}
