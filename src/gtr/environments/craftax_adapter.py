"""Craftax and Craftax-Classic, stepped without their automatic reset."""

from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gtr.environments.protocol import Discrete, State, Step, World
from gtr.errors import GTRError

_NAMES = ("Craftax-Classic-Symbolic-v1", "Craftax-Symbolic-v1")
_IMPLEMENTATION = "threefry2x32"
_FOR_EVER = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Craftax:
    """Craftax (Matthews et al. 2024, arXiv:2402.16801, https://github.com/MichaelTMatthews/Craftax).

    The reward is craftax's own: what an achievement is worth when it is unlocked for the first time
    in an episode (1 in Classic; 1, 3, 5 or 8 in the full game), and 0.1 for each point of health
    won, -0.1 for each lost. An episode terminates with the player's death and is truncated after
    10,000 steps (full game: 100,000).

    States are craftax's, with two differences: every leaf has one dtype, with no weak types, before
    and after a step, and `state_rng` is the key's two uint32 words, so that a state can be saved.
    Observations are float32 (1345,) (full game: (8268,)); most are zeros and ones.

    Attributes:
        env_id: "Craftax-Classic-Symbolic-v1" or "Craftax-Symbolic-v1".
        achievements: their names, in the order of the state's `achievements`.
        rewards: what each is worth.
        reset_interval: a reset makes a world, which takes as long as several steps, and hardly an
            episode is shorter than this (`protocol.reset_interval`).

    Raises:
        GTRError: there is no such environment, or craftax is not installed.
    """

    env_id: str
    observation_shape: tuple[int, ...] = field(init=False, compare=False, repr=False)
    action_space: Discrete = field(init=False, compare=False, repr=False)
    achievements: tuple[str, ...] = field(init=False, compare=False, repr=False)
    rewards: tuple[float, ...] = field(init=False, compare=False, repr=False)
    reset_interval: int = field(default=64, init=False, compare=False, repr=False)
    _env: Any = field(init=False, compare=False, repr=False)
    _params: Any = field(init=False, compare=False, repr=False)
    _state_dtypes: Any = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.env_id not in _NAMES:
            raise GTRError(f"No Craftax {self.env_id!r}; there is {', '.join(_NAMES)}.")
        # craftax is an extra, and importing it takes a second.
        try:
            from craftax.craftax_env import make_craftax_env_from_name
        except ModuleNotFoundError as error:
            raise GTRError(
                f"{self.env_id} needs the package craftax: pip install 'gtr-rl[craftax]'"
            ) from error
        if self.env_id == "Craftax-Symbolic-v1":
            from craftax.craftax.constants import ACHIEVEMENT_REWARD_MAP, Achievement

            worth = np.asarray(ACHIEVEMENT_REWARD_MAP, float)
        else:
            from craftax.craftax_classic.constants import Achievement

            worth = np.ones(len(Achievement))
        env: Any = make_craftax_env_from_name(self.env_id, auto_reset=False)
        params: Any = env.default_params
        key = jax.eval_shape(lambda: jax.random.key(0, impl=_IMPLEMENTATION))

        def start(key: PRNGKeyArray) -> tuple[Array, State]:
            observation, state = env.reset_env(key, params)
            return observation, _storable(state)

        observation, first = jax.eval_shape(start, key)
        ordered = sorted(Achievement, key=lambda one: one.value)
        assign = object.__setattr__
        assign(self, "_env", env)
        assign(self, "_params", params)
        assign(self, "observation_shape", observation.shape)
        assign(self, "action_space", Discrete(int(env.num_actions)))
        assign(self, "achievements", tuple(one.name.lower() for one in ordered))
        assign(self, "rewards", tuple(worth.tolist()))
        assign(self, "_state_dtypes", jax.tree.map(lambda leaf: leaf.dtype, first))

    def world(self, key: PRNGKeyArray, phase: Int[Array, ""]) -> World:
        """Nothing: craftax's default parameters throughout, as constants."""
        del key, phase
        return ()

    def reset(self, key: PRNGKeyArray, world: World) -> tuple[State, Array]:
        """A fresh episode in a world of its own; see `Environment.reset`."""
        del world
        observation, state = self._env.reset_env(key, self._params)
        return self._typed(state), observation

    def step(self, key: PRNGKeyArray, state: State, action: Array, world: World) -> Step:
        """One transition; a player who dies at the time limit terminates the episode."""
        del world
        key_of_state = jax.random.wrap_key_data(state.state_rng, impl=_IMPLEMENTATION)
        observation, after, reward, done, _ = self._env.step_env(
            key, state.replace(state_rng=key_of_state), action, self._params
        )
        terminated = self._env.is_terminal(after, self._params.replace(max_timesteps=_FOR_EVER))
        return Step(
            state=self._typed(after),
            observation=observation,
            reward=jnp.asarray(reward, jnp.float32),
            terminated=terminated,
            truncated=done & ~terminated,
        )

    def action_mask(self, state: State, world: World) -> Bool[Array, " n"] | None:
        """None: all actions are always allowed."""
        del state, world
        return None

    def episode_measures(self, state: State, world: World) -> dict[str, Float[Array, ""]]:
        """The field's two measures of an episode, whatever the world rewards.

        Returns:
            `score_percent`: the return of craftax's own reward in percent of what all achievements
            are worth, the score of the paper's tables. `achievement/<name>`: 1 where the
            achievement was unlocked, 0 where not, so that a mean over episodes is a success rate.
        """
        del world
        unlocked = state.achievements.astype(jnp.float32)
        # Points of health won and lost add up to what is left of them, less the 9 of the start.
        total = jnp.sum(unlocked * jnp.array(self.rewards)) + 0.1 * (state.player_health - 9.0)
        return {"score_percent": total * (100.0 / sum(self.rewards))} | {
            f"achievement/{name}": unlocked[number] for number, name in enumerate(self.achievements)
        }

    def _typed(self, state: State) -> State:
        return jax.tree.map(
            lambda leaf, dtype: jax.lax.convert_element_type(leaf, dtype),
            _storable(state),
            self._state_dtypes,
        )


def _storable(state: State) -> State:
    """The state with its typed key as words: what a file holds is arrays of numbers."""
    return state.replace(state_rng=jax.random.key_data(state.state_rng))
