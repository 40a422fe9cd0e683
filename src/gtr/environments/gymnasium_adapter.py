"""Environments of Gymnasium, one copy at a time."""

import difflib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
from jaxtyping import UInt8

from gtr.environments.host import Transition
from gtr.environments.protocol import Box, Discrete, World
from gtr.environments.simulators import Simulated
from gtr.environments.spaces import action_space
from gtr.errors import GTRError


class Variation(ABC):
    """What changes in a Gymnasium environment from phase to phase; frozen, can be pickled."""

    @abstractmethod
    def draw(self, rng: np.random.Generator, phase: int) -> World:
        """The world of a phase from 1 on; plain data."""

    @abstractmethod
    def plain(self) -> World:
        """The world of phase 0: the environment as it is."""

    def enter(self, env: Any, world: World) -> None:
        """Alters the unwrapped environment, before each episode."""
        del env, world

    def reward(self, env: Any, reward: float, info: dict[str, Any], world: World) -> float:
        """The reward of a step that has just been made, in place of the environment's own."""
        del env, info, world
        return reward


@dataclass(frozen=True)
class Gymnasium(Simulated):
    """One environment of Gymnasium (Towers et al. 2024, https://gymnasium.farama.org).

    The environment itself is stepped, without Gymnasium's wrappers: episodes are cut at the time
    limit that it is registered with. Each episode draws what is random in it from a seed of its
    own. Observations are float32, and uint8 where the environment's are. A copy's state can be
    saved where the physics is MuJoCo's.

    Attributes:
        env_id: Gymnasium's name, as in "HalfCheetah-v5".
        options: arguments of the environment's constructor, as (name, value) pairs.
        variation: what changes; None for nothing.
        processes: how many processes the copies are dealt to; 0 keeps them in this one.

    Raises:
        GTRError: gymnasium or what the environment needs is not installed, there is no such
            environment, or its observations or actions are of a kind that is not supported.
    """

    env_id: str
    options: tuple[tuple[str, Any], ...] = ()
    variation: Variation | None = None
    processes: int = 0
    name: str = field(init=False, compare=False, repr=False)
    observation_shape: tuple[int, ...] = field(init=False, compare=False, repr=False)
    action_space: Discrete | Box = field(init=False, compare=False, repr=False)
    observation_dtype: np.dtype = field(init=False, compare=False, repr=False)
    saved_bytes: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        copy = self.start()
        space = copy.env.observation_space
        if getattr(space, "shape", None) is None or not hasattr(space, "low"):
            raise GTRError(
                f"{self.env_id} has observations that are not supported: {space}; "
                "register it with a wrapper that makes arrays of them, as FlattenObservation"
            )
        dtype = np.uint8 if space.dtype == np.uint8 else np.float32
        for name, value in {
            "name": self.env_id,
            "observation_shape": tuple(space.shape),
            "action_space": action_space(self.env_id, copy.env.action_space),
            "observation_dtype": np.dtype(dtype),
            "saved_bytes": copy.saved_bytes,
        }.items():
            object.__setattr__(self, name, value)
        copy.close()

    def world(self, seed: int, phase: int) -> World:
        """The variation's; None where nothing varies."""
        if self.variation is None:
            return None
        if phase == 0:
            return self.variation.plain()
        return self.variation.draw(np.random.default_rng([seed, phase]), phase)

    def start(self) -> "GymnasiumCopy":
        """One copy."""
        try:
            import gymnasium
        except ImportError:
            raise GTRError(
                f"{self.env_id} is an environment of Gymnasium, which is not installed: "
                "pip install 'gtr-rl[robotics]'"
            ) from None
        try:
            env = gymnasium.make(self.env_id, disable_env_checker=True, **dict(self.options))
        except gymnasium.error.UnregisteredEnv:
            close = difflib.get_close_matches(self.env_id, gymnasium.registry, 3, 0.4)
            raise GTRError(
                f"gymnasium has no environment {self.env_id!r}"
                + (f"; close to it: {', '.join(close)}" if close else "")
            ) from None
        except Exception as error:  # whatever its constructor does not like
            line = (str(error).splitlines() or [""])[0]
            kind = type(error).__name__
            raise GTRError(f"{self.env_id} cannot be made: {kind}: {line}") from error
        limit = env.spec.max_episode_steps if env.spec else None
        return GymnasiumCopy(env.unwrapped, limit, self.variation)


class GymnasiumCopy:
    """One environment of Gymnasium, with its time limit and what varies in it.

    Args:
        env: unwrapped.
        limit: steps after which an episode is truncated.
        variation: what changes.
    """

    def __init__(self, env: Any, limit: int | None, variation: Variation | None) -> None:
        self.env, self._limit, self._variation = env, limit, variation
        self._world: World = None
        self._steps = 0

    def restart(self, seed: int, world: World) -> np.ndarray:
        """See `Copy.restart`."""
        self._enter(world)
        self._steps = 0
        observation, _ = self.env.reset(seed=seed)
        return observation

    def step(self, action: np.ndarray) -> Transition:
        """See `Copy.step`."""
        given = int(action) if action.ndim == 0 else action
        observation, reward, terminated, truncated, info = self.env.step(given)
        self._steps += 1
        if self._variation is not None:
            reward = self._variation.reward(self.env, float(reward), info, self._world)
        late = self._limit is not None and self._steps >= self._limit
        return Transition(observation, reward, terminated, truncated or late)

    @cached_property
    def saved_bytes(self) -> int:
        """Bytes that hold the state; 0 where it cannot be had."""
        return self._numbers().nbytes if self._is_mujoco else 0

    def save(self) -> UInt8[np.ndarray, " n"]:
        """See `Copy.save`."""
        return self._numbers().view(np.uint8)

    def restore(self, saved: UInt8[np.ndarray, " n"], world: World) -> None:
        """See `Copy.restore`."""
        self._enter(world)
        # A reset leaves what the environment keeps beside the physics as an episode has it.
        self.env.reset(seed=0)
        model, data = self.env.model, self.env.data
        numbers = np.ascontiguousarray(saved).view(np.float64)
        self._steps = int(numbers[0])
        size = _mujoco().mj_stateSize(model, _mujoco().mjtState.mjSTATE_INTEGRATION)
        state, *rest = np.split(numbers[1:], [size, size + data.xpos.size])
        _mujoco().mj_setState(model, data, state, _mujoco().mjtState.mjSTATE_INTEGRATION)
        for array, values in zip((data.xpos, data.xipos), rest, strict=True):
            array[:] = values.reshape(array.shape)

    def render(self) -> UInt8[np.ndarray, "h w 3"]:
        """A picture of the present state; the environment must be made for `rgb_array`."""
        return self.env.render()

    def close(self) -> None:
        """See `Copy.close`."""
        self.env.close()

    @property
    def _is_mujoco(self) -> bool:
        # Somebody else's environment may keep more than its physics.
        return type(self.env).__module__.startswith("gymnasium.envs.mujoco.")

    def _enter(self, world: World) -> None:
        self._world = world
        if self._variation is not None:
            self._variation.enter(self.env, world)

    def _numbers(self) -> np.ndarray:
        model, data = self.env.model, self.env.data
        kind = _mujoco().mjtState.mjSTATE_INTEGRATION
        state = np.empty(_mujoco().mj_stateSize(model, kind))
        _mujoco().mj_getState(model, data, state, kind)
        # Positions of bodies are those before the last substep, which some rewards look back on;
        # the state of the integration alone would give other ones.
        return np.concatenate([[self._steps], state, data.xpos.ravel(), data.xipos.ravel()])


def _mujoco() -> Any:
    return import_module("mujoco")
