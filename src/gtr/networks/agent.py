"""Policy and critic as the learner holds them: pytrees of arrays."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gtr.networks.architectures import Architecture
from gtr.networks.distributions import Distribution
from gtr.networks.network import Network, build


class Actor(eqx.Module):
    """A network whose outputs, with free parameters appended, are a distribution's parameters."""

    network: Network
    free: Float[Array, " p"]

    def __call__(self, observation: Array) -> Float[Array, "n p"]:
        """Parameters of the distribution over actions, for observations (n, ...)."""
        outputs = self.network(observation)
        free = jnp.broadcast_to(self.free, (outputs.shape[0], self.free.shape[0]))
        return jnp.concatenate([outputs, free], -1)


class Critic(eqx.Module):
    """A network with one output."""

    network: Network

    def __call__(self, observation: Array) -> Float[Array, " n"]:
        """Values of observations (n, ...)."""
        return self.network(observation)[:, 0]


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
