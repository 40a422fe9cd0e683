"""Episodes of a policy that does not learn, one after another."""

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jaxtyping import Array, Float

from gtr.environments.host import HostEnvironment
from gtr.environments.protocol import Step, World
from gtr.environments.simulators import Simulated
from gtr.errors import GTRError
from gtr.learner.anchors import Policy
from gtr.learner.randomness import key_words, keys_of
from gtr.learner.state import Problem
from gtr.networks.cores import Memory
from gtr.networks.distributions import masked


class Moment(NamedTuple):
    """An episode after some steps.

    Attributes:
        scene: what a screen draws; outside JAX it is what it is only until the next moment.
        episode: its number, from 1.
        step: how many were made.
        total: return so far, undiscounted.
        over: whether this is the episode's end.
    """

    scene: Any
    episode: int
    step: int
    total: float
    over: bool


class Acted(NamedTuple):
    """What a step gives back."""

    scene: Any
    reward: float
    over: bool


class Stage(Protocol):
    """One copy of a problem's environment, in which policies can act."""

    def world(self, seed: int, phase: int) -> World:
        """The world that a run of this seed met in a phase, as host arrays."""
        ...

    def begin(self, policy: Policy, world: World, rng: np.random.Generator) -> Any:
        """A fresh episode; its scene."""
        ...

    def act(self, policy: Policy, world: World, rng: np.random.Generator) -> Acted:
        """One step of the episode; the action is drawn as in training."""
        ...

    def close(self) -> None:
        """Frees what is held."""
        ...


def stage_of(problem: Problem) -> Stage:
    """A stage for an environment in JAX or outside.

    Raises:
        GTRError: its copies cannot be looked at one by one.
    """
    environment = problem.environment
    if not isinstance(environment, HostEnvironment):
        return JaxStage(problem)
    if isinstance(environment, Simulated):
        return HostStage(problem, environment)
    raise GTRError(f"{environment.name} has no copies of its own to look at: derive from Simulated")


def play(stage: Stage, policy: Policy, world: World, rng: np.random.Generator) -> Iterator[Moment]:
    """Episodes without end: every moment of them, the first and the last too."""
    policy = jax.device_put(policy)
    for episode in count(1):
        scene = stage.begin(policy, world, rng)
        step, total, over = 0, 0.0, False
        yield Moment(scene, episode, step, total, over)
        while not over:
            scene, reward, over = stage.act(policy, world, rng)
            step, total = step + 1, total + reward
            yield Moment(scene, episode, step, total, over)


class JaxStage:
    """See `Stage`; scenes are states, as host arrays.

    Args:
        problem: its environment is one in JAX.
    """

    def __init__(self, problem: Problem) -> None:
        environment, distribution = problem.environment, problem.distribution
        assert not isinstance(environment, HostEnvironment)
        self._uniform = distribution.randomness
        self._world = jax.jit(problem.world)
        self._reset = jax.jit(environment.reset)
        self._now: Any = None

        @jax.jit
        def step(
            policy: Policy, key: Array, now: Any, uniform: Float[Array, " r"], world: World
        ) -> tuple[Memory, Step]:
            memory, state, observation = now
            memory, parameters = policy.step(memory, observation[None])
            parameters = masked(parameters[0], environment.action_mask(state, world))
            action = distribution.to_environment(
                distribution.sample(parameters, distribution.noise(uniform))
            )
            return memory, environment.step(key, state, action, world)

        self._step = step

    def world(self, seed: int, phase: int) -> World:
        """See `Stage.world`."""
        schedule = keys_of(key_words(seed, range(1))[0]).schedule
        return jax.device_get(self._world(schedule, phase))

    def begin(self, policy: Policy, world: World, rng: np.random.Generator) -> Any:
        """See `Stage.begin`."""
        self._now = (policy.memory(1), *self._reset(_key(rng), world))
        return jax.device_get(self._now[1])

    def act(self, policy: Policy, world: World, rng: np.random.Generator) -> Acted:
        """See `Stage.act`."""
        uniform = _uniform(rng, self._uniform)
        memory, after = self._step(policy, _key(rng), self._now, uniform, world)
        self._now = (memory, after.state, after.observation)
        state, reward, over = jax.device_get(
            (after.state, after.reward, after.terminated | after.truncated)
        )
        return Acted(state, float(reward), bool(over))

    def close(self) -> None:
        """See `Stage.close`."""


class HostStage:
    """See `Stage`; the scene is the copy itself.

    Args:
        problem: of the environment.
        environment: outside JAX.
    """

    def __init__(self, problem: Problem, environment: Simulated) -> None:
        distribution = problem.distribution
        self._problem, self._copy = problem, environment.start()
        self._dtype, self._uniform = environment.observation_dtype, distribution.randomness
        self._observation: Any = None
        self._memory: Memory = None

        @jax.jit
        def choose(
            policy: Policy, memory: Memory, observation: Array, uniform: Float[Array, " r"]
        ) -> tuple[Memory, Array]:
            memory, parameters = policy.step(memory, observation[None])
            action = distribution.sample(parameters[0], distribution.noise(uniform))
            return memory, distribution.to_environment(action)

        self._choose = choose

    def world(self, seed: int, phase: int) -> World:
        """See `Stage.world`."""
        return self._problem.world(seed, phase)

    def begin(self, policy: Policy, world: World, rng: np.random.Generator) -> Any:
        """See `Stage.begin`."""
        self._memory = policy.memory(1)
        self._see(self._copy.restart(int(rng.integers(2**32)), world))
        return self._copy

    def act(self, policy: Policy, world: World, rng: np.random.Generator) -> Acted:
        """See `Stage.act`."""
        uniform = _uniform(rng, self._uniform)
        self._memory, action = self._choose(policy, self._memory, self._observation, uniform)
        after = self._copy.step(np.asarray(action))
        self._see(after.observation)
        reward = after.reward if after.score is None else after.score
        return Acted(self._copy, float(reward), bool(after.terminated or after.truncated))

    def close(self) -> None:
        """See `Stage.close`."""
        self._copy.close()

    def _see(self, observation: np.ndarray) -> None:
        self._observation = np.array(observation, self._dtype)


def _key(rng: np.random.Generator) -> Array:
    words: Any = rng.integers(2**32, size=2, dtype=np.uint32)
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def _uniform(rng: np.random.Generator, number: int) -> Float[np.ndarray, " r"]:
    """Numbers in (0, 1), neither end among them."""
    return ((rng.integers(2**23, size=number) + 0.5) * 2.0**-23).astype(np.float32)
