"""Robots of MuJoCo whose task or ground changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gtr.learner.config import LearnerConfig
from gtr.networks.architectures import MLP
from gtr.suites.definition import Size, Suite

if TYPE_CHECKING:
    from gtr.environments.host import HostEnvironment
    from gtr.environments.protocol import Environment

# The settings under which PPO is usually run on MuJoCo (arXiv:2005.12729, CleanRL), in 16 copies.
_LEARNER = LearnerConfig(
    environments=16,
    rollout_length=128,
    epochs=10,
    minibatches=32,
    learning_rate=3e-4,
    entropy=0.0,
    normalise_observations=True,
    normalise_rewards=True,
    network=MLP((64, 64)),
)
# An accelerator steps thousands of copies as fast as a few, and takes minibatches as large.
_ON_AN_ACCELERATOR = replace(_LEARNER, environments=2048, rollout_length=32, epochs=4)


def robotics(size: Size) -> tuple[Suite, ...]:
    """The suites of a size."""
    full = size == "full"
    return (
        Suite(
            name="halfcheetah-flip",
            size=size,
            domain="robotics",
            description=(
                "HalfCheetah-v5; running forward pays in even phases, running backward in odd ones."
            ),
            source="directions as in MAML (Finn et al. 2017); MuJoCo through Gymnasium",
            make=_flip,
            phases=10 if full else 5,
            phase_budget=2_000_000 if full else 200_000,
            seeds=10 if full else 5,
            config=_LEARNER,
        ),
        Suite(
            name="ant-slippery",
            size=size,
            domain="robotics",
            description=(
                "Ant-v5; the friction of all surfaces is redrawn log-uniformly from 0.02 to 2 each "
                "phase, the model's own in the first."
            ),
            source=(
                "Slippery Ant (Dohare et al. 2024); MuJoCo "
                + ("in JAX (MJX), Gymnasium's body" if full else "through Gymnasium")
            ),
            make=_slippery_in_jax if full else _slippery,
            phases=10 if full else 5,
            phase_budget=20_000_000 if full else 100_000,
            seeds=10 if full else 5,
            config=_ON_AN_ACCELERATOR if full else _LEARNER,
        ),
        Suite(
            name="walker-tasks",
            size=size,
            domain="robotics",
            description=(
                "Walker2d-v5 without falling out of the episode; it is paid for standing, walking "
                "and running in turn, as dm_control's walker is."
            ),
            source="dm_control (Tassa et al. 2018), C-CHAIN (Tang et al. 2025); MuJoCo",
            make=_tasks,
            phases=9 if full else 6,
            phase_budget=1_000_000 if full else 100_000,
            seeds=10 if full else 5,
            config=_LEARNER,
        ),
    )


def _flip() -> HostEnvironment:
    from gtr.environments.gymnasium_adapter import Gymnasium
    from gtr.environments.mujoco_variations import Flip

    return Gymnasium("HalfCheetah-v5", variation=Flip())


def _slippery() -> HostEnvironment:
    from gtr.environments.gymnasium_adapter import Gymnasium
    from gtr.environments.mujoco_variations import Slippery

    return Gymnasium("Ant-v5", variation=Slippery())


def _slippery_in_jax() -> Environment:
    from gtr.environments.mjx_ant import SlipperyAnt

    return SlipperyAnt()


def _tasks() -> HostEnvironment:
    from gtr.environments.gymnasium_adapter import Gymnasium
    from gtr.environments.mujoco_variations import StandWalkRun

    options = (("terminate_when_unhealthy", False),)
    return Gymnasium("Walker2d-v5", options, StandWalkRun())
