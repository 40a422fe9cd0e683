"""The Ant on slippery ground, in JAX."""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gtr.environments.mjx_physics import Physics, PhysicsState
from gtr.environments.protocol import Box, Step

# Ant-v5 of Gymnasium, with its constructor's defaults.
_FRAME_SKIP = 5
_TORSO, _BODIES = 1, 13
_CONTROL_COST = 0.5
_CONTACT_COST = 5e-4
_LARGEST_FORCE = 1.0
_HEALTHY_HEIGHTS = (0.2, 1.0)
_RESET_NOISE = 0.1
_LIMIT = 1000


class AntState(NamedTuple):
    """An episode under way.

    Attributes:
        physics: the simulation's state.
        x: where the torso was at the last evaluation of the dynamics, metres; float32.
        steps: how many were made; int32.
    """

    physics: PhysicsState
    x: Float[Array, ""]
    steps: Int[Array, ""]


@dataclass(frozen=True)
class SlipperyAnt:
    """Gymnasium's Ant-v5 by MJX; its friction is redrawn, log-uniformly, in each phase.

    Body, observation, reward, healthy heights and time limit are Ant-v5's (Towers et al. 2024), the
    change is that of Dohare et al. 2024, as `Slippery` in `mujoco_variations` has it. The world is
    each geom's coefficient of sliding friction, float32 (14,): in phase 0 the model's own, later
    one number for all.

    Observations are float32 (105,): positions without x and y (13), velocities (14), and torque and
    force of the contacts on each of 13 bodies, clipped to [-1, 1] (78), zeros at the beginning.

    What differs from the environment on the host: numbers are float32. A contact of a capsule
    that stands steeper than 60 degrees has its friction's axes turned by MJX. A simulation that is
    no longer finite ends the episode at its last finite state, where MuJoCo puts the robot back to
    its rest and goes on.

    Attributes:
        low: least friction.
        high: most friction.

    Raises:
        GTRError: MJX or Gymnasium is not installed.
    """

    low: float = 0.02
    high: float = 2.0
    observation_shape: tuple[int, ...] = field(
        default=(105,), init=False, compare=False, repr=False
    )
    action_space: Box = field(default=Box((8,), -1.0, 1.0), init=False, compare=False, repr=False)
    _physics: Physics = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_physics", Physics("ant.xml", _FRAME_SKIP))

    def world(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> Float[Array, " ngeom"]:
        """The model's own friction in phase 0, one coefficient for all geoms in the others."""
        drawn = jax.random.uniform(
            jax.random.fold_in(key, phase),
            minval=math.log(self.low),
            maxval=math.log(self.high),
        )
        return jnp.where(phase == 0, self._physics.friction, jnp.exp(drawn))

    def reset(self, key: PRNGKeyArray, world: Array) -> tuple[AntState, Float[Array, " 105"]]:
        """A fresh episode: at rest but for noise; see `Environment.reset`."""
        del world
        places, speeds = jax.random.split(key)
        rest, velocities = self._physics.qpos0, self._physics.velocities
        noise = jax.random.uniform(places, rest.shape, minval=-_RESET_NOISE, maxval=_RESET_NOISE)
        qvel = _RESET_NOISE * jax.random.normal(speeds, (velocities,))
        physics = PhysicsState(rest + noise, qvel, jnp.zeros(velocities))
        state = AntState(physics, physics.qpos[0], jnp.int32(0))
        return state, _observation(physics, jnp.zeros((_BODIES, 6)))

    def step(self, key: PRNGKeyArray, state: AntState, action: Array, world: Array) -> Step:
        """One transition, of 0.05 seconds; a robot that is unhealthy terminates its episode."""
        del key
        after = self._physics.advance(state.physics, action, world)
        sound = jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(after)]))
        physics, x = jax.tree.map(
            lambda new, old: jnp.where(sound, new, old),
            (after.state, after.xpos[_TORSO, 0]),
            (state.physics, state.x),
        )
        # What acts on the ground is not counted.
        forces = jnp.where(sound, after.cfrc_ext[_TORSO:], 0.0)
        forces = jnp.clip(forces, -_LARGEST_FORCE, _LARGEST_FORCE)
        low, high = _HEALTHY_HEIGHTS
        healthy = sound & (low <= physics.qpos[2]) & (physics.qpos[2] <= high)
        costs = _CONTROL_COST * jnp.sum(action**2) + _CONTACT_COST * jnp.sum(forces**2)
        now = AntState(physics, x, state.steps + 1)
        return Step(
            state=now,
            observation=_observation(physics, forces),
            reward=(x - state.x) / self._physics.dt + healthy - costs,
            terminated=~healthy,
            truncated=healthy & (now.steps >= _LIMIT),
        )

    def action_mask(self, state: AntState, world: Array) -> Bool[Array, " n"] | None:
        """None: actions are continuous."""
        del state, world
        return None


def _observation(physics: PhysicsState, forces: Float[Array, "13 6"]) -> Float[Array, " 105"]:
    # Where it is on the plane is not shown.
    return jnp.concatenate([physics.qpos[2:], physics.qvel, forces.ravel()])
