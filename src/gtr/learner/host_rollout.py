"""Collecting a batch from simulators outside JAX; in JAX it is `rollout.collect`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, UInt32

from gtr.environments.host import HostEnvironment, Simulators
from gtr.environments.protocol import World
from gtr.learner.anchors import Policy
from gtr.learner.rollout import Batch, Episodes, Finished
from gtr.networks.cores import Memory, forget


class Acted(NamedTuple):
    """What a policy says to a step's observations: stored actions, and as the simulators take them.

    Leading axis e. `memory` is the policy's after the step, None where it has none.
    """

    action: Array
    given: Array
    parameters: Float[Array, "e p"]
    memory: Memory


class Collector:
    """The copies of one run while a batch is collected: `act` and `finish` a step in turn.

    Where something is not finite the copies are left alone from there on: the rest of the batch is
    blank, and what is learnt from it is not finite either and stops the run (`faults`).

    Args:
        environment: what the copies are of.
        simulators: the copies.
        policy: acts.
        act: of a policy, its memory, observations (e, ...) and uniform numbers (e, r).
        episodes: where the copies stand; leading axis e.
        uniform: the randomness of the actions.
        seeds: of the episodes that may begin at each step.
        world: that they begin in.

    Attributes:
        remembered: the policy's memory before the first step, (e, ...), None where it has none.
    """

    def __init__(
        self,
        environment: HostEnvironment,
        simulators: Simulators,
        policy: Policy,
        act: Callable[[Policy, Memory, np.ndarray, np.ndarray], Acted],
        episodes: Episodes,
        uniform: Float[np.ndarray, "t e r"],
        seeds: UInt32[np.ndarray, "t+1 e"],
        world: World,
    ) -> None:
        self._simulators, self._policy, self._act = simulators, policy, act
        self._uniform, self._seeds, self._world = uniform, seeds, world
        self._observation: Any = np.array(episodes.observation)
        self._reward_sum: Any = np.array(episodes.reward_sum)
        self._length: Any = np.array(episodes.length)
        self.remembered = self._memory = episodes.memory
        self._sound = True
        self._acted: list[Any] = []
        steps, copies = uniform.shape[:2]
        seen = (steps, copies, *environment.observation_shape)
        self._observations: Any = np.zeros(seen, environment.observation_dtype)
        self._successors = np.zeros_like(self._observations)
        self._rewards: Any = np.zeros((steps, copies), np.float32)
        self._terminated: Any = np.zeros((steps, copies), bool)
        self._truncated: Any = np.zeros((steps, copies), bool)
        tallies: Any = np.zeros((3, copies), np.float32)
        self._finished = Finished(*tallies, measures={})

    def begin(self) -> None:
        """Drops the episodes that are under way and begins others."""
        every = np.ones(len(self._length), bool)
        self._observation = self._simulators.restart(every, self._seeds[0], self._world)
        self._reward_sum[:] = 0
        self._length[:] = 0
        self.remembered = self._memory = forget(self._memory, every)

    def act(self, t: int) -> None:
        """Has the policy act at step `t`, and the copies begin their steps."""
        self._observations[t] = self._observation
        acted: Any = self._act(self._policy, self._memory, self._observation, self._uniform[t])
        acted = jax.tree.map(np.asarray, acted)
        self._memory = acted.memory
        self._acted.append(acted._replace(memory=None))
        self._sound = self._sound and bool(np.isfinite(acted.parameters).all())
        if self._sound:
            self._simulators.send(acted.given)

    def finish(self, t: int) -> None:
        """Waits for step `t` of the copies; those whose episode ended begin another."""
        if not self._sound:
            return
        after = self._simulators.receive()
        self._successors[t], self._rewards[t] = after.observation, after.reward
        self._terminated[t], self._truncated[t] = after.terminated, after.truncated
        self._sound = bool(np.isfinite(after.reward).all() and np.isfinite(after.observation).all())
        done = after.terminated | after.truncated
        self._reward_sum += after.score
        self._length += 1
        number, reward_sum, length, _ = self._finished
        number += done
        reward_sum += done * self._reward_sum
        length += done * self._length
        self._reward_sum *= ~done
        self._length *= ~done
        self._observation = after.observation
        if done.any():
            self._memory = forget(self._memory, done)
        if self._sound and done.any():
            fresh = self._simulators.restart(done, self._seeds[t + 1], self._world)
            self._observation = np.where(
                done.reshape(-1, *[1] * (fresh.ndim - 1)), fresh, after.observation
            )

    def collected(self) -> tuple[Episodes, Batch, Finished]:
        """Where the copies stand now, what was seen, and the episodes that ended.

        The copies' states stay with them.
        """
        acted: Any = jax.tree.map(lambda *steps: np.stack(steps), *self._acted)
        episodes = Episodes((), self._observation, self._reward_sum, self._length, self._memory)
        batch = Batch(
            observation=self._observations,
            successor=self._successors,
            action=acted.action,
            parameters=acted.parameters,
            mask=None,
            reward=self._rewards,
            terminated=self._terminated,
            truncated=self._truncated,
        )
        return episodes, batch, self._finished
