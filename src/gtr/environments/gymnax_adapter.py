"""Environments of gymnax, stepped without its automatic reset."""

import difflib
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from gtr.environments.protocol import Box, Discrete, State, Step, World
from gtr.environments.spaces import action_space
from gtr.errors import GTRError


@dataclass(frozen=True)
class Gymnax:
    """One environment of gymnax (Lange 2022, https://github.com/RobertTLange/gymnax).

    `step_env` is called in place of `step`, so that no episode is reset behind the learner's back
    and the last observation of an episode is seen. Every leaf of the state has one dtype, with no
    weak types, before and after a step: the state can be the carry of a scan.

    Observations are float32, but for MinAtar's grids of zeros and ones, which are bool (height,
    width, channels): a quarter of the memory that a rollout writes. Rewards are float32.

    Attributes:
        env_id: gymnax's name, as in "CartPole-v1".
        full_action_set: MinAtar only: all six actions of MinAtar (none, left, up, right, down,
            fire), of which those that a game does not know do nothing, in place of the game's own.

    Raises:
        GTRError: there is no such environment, or its actions are neither a range of integers nor
            a box with the same limits in every component.
    """

    env_id: str
    full_action_set: bool = False
    observation_shape: tuple[int, ...] = field(init=False, compare=False, repr=False)
    action_space: Discrete | Box = field(init=False, compare=False, repr=False)
    _env: Any = field(init=False, compare=False, repr=False)
    _params: Any = field(init=False, compare=False, repr=False)
    _observation_dtype: Any = field(init=False, compare=False, repr=False)
    _state_dtypes: Any = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Importing gymnax takes seconds, which neither `gtr --help` nor a run of another
        # environment should pay.
        import gymnax

        if self.env_id not in gymnax.registered_envs:
            close = difflib.get_close_matches(self.env_id, gymnax.registered_envs, 3, 0.4)
            raise GTRError(
                f"gymnax has no environment {self.env_id!r}; "
                f"close to it: {', '.join(close or gymnax.registered_envs)}."
            )
        minatar = self.env_id.endswith("-MinAtar")
        if self.full_action_set and not minatar:
            raise GTRError(f"{self.env_id} has one action set; leave out full_action_set.")
        options = {"use_minimal_action_set": False} if self.full_action_set else {}
        env, params = gymnax.make(self.env_id, **options)
        space = action_space(self.env_id, env.action_space(params))
        action = jax.ShapeDtypeStruct(
            space.shape if isinstance(space, Box) else (),
            jnp.float32 if isinstance(space, Box) else jnp.int32,
        )
        key = jax.eval_shape(lambda: jax.random.key(0))
        observation, first = jax.eval_shape(lambda k: env.reset_env(k, params), key)
        _, second, *_ = jax.eval_shape(
            lambda k, s, a: env.step_env(k, s, a, params), key, first, action
        )
        assign = object.__setattr__
        assign(self, "_env", env)
        assign(self, "_params", params)
        assign(self, "action_space", space)
        assign(self, "observation_shape", observation.shape)
        assign(self, "_observation_dtype", jnp.dtype(bool if minatar else jnp.float32))
        # A reset and a step may disagree on a leaf (a Python int against a float32): the wider
        # dtype holds both.
        assign(
            self,
            "_state_dtypes",
            jax.tree.map(lambda a, b: jnp.promote_types(a.dtype, b.dtype), first, second),
        )

    def world(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> World:
        """Nothing: gymnax's default parameters throughout, as constants."""
        del key, phase
        return ()

    def reset(self, key: PRNGKeyArray, world: World) -> tuple[State, Array]:
        """A fresh episode; see `Environment.reset`."""
        del world
        observation, state = self._env.reset_env(key, self._params)
        return self._typed(state), observation.astype(self._observation_dtype)

    def step(self, key: PRNGKeyArray, state: State, action: Array, world: World) -> Step:
        """One transition; an episode that ends at its time limit in a terminal state terminates."""
        del world
        observation, state, reward, terminated, _ = self._env.step_env(
            key, state, action, self._params
        )
        terminated = jnp.asarray(terminated, bool)
        truncated = jnp.asarray(self._env.is_truncated(state, self._params), bool) & ~terminated
        return Step(
            state=self._typed(state),
            observation=observation.astype(self._observation_dtype),
            reward=jnp.asarray(reward, jnp.float32).reshape(()),
            terminated=terminated,
            truncated=truncated,
        )

    def action_mask(self, state: State, world: World) -> Bool[Array, " n"] | None:
        """None: all actions are always allowed."""
        del state, world
        return None

    def _typed(self, state: State) -> State:
        return jax.tree.map(
            lambda leaf, dtype: jax.lax.convert_element_type(leaf, dtype), state, self._state_dtypes
        )
