"""A vectorised environment for rsl_rl, with a known answer."""

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict
from torch import Tensor


class Reversing(VecEnv):
    """Wants the action that it shows, -1 or 1, and from time to time begins to want the contrary.

    Episodes of 8 steps, which are truncated; the reward is minus the squared distance from the
    wanted action. After `every` steps of all copies the contrary is wanted, and so on.
    """

    def __init__(self, copies: int = 16, every: int = 320) -> None:
        self.num_envs = copies
        self.num_actions = 1
        self.max_episode_length = 8
        self.episode_length_buf = torch.zeros(copies, dtype=torch.long)
        self.device = "cpu"
        self.cfg = {}
        self.unwrapped, self.step_dt = self, 1.0  # asked for by random network distillation
        self.every = every
        self.steps = 0
        self.shown = self._show()

    def wanted(self, shown: Tensor) -> Tensor:
        """The action that is wanted now, for observations (..., 1)."""
        return shown if (self.steps // self.every) % 2 == 0 else -shown

    def get_observations(self) -> TensorDict:
        return TensorDict({"policy": self.shown.clone()}, [self.num_envs])

    def step(self, actions: Tensor) -> tuple[TensorDict, Tensor, Tensor, dict]:
        rewards = -(actions - self.wanted(self.shown)).square()[:, 0]
        self.steps += 1
        self.episode_length_buf += 1
        dones = self.episode_length_buf == self.max_episode_length
        self.episode_length_buf[dones] = 0
        self.shown = self._show()
        return self.get_observations(), rewards, dones.long(), {"time_outs": dones}

    def _show(self) -> Tensor:
        return torch.randint(2, (self.num_envs, 1)) * 2.0 - 1.0
