"""A suite whose returns tell which world a run is in, and nothing else; trained in a second."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from gtr.environments.protocol import Discrete, Step
from gtr.learner.config import LearnerConfig
from gtr.networks.architectures import MLP
from gtr.suites import Suite

LIMIT = 4


@dataclass(frozen=True)
class Wage:
    """Each world pays its own wage in every step, whatever is done; episodes have 4 steps."""

    observation_shape: tuple[int, ...] = (1,)

    @property
    def action_space(self) -> Discrete:
        return Discrete(2)

    def world(self, key: Any, phase: Any) -> Any:
        return jax.random.uniform(jax.random.fold_in(key, phase))

    def reset(self, key: Any, world: Any) -> tuple[Any, Any]:
        return jnp.int32(0), jnp.zeros(1)

    def step(self, key: Any, state: Any, action: Any, world: Any) -> Step:
        time = state + jnp.int32(1)
        return Step(time, jnp.zeros(1), world, time >= LIMIT, jnp.bool_(False))

    def action_mask(self, state: Any, world: Any) -> None:
        return None


def die() -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def die_once(scar: Path) -> Any:
    """The environment, in a process that comes after one that died of asking for it."""
    if not scar.exists():
        scar.touch()
        die()
    return Wage()


SMALL = Suite(
    name="wages",
    size="cpu",
    domain="control",
    description="",
    source="",
    make=Wage,
    phases=3,
    phase_budget=5 * 32,
    seeds=2,
    config=LearnerConfig(
        environments=4, rollout_length=8, epochs=2, minibatches=2, network=MLP((8,))
    ),
)
