"""An environment whose copies differ a thousandfold in what they pay."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from gtr.environments.protocol import Box, Discrete, Step


@dataclass(frozen=True)
class Uneven:
    """Each episode pays in a currency of its own, from 0.03 to 30, and ends after up to 5 steps.

    So do the copies that one device has and those of another: a mean, a deviation or a maximum that
    is of one device's part is far from that of all. Half of the episodes terminate, half are
    truncated.
    """

    continuous: bool = False
    observation_shape: tuple[int, ...] = (3,)

    @property
    def action_space(self) -> Discrete | Box:
        return Box((2,), -1.0, 1.0) if self.continuous else Discrete(3)

    def world(self, key: Any, phase: Any) -> Any:
        return jax.random.normal(jax.random.fold_in(key, phase))

    def reset(self, key: Any, world: Any) -> tuple[Any, Any]:
        draws = jax.random.uniform(key, (2,), minval=-1.5, maxval=1.5)
        state = (jnp.int32(0), 10.0 ** draws[0], draws[1])
        return state, self._observe(state, world)

    def step(self, key: Any, state: Any, action: Any, world: Any) -> Step:
        time, currency, wanted = state
        wanted = wanted + 0.3 * jax.random.normal(key)
        state = (time + jnp.int32(1), currency, wanted)
        did = jnp.mean(action) if self.continuous else action - 1.0
        ends = state[0] >= 2 + jnp.int32(currency > 1) * 3
        terminates = wanted > 0
        return Step(
            state,
            self._observe(state, world),
            -currency * (did - wanted) ** 2,
            ends & terminates,
            ends & ~terminates,
        )

    def action_mask(self, state: Any, world: Any) -> Any:
        return None

    def _observe(self, state: Any, world: Any) -> Any:
        time, currency, wanted = state
        return jnp.stack([time / 5, jnp.log10(currency), wanted + world]).astype(jnp.float32)
