"""What can change from phase to phase: each change wraps an environment and is one itself.

Changes compose: `ActionPermutation(ObservationPermutation(env))`. Each draws from a key of its own,
so two changes in one composition are independent. Phase 0 is the environment unchanged.
"""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gtr.environments.craftax_adapter import Craftax
from gtr.environments.protocol import (
    Box,
    Discrete,
    Environment,
    State,
    Step,
    World,
    episode_measures,
    reset_interval,
)
from gtr.errors import GTRError


class Changed(NamedTuple):
    """The world of a change: the wrapped environment's, and what the change adds to it."""

    inner: World
    change: Any


@dataclass(frozen=True)
class _Change(ABC):
    """An environment that behaves as the one it wraps; the changes override what they alter."""

    env: Environment

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return self.env.observation_shape

    @property
    def action_space(self) -> Discrete | Box:
        """The actions that `step` takes."""
        return self.env.action_space

    @property
    def reset_interval(self) -> int:
        """The wrapped environment's; see `protocol.reset_interval`."""
        return reset_interval(self.env)

    def world(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> Changed:
        """The wrapped environment's world and this change, from independent keys."""
        phase = jnp.asarray(phase, jnp.int32)
        inner, own = jax.random.split(key)
        return Changed(self.env.world(inner, phase), self._draw(own, phase))

    def reset(self, key: PRNGKeyArray, world: Changed) -> tuple[State, Array]:
        """A fresh episode; see `Environment.reset`."""
        state, observation = self.env.reset(key, world.inner)
        return state, self._observe(observation, world.change)

    def step(self, key: PRNGKeyArray, state: State, action: Array, world: Changed) -> Step:
        """One transition; see `Environment.step`."""
        step = self.env.step(key, state, action, world.inner)
        return step._replace(observation=self._observe(step.observation, world.change))

    def action_mask(self, state: State, world: Changed) -> Bool[Array, " n"] | None:
        """The wrapped environment's mask."""
        return self.env.action_mask(state, world.inner)

    def episode_measures(self, state: State, world: Changed) -> dict[str, Float[Array, ""]]:
        """The wrapped environment's; see `protocol.episode_measures`."""
        return episode_measures(self.env, state, world.inner)

    @abstractmethod
    def _draw(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> Any: ...

    def _observe(self, observation: Array, change: Any) -> Array:
        del change
        return observation


@dataclass(frozen=True)
class ObservationOffset(_Change):
    """A fixed offset is added to every observation, redrawn in each phase, none in phase 0.

    Each component is drawn from N(0, scale), with `scale` the standard deviation: TRAC (Muppidi et
    al. 2024) and C-CHAIN (Tang et al. 2025) both draw `np.random.normal(0, 2, shape)`, whose second
    argument is that. The change is float32 of the observation's shape; so are observations.

    Attributes:
        scale: standard deviation, in the observation's units.
    """

    scale: float = 2.0

    def _draw(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> Float[Array, " ..."]:
        key = jax.random.fold_in(key, phase)
        offset = self.scale * jax.random.normal(key, self.observation_shape, jnp.float32)
        return jnp.where(phase == 0, 0.0, offset)

    def _observe(self, observation: Array, change: Float[Array, " ..."]) -> Array:
        return observation.astype(jnp.float32) + change


@dataclass(frozen=True)
class ObservationPermutation(_Change):
    """The last axis of every observation is permuted: components of a vector, channels of a grid.

    A permutation is drawn uniformly in each phase, so that it may by chance be the identity or the
    one before; in phase 0 it is the identity. The change is int32 (n,): component i of what is
    seen is component `change[i]` of what the wrapped environment shows.
    """

    def _draw(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> Int[Array, " n"]:
        return _permutation(key, phase, self.observation_shape[-1])

    def _observe(self, observation: Array, change: Int[Array, " n"]) -> Array:
        return observation[..., change]


@dataclass(frozen=True)
class ActionPermutation(_Change):
    """Discrete actions are permuted, and the action mask with them.

    Drawn as in `ObservationPermutation`. The change is int32 (n,): action i does what action
    `change[i]` does in the wrapped environment.

    Raises:
        GTRError: the wrapped environment's actions are continuous.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.env.action_space, Discrete):
            raise GTRError("ActionPermutation needs discrete actions.")

    def step(self, key: PRNGKeyArray, state: State, action: Array, world: Changed) -> Step:
        """One transition under the action that `action` stands for."""
        return super().step(key, state, world.change[action], world)

    def action_mask(self, state: State, world: Changed) -> Bool[Array, " n"] | None:
        """The wrapped environment's mask, permuted as the actions are."""
        mask = super().action_mask(state, world)
        return None if mask is None else mask[world.change]

    def _draw(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> Int[Array, " n"]:
        space = self.env.action_space
        assert isinstance(space, Discrete)
        return _permutation(key, phase, space.n)


@dataclass(frozen=True)
class RewardSign(_Change):
    """Rewards are as they were in even phases and of the opposite sign in odd ones.

    The change is the sign, a float32 scalar.
    """

    def step(self, key: PRNGKeyArray, state: State, action: Array, world: Changed) -> Step:
        """One transition, its reward times the sign."""
        step = super().step(key, state, action, world)
        return step._replace(reward=step.reward * world.change)

    def _draw(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> Float[Array, ""]:
        del key
        return jnp.where(phase % 2 == 0, jnp.float32(1), jnp.float32(-1))


@dataclass(frozen=True)
class Goals(_Change):
    """Some achievements of Craftax are rewarded and the others are not, other ones each phase.

    In phase 0 all are rewarded. From then on one set of goals follows another, in an order that is
    drawn from the schedule's key and then repeated: every schedule meets all sets alike, and
    never one twice in a row. What an achievement is worth stays as it was, and so does the reward
    for health.

    The change is bool (achievements,), in the order of the environment's: which are rewarded.

    Attributes:
        env: a Craftax.
        goals: the sets, by the achievements' names; at least two.

    Raises:
        GTRError: there are fewer than two sets, or a name is not that of an achievement.
    """

    env: Craftax
    goals: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if len(self.goals) < 2:
            raise GTRError("Goals needs at least two sets of achievements.")
        for name in (name for names in self.goals for name in names):
            if name not in self.env.achievements:
                close = difflib.get_close_matches(name, self.env.achievements, 3)
                raise GTRError(
                    f"{self.env.env_id} has no achievement {name!r}; "
                    f"there is {', '.join(close or self.env.achievements)}."
                )

    def step(self, key: PRNGKeyArray, state: State, action: Array, world: Changed) -> Step:
        """One transition; its reward is less by what the achievements that do not count paid."""
        step = super().step(key, state, action, world)
        unlocked = step.state.achievements & ~state.achievements
        unrewarded = jnp.sum(jnp.array(self.env.rewards), where=unlocked & ~world.change)
        return step._replace(reward=step.reward - unrewarded)

    def _draw(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> Bool[Array, " n"]:
        sets = jnp.array(
            [[name in names for name in self.env.achievements] for names in self.goals]
        )
        order = jax.random.permutation(key, len(self.goals))
        return (phase == 0) | sets[order[(phase - 1) % len(self.goals)]]


class Turn(NamedTuple):
    """The world of a cycle: which environment is active (int32), and the worlds of all of them."""

    active: Int[Array, ""]
    worlds: tuple[World, ...]


@dataclass(frozen=True)
class Cycle:
    """Several environments in turn: environment number `phase % n` is active.

    An environment's own phase is how often it has been visited before, `phase // n`.

    The state is the tuple of all environments' states, those of inactive ones zero, so it is only
    valid within one phase: start fresh episodes when the phase changes.

    Observations are padded with zeros at the end of every axis to the largest shape, and have the
    dtype that holds all of them. Discrete actions are those of the environment with most; actions
    beyond the active environment's own are masked. (Environments that give one meaning to each
    number in a common set, as `Gymnax(..., full_action_set=True)` does, need no mask, and betray
    nothing of which is active: this is how MinAtar and the Atari benchmarks do it.)

    Only the active environment is computed as long as `world.active` is not mapped over, that is,
    where `world` is called with an unmapped phase inside the mapped function. Mapped over, JAX
    turns the switch into a selection among the results of all.

    Attributes:
        envs: the environments, in order.

    Raises:
        GTRError: there is none, observations differ in their number of axes, or continuous actions
            differ.
    """

    envs: tuple[Environment, ...]
    observation_shape: tuple[int, ...] = field(init=False, compare=False, repr=False)
    action_space: Discrete | Box = field(init=False, compare=False, repr=False)
    _observation_dtype: Any = field(init=False, compare=False, repr=False)
    _states: tuple[State, ...] = field(init=False, compare=False, repr=False)
    _masked: bool = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.envs:
            raise GTRError("Cycle needs at least one environment.")
        shapes = [env.observation_shape for env in self.envs]
        if len({len(shape) for shape in shapes}) > 1:
            raise GTRError(f"Cycle cannot pad observations of shapes {shapes} to one shape.")
        starts = [jax.eval_shape(lambda env=env: _start(env)) for env in self.envs]
        spaces = [env.action_space for env in self.envs]
        masks = [mask for _, _, mask in starts]
        assign = object.__setattr__
        assign(self, "action_space", _common_space(spaces))
        assign(self, "observation_shape", tuple(max(sizes) for sizes in zip(*shapes, strict=True)))
        assign(
            self,
            "_observation_dtype",
            jnp.result_type(*(observation.dtype for _, observation, _ in starts)),
        )
        assign(self, "_states", tuple(state for state, _, _ in starts))
        assign(self, "_masked", any(mask is not None for mask in masks) or len(set(spaces)) > 1)

    @property
    def reset_interval(self) -> int:
        """The longest of the environments'; see `protocol.reset_interval`."""
        return max(reset_interval(env) for env in self.envs)

    def world(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> Turn:
        """Which environment is active, and every environment's world at its own phase."""
        phase = jnp.asarray(phase, jnp.int32)
        visit = phase // len(self.envs)
        return Turn(
            phase % len(self.envs),
            tuple(
                env.world(jax.random.fold_in(key, number), visit)
                for number, env in enumerate(self.envs)
            ),
        )

    def reset(self, key: PRNGKeyArray, world: Turn) -> tuple[State, Array]:
        """A fresh episode of the active environment."""

        def branch(number: int) -> tuple[State, Array]:
            state, observation = self.envs[number].reset(key, world.worlds[number])
            empty = [
                jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), other)
                for other in self._states
            ]
            return _replaced(tuple(empty), number, state), self._padded(observation)

        return self._switch(world, branch)

    def step(self, key: PRNGKeyArray, state: State, action: Array, world: Turn) -> Step:
        """One transition of the active environment."""

        def branch(number: int) -> Step:
            step = self.envs[number].step(key, state[number], action, world.worlds[number])
            return step._replace(
                state=_replaced(state, number, step.state),
                observation=self._padded(step.observation),
            )

        return self._switch(world, branch)

    def action_mask(self, state: State, world: Turn) -> Bool[Array, " n"] | None:
        """The active environment's mask, False beyond its own actions; None where none is needed.

        None: no environment masks an action, and all have the same actions.
        """
        if not self._masked:
            return None
        space = self.action_space
        assert isinstance(space, Discrete)

        def branch(number: int) -> Bool[Array, " n"]:
            own = self.envs[number].action_space
            assert isinstance(own, Discrete)
            mask = self.envs[number].action_mask(state[number], world.worlds[number])
            allowed = jnp.ones(own.n, bool) if mask is None else mask
            return jnp.pad(allowed, (0, space.n - own.n))

        return self._switch(world, branch)

    def _switch(self, world: Turn, branch: Callable[[int], Any]) -> Any:
        # Closures make the number of a branch static, which indexing the tuples needs.
        return jax.lax.switch(
            world.active, [lambda number=number: branch(number) for number in range(len(self.envs))]
        )

    def _padded(self, observation: Array) -> Array:
        widths = [
            (0, full - own)
            for full, own in zip(self.observation_shape, observation.shape, strict=True)
        ]
        return jnp.pad(observation.astype(self._observation_dtype), widths)


def _permutation(key: PRNGKeyArray, phase: Int[Array, ""], n: int) -> Int[Array, " n"]:
    identity = jnp.arange(n, dtype=jnp.int32)
    drawn = jax.random.permutation(jax.random.fold_in(key, phase), identity)
    return jnp.where(phase == 0, identity, drawn)


def _start(env: Environment) -> tuple[State, Array, Array | None]:
    """State, observation and mask at the start of an episode."""
    key = jax.random.key(0)
    world = env.world(key, jnp.int32(0))
    state, observation = env.reset(key, world)
    return state, observation, env.action_mask(state, world)


def _common_space(spaces: list[Discrete | Box]) -> Discrete | Box:
    """One action space for all: the largest discrete one, or the box they share."""
    discrete = [space.n for space in spaces if isinstance(space, Discrete)]
    if len(discrete) == len(spaces):
        return Discrete(max(discrete))
    if len(set(spaces)) == 1:
        return spaces[0]
    raise GTRError(f"Cycle cannot give one action space to {spaces}.")


def _replaced(states: tuple[State, ...], number: int, state: State) -> tuple[State, ...]:
    return (*states[:number], state, *states[number + 1 :])
