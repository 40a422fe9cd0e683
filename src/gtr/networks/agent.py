"""Policy and critic as the learner holds them: pytrees of arrays."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gtr.networks.architectures import Architecture
from gtr.networks.cores import Memory
from gtr.networks.distributions import Distribution
from gtr.networks.network import Network, Segment, build


class Actor(eqx.Module):
    """A network whose outputs, with free parameters appended, are a distribution's parameters."""

    network: Network
    free: Float[Array, " p"]

    def __call__(self, seen: Array | Segment) -> Float[Array, "n p"]:
        """Parameters of the distribution over actions, for what `Network.features` takes."""
        return self._with_free(self.network(seen))

    def of_features(self, features: Float[Array, "n f"]) -> Float[Array, "n p"]:
        """The same from what the head is given (`Network.features`)."""
        return self._with_free(self.network.head(features))

    def step(self, memory: Memory, observation: Array) -> tuple[Memory, Float[Array, "e p"]]:
        """The memory after a step with observations (e, ...), and what to act by."""
        memory, outputs = self.network.step(memory, observation)
        return memory, self._with_free(outputs)

    def read(self, segment: Segment) -> tuple[Memory, Float[Array, "t e p"]]:
        """The same for all steps of stretches of time."""
        memory, outputs = self.network.read(segment)
        return memory, self._with_free(outputs)

    def _with_free(self, outputs: Float[Array, "... o"]) -> Float[Array, "... p"]:
        free = jnp.broadcast_to(self.free, (*outputs.shape[:-1], self.free.shape[0]))
        return jnp.concatenate([outputs, free], -1)


class Critic(eqx.Module):
    """A network with one output."""

    network: Network

    def __call__(self, seen: Array | Segment) -> Float[Array, " n"]:
        """Values, for what `Network.features` takes."""
        return self.network(seen)[:, 0]

    def step(self, memory: Memory, observation: Array) -> tuple[Memory, Float[Array, " e"]]:
        """The memory after a step with observations (e, ...), and their values."""
        memory, outputs = self.network.step(memory, observation)
        return memory, outputs[:, 0]

    def read(self, segment: Segment) -> tuple[Memory, Float[Array, "t e"]]:
        """The same for all steps of stretches of time."""
        memory, outputs = self.network.read(segment)
        return memory, outputs[..., 0]

    def aside(self, segment: Segment, other: Array) -> Float[Array, "t e"]:
        """Values of other observations after each step (`Network.aside`)."""
        return self.network.aside(segment, other)[..., 0]


def build_agent(
    rng: np.random.Generator,
    architecture: Architecture,
    observation_shape: tuple[int, ...],
    distribution: Distribution,
) -> tuple[Actor, Critic]:
    """Fresh actor and critic, as host arrays."""
    actor = build(rng, architecture, observation_shape, distribution.outputs, head_scale=0.01)
    critic = build(rng, architecture, observation_shape, 1, head_scale=1.0)
    free: Any = np.zeros(distribution.free, np.float32)
    return Actor(actor, free), Critic(critic)
