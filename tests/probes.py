"""Probe environments: so small that the right answer is known, each for one way to be wrong."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gtr.environments.protocol import Box, Discrete, Step


class _Probe:
    """What the probes share: nothing changes, nothing is masked, the state counts steps (int32)."""

    observation_shape: tuple[int, ...] = (1,)
    action_space: Discrete | Box = Discrete(2)

    def world(self, key: jax.Array, phase: Any) -> Any:
        del key, phase
        return ()

    def reset(self, key: jax.Array, world: Any) -> tuple[Any, jax.Array]:
        del key, world
        return jnp.int32(0), jnp.zeros(self.observation_shape, jnp.float32)

    def action_mask(self, state: Any, world: Any) -> jax.Array | None:
        del state, world
        return None


def _step(state: Any, observation: Any, reward: Any, terminated: Any, truncated: Any) -> Step:
    return Step(
        state,
        jnp.asarray(observation, jnp.float32),
        jnp.asarray(reward, jnp.float32),
        jnp.asarray(terminated, bool),
        jnp.asarray(truncated, bool),
    )


@dataclass(frozen=True)
class ConstantReward(_Probe):
    """`reward` every step, and episodes end by truncation only, after `limit` steps.

    The observation is always 0, so the value is reward / (1 - gamma) everywhere; a learner that
    takes truncation for termination finds less.
    """

    reward: float = 1.0
    limit: int = 5

    def value(self, discount: float) -> float:
        return self.reward / (1 - discount)

    def step(self, key: jax.Array, state: Any, action: Any, world: Any) -> Step:
        del key, action, world
        time = state + jnp.int32(1)
        return _step(time, [0.0], self.reward, False, time >= self.limit)


@dataclass(frozen=True)
class DelayedReward(_Probe):
    """The first of two actions decides the reward, which comes with the second: 1 after action 1.

    Observations are (time, first action): (0, 0), then (1, action). The best start is worth gamma;
    states (1, 0) and (1, 1) are worth 0 and 1.
    """

    observation_shape: tuple[int, ...] = (2,)

    def reset(self, key: jax.Array, world: Any) -> tuple[Any, jax.Array]:
        del key, world
        return (jnp.int32(0), jnp.int32(0)), jnp.zeros(2, jnp.float32)

    def step(self, key: jax.Array, state: Any, action: Any, world: Any) -> Step:
        del key, world
        time, first = state
        first = jnp.where(time == 0, action, first).astype(jnp.int32)
        time = time + jnp.int32(1)
        done = time >= 2
        return _step((time, first), jnp.stack([time, first]), first * done, done, False)


@dataclass(frozen=True)
class Quadratic(_Probe):
    """One step; the reward is -|action - optimum|^2, so the best action is `optimum`."""

    optimum: tuple[float, ...] = (0.5, -0.3)

    @property
    def action_space(self) -> Box:
        return Box((len(self.optimum),), -1.0, 1.0)

    def step(self, key: jax.Array, state: Any, action: Any, world: Any) -> Step:
        del key, world
        reward = -jnp.sum((action - jnp.array(self.optimum)) ** 2)
        return _step(state + jnp.int32(1), [0.0], reward, True, False)


@dataclass(frozen=True)
class MaskedBandit(_Probe):
    """One step; arm i pays i, and the best arm is masked: the best allowed return is arms - 2.

    An action that is masked pays NaN, so taking it once is seen.
    """

    arms: int = 4

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.arms)

    @property
    def optimal_return(self) -> float:
        return self.arms - 2.0

    def action_mask(self, state: Any, world: Any) -> jax.Array:
        del state, world
        return jnp.arange(self.arms) < self.arms - 1

    def step(self, key: jax.Array, state: Any, action: Any, world: Any) -> Step:
        allowed = self.action_mask(state, world)[action]
        del key
        reward = jnp.where(allowed, action.astype(jnp.float32), jnp.nan)
        return _step(state + jnp.int32(1), [0.0], reward, True, False)


@dataclass(frozen=True)
class NaNAfter(_Probe):
    """Observations turn NaN `healthy` steps after an episode began; episodes never end."""

    healthy: int = 20

    def step(self, key: jax.Array, state: Any, action: Any, world: Any) -> Step:
        del key, action, world
        time = state + jnp.int32(1)
        return _step(time, jnp.where(time > self.healthy, jnp.nan, 0.0)[None], 1.0, False, False)


@dataclass(frozen=True)
class RandomEnd(_Probe):
    """Reward 1 a step; each step terminates with `probability`, whatever is done.

    Lengths are geometric with mean 1 / probability; the value is 1 / (1 - gamma (1 - p)).
    """

    probability: float = 0.2

    def value(self, discount: float) -> float:
        return 1 / (1 - discount * (1 - self.probability))

    def step(self, key: jax.Array, state: Any, action: Any, world: Any) -> Step:
        del action, world
        ends = jax.random.bernoulli(key, self.probability)
        return _step(state + jnp.int32(1), [0.0], 1.0, ends, False)


@dataclass(frozen=True)
class Cue(_Probe):
    """A cue is shown at the first step alone; the action of the last step is to match it.

    Observations are (the cue, -1 or 1, or 0 when it is not shown; whether this is the last step).
    An action that matches at the last step, `delay` steps after the cue, pays 1, another nothing.
    A policy without a memory cannot do better than `chance`. Discrete actions stand for -1 and 1;
    of a continuous one the sign counts.
    """

    delay: int = 3
    continuous: bool = False
    observation_shape: tuple[int, ...] = (2,)
    chance: float = 0.5

    @property
    def action_space(self) -> Discrete | Box:
        return Box((1,), -1.0, 1.0) if self.continuous else Discrete(2)

    def reset(self, key: jax.Array, world: Any) -> tuple[Any, jax.Array]:
        del world
        cue = jnp.where(jax.random.bernoulli(key), 1.0, -1.0).astype(jnp.float32)
        return (jnp.int32(0), cue), jnp.stack([cue, jnp.float32(0)])

    def step(self, key: jax.Array, state: Any, action: Any, world: Any) -> Step:
        del key, world
        time, cue = state
        said = action[0] if self.continuous else 2 * action - 1
        over = time == self.delay
        time = time + jnp.int32(1)
        last = time == self.delay
        return _step((time, cue), [0.0, last], over & (said * cue > 0), over, False)
