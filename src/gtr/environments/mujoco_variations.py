"""What changes in the MuJoCo robots of Gymnasium from phase to phase."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gtr.environments.gymnasium_adapter import Variation


@dataclass(frozen=True)
class Flip(Variation):
    """Forward pays in even phases, backward in odd ones: the behaviour must be reversed.

    The world is the direction, 1 or -1. For robots whose reward is that of their speed along x with
    costs beside it, told apart by `info["reward_forward"]`: the costs stay as they are.
    """

    def plain(self) -> int:
        """Forward."""
        return 1

    def draw(self, rng: np.random.Generator, phase: int) -> int:
        """In turn; nothing is drawn."""
        del rng
        return 1 - 2 * (phase % 2)

    def reward(self, env: Any, reward: float, info: dict[str, Any], world: int) -> float:
        """The environment's reward, its part for speed in the world's direction."""
        del env
        forward = info["reward_forward"]
        return reward - forward + world * forward


@dataclass(frozen=True)
class Slippery(Variation):
    """The friction of all surfaces is redrawn, log-uniformly, in each phase (Dohare et al. 2024).

    The world is the coefficient of sliding friction; that of phase 0 is the model's own, None.

    Attributes:
        low: least friction.
        high: most friction.
    """

    low: float = 0.02
    high: float = 2.0

    def plain(self) -> None:
        """The model's own."""
        return None

    def draw(self, rng: np.random.Generator, phase: int) -> float:
        """One coefficient."""
        del phase
        return math.exp(rng.uniform(math.log(self.low), math.log(self.high)))

    def enter(self, env: Any, world: float | None) -> None:
        """Sets the model's own numbers: the simulator is not made anew."""
        if world is not None:
            env.model.geom_friction[:, 0] = world


@dataclass(frozen=True)
class StandWalkRun(Variation):
    """Walker2d is to stand, to walk, to run, in turn, for rewards in the manner of dm_control.

    Rewards are those of dm_control's walker (Tassa et al. 2018, arXiv:1801.00690), from 0 to 1 a
    step, on Gymnasium's body: standing is a torso above 1.2 m and upright, moving a speed of at
    least 1 m/s (walk) or 8 m/s (run). C-CHAIN (Tang et al. 2025) chains the tasks in this order.
    The world is the speed that is asked for, in m/s.
    """

    def plain(self) -> float:
        """To stand."""
        return 0.0

    def draw(self, rng: np.random.Generator, phase: int) -> float:
        """In turn; nothing is drawn."""
        del rng
        return (0.0, 1.0, 8.0)[phase % 3]

    def reward(self, env: Any, reward: float, info: dict[str, Any], world: float) -> float:
        """Standing, times moving where the world asks for it."""
        del reward
        height, angle = env.data.qpos[1:3]
        # Within .6 m of the height asked for the share falls as a Gaussian, to .1 at the margin.
        low = max(0.0, 1.2 - height) / 0.6
        standing = 0.1 ** (low * low)
        upright = (1 + math.cos(angle)) / 2
        stand = (3 * standing + upright) / 4
        if world == 0:
            return stand
        # Linear: 1 at the speed, a half at half of it, and so 0 at rest.
        lacking = max(0.0, world - info["x_velocity"]) / (world / 2)
        move = max(0.0, 1 - 0.5 * lacking)
        return stand * (5 * move + 1) / 6
