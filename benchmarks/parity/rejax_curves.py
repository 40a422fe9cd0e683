"""Learning curves of rejax's PPO: the returns of its training episodes.

rejax reports evaluations only. Here an environment that counts what its episodes return is put
under it, and its callback reads the counts after each iteration; the training is rejax's own.
"""

from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
from cases import parse
from flax import struct
from rejax_worker import make_ppo
from settings import GYMNAX_NAMES


@struct.dataclass
class Counted:
    """An environment's state with the return so far, and sums over its finished episodes."""

    inner: Any
    running: jax.Array
    total: jax.Array
    episodes: jax.Array


class CountReturns:
    """An environment of gymnax 0.0.9 whose state also counts what its episodes return."""

    def __init__(self, environment: gymnax.environments.environment.Environment) -> None:
        self._environment = environment
        self.action_space = environment.action_space
        self.observation_space = environment.observation_space
        self.default_params = environment.default_params

    def reset(self, key: jax.Array, parameters: Any) -> tuple[jax.Array, Counted]:
        """Begin the first episode."""
        observation, inner = self._environment.reset(key, parameters)
        return observation, Counted(inner, jnp.float32(0), jnp.float32(0), jnp.int32(0))

    def step(self, key: jax.Array, state: Counted, action: jax.Array, parameters: Any) -> tuple:
        """One step; the next episode begins by itself."""
        observation, inner, reward, done, info = self._environment.step(
            key, state.inner, action, parameters
        )
        running = state.running + reward
        state = Counted(
            inner,
            running * (1 - done),
            state.total + running * done,
            state.episodes + done.astype(jnp.int32),
        )
        return observation, state, reward, done, info


def main() -> None:
    case = parse(__doc__)
    environment, _ = gymnax.make(GYMNAX_NAMES[case.environment])
    algorithm = make_ppo(
        CountReturns(environment),
        case.settings,
        case.iterations * case.settings.batch,
        eval_freq=case.settings.batch,
    ).replace(
        eval_callback=lambda _, state, __: (
            state.env_state.total.sum(),
            state.env_state.episodes.sum(),
        )
    )
    keys = jax.random.split(jax.random.PRNGKey(0), case.seeds)
    _, (totals, episodes) = jax.jit(jax.vmap(algorithm.train))(keys)
    case.write(np.diff(totals, prepend=0).tolist(), np.diff(episodes, prepend=0).tolist())


if __name__ == "__main__":
    main()
