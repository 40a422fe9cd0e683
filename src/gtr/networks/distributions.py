"""Distributions over actions, as functions of the numbers that a policy network puts out.

Written here and not taken from distrax: importing that warns on current JAX and brings a nightly
build of TensorFlow Probability into the base install (docs/decisions.md). Each is a frozen object
without arrays, so a jitted function can close over it. Parameters have shape (..., p).
"""

import math
from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gtr.environments.protocol import Box, Discrete
from gtr.objective import movement

# Where an action is forbidden its logit is this: exp underflows to 0, and p log p stays finite.
_FORBIDDEN = -1e9
_LOG_2PI = math.log(2 * math.pi)
# Gauss-Hermite nodes for expectations under a standard normal; 16 give the squashing's entropy
# to 1e-3 for standard deviations up to 1.
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(16)
_NODE_WEIGHTS = _NODE_WEIGHTS / _NODE_WEIGHTS.sum()


class Distribution(Protocol):
    """What the learner needs of a distribution over actions."""

    @property
    def outputs(self) -> int:
        """Numbers that the network's head puts out."""
        ...

    @property
    def free(self) -> int:
        """Numbers that are parameters of their own, whatever the observation (log deviations)."""
        ...

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one stored action."""
        ...

    @property
    def randomness(self) -> int:
        """Uniform numbers that an action takes."""
        ...

    def noise(self, uniform: Float[Array, "... r"]) -> Array:
        """What `sample` takes, from numbers in (0, 1); for many steps ahead of their use."""
        ...

    def sample(self, parameters: Array, noise: Array) -> Array:
        """Actions, as stored in the batch."""
        ...

    def mode(self, parameters: Array) -> Array:
        """The most likely action."""
        ...

    def to_environment(self, action: Array) -> Array:
        """The stored action as the environment takes it."""
        ...

    def log_prob(self, parameters: Array, action: Array) -> Float[Array, "..."]:
        """Log-probability (density) of stored actions, nats."""
        ...

    def entropy(self, parameters: Array) -> Float[Array, "..."]:
        """Entropy, nats."""
        ...

    def kl(self, p: Array, q: Array) -> Float[Array, "..."]:
        """KL(p || q), nats, of distributions given by their parameters."""
        ...

    def hellinger(self, p: Array, q: Array) -> Float[Array, ""]:
        """Distance of two policies on a batch of states (gtr.objective.movement)."""
        ...

    def step_cosine(self, before: Array, now: Array, after: Array) -> Float[Array, ""]:
        """Cosine between two successive steps of a policy on a batch of states."""
        ...


def masked(parameters: Array, mask: Array | None) -> Array:
    """Logits with forbidden actions (mask False) put out of reach."""
    return parameters if mask is None else jnp.where(mask, parameters, _FORBIDDEN)


@dataclass(frozen=True)
class Categorical:
    """One of n actions; parameters are logits."""

    n: int
    free: int = 0
    action_shape: tuple[int, ...] = ()

    @property
    def outputs(self) -> int:
        """One logit an action."""
        return self.n

    @property
    def randomness(self) -> int:
        """One number an action."""
        return self.n

    def noise(self, uniform: Array) -> Array:
        """Gumbel noise."""
        return -jnp.log(-jnp.log(uniform))

    def sample(self, parameters: Array, noise: Array) -> Array:
        """Gumbel-max."""
        return jnp.argmax(parameters + noise, -1).astype(jnp.int32)

    def mode(self, parameters: Array) -> Array:
        """The action with the largest logit."""
        return jnp.argmax(parameters, -1).astype(jnp.int32)

    def to_environment(self, action: Array) -> Array:
        """As it is."""
        return action

    def log_prob(self, parameters: Array, action: Array) -> Array:
        """Log-softmax at the action; summed over a one-hot, as a gather's gradient is slow."""
        chosen = jnp.arange(self.n) == action[..., None]
        return jnp.sum(jnp.where(chosen, jax.nn.log_softmax(parameters), 0.0), -1)

    def entropy(self, parameters: Array) -> Array:
        """-sum p log p."""
        log_p = jax.nn.log_softmax(parameters)
        return -jnp.sum(jnp.exp(log_p) * log_p, -1)

    def kl(self, p: Array, q: Array) -> Array:
        """The sum of p (log p - log q)."""
        log_p, log_q = jax.nn.log_softmax(p), jax.nn.log_softmax(q)
        return jnp.sum(jnp.exp(log_p) * (log_p - log_q), -1)

    def hellinger(self, p: Array, q: Array) -> Array:
        """Between categorical policies."""
        return movement.categorical_hellinger(p, q)

    def step_cosine(self, before: Array, now: Array, after: Array) -> Array:
        """In square-root probability space."""
        return movement.categorical_step_cosine(before, now, after)


@dataclass(frozen=True)
class Gaussian:
    """Independent normals; parameters are means, then log standard deviations.

    Actions are stored as drawn and clipped to the box only on their way to the environment, as in
    the peers, so that their log-probabilities are those of the normal.
    """

    space: Box

    @property
    def outputs(self) -> int:
        """The means."""
        return math.prod(self.space.shape)

    @property
    def free(self) -> int:
        """The log standard deviations."""
        return self.outputs

    @property
    def action_shape(self) -> tuple[int, ...]:
        """A flat vector."""
        return (self.outputs,)

    @property
    def randomness(self) -> int:
        """One number a component."""
        return self.outputs

    def noise(self, uniform: Array) -> Array:
        """Standard normal, by the inverse of its distribution function."""
        return math.sqrt(2) * jax.lax.erf_inv(2 * uniform - 1)

    def sample(self, parameters: Array, noise: Array) -> Array:
        """Mean plus deviation times noise."""
        mean, log_std = jnp.split(parameters, 2, -1)
        return mean + jnp.exp(log_std) * noise

    def mode(self, parameters: Array) -> Array:
        """The mean."""
        return jnp.split(parameters, 2, -1)[0]

    def to_environment(self, action: Array) -> Array:
        """Clipped to the box."""
        clipped = jnp.clip(action, self.space.low, self.space.high)
        return clipped.reshape(*action.shape[:-1], *self.space.shape)

    def log_prob(self, parameters: Array, action: Array) -> Array:
        """Density of the normal, before clipping."""
        mean, log_std = jnp.split(parameters, 2, -1)
        z = (action - mean) * jnp.exp(-log_std)
        return -jnp.sum(0.5 * z * z + log_std + 0.5 * _LOG_2PI, -1)

    def entropy(self, parameters: Array) -> Array:
        """Closed form."""
        log_std = jnp.split(parameters, 2, -1)[1]
        return jnp.sum(log_std + 0.5 * (1 + _LOG_2PI), -1)

    def kl(self, p: Array, q: Array) -> Array:
        """Closed form."""
        mean_p, log_p = jnp.split(p, 2, -1)
        mean_q, log_q = jnp.split(q, 2, -1)
        scaled = (mean_p - mean_q) * jnp.exp(-log_q)
        return jnp.sum(
            log_q - log_p + 0.5 * (jnp.exp(2 * (log_p - log_q)) + scaled * scaled - 1), -1
        )

    def hellinger(self, p: Array, q: Array) -> Array:
        """Closed form for diagonal normals."""
        return movement.gaussian_hellinger(*_mean_std(p), *_mean_std(q))

    def step_cosine(self, before: Array, now: Array, after: Array) -> Array:
        """Of mean displacements, scaled by the standard deviation."""
        mean, std = _mean_std(now)
        return movement.gaussian_step_cosine(_mean_std(before)[0], mean, _mean_std(after)[0], std)


@dataclass(frozen=True)
class TanhGaussian(Gaussian):
    """A normal squashed into the box by tanh; actions are stored before squashing.

    The squashing's density factor is the same in every policy's log-probability of a stored
    action, so it cancels in ratios and in KL; it is kept for the entropy's sake.
    """

    def to_environment(self, action: Array) -> Array:
        """Squashed into the box."""
        half = (self.space.high - self.space.low) / 2
        squashed = self.space.low + half * (jnp.tanh(action) + 1)
        return squashed.reshape(*action.shape[:-1], *self.space.shape)

    def log_prob(self, parameters: Array, action: Array) -> Array:
        """Density of the squashed action."""
        return super().log_prob(parameters, action) - self._log_slope(action)

    def entropy(self, parameters: Array) -> Array:
        """The normal's plus the expected log-slope, by Gauss-Hermite quadrature."""
        mean, log_std = jnp.split(parameters, 2, -1)
        nodes = mean[..., None, :] + jnp.exp(log_std)[..., None, :] * _NODES[:, None]
        expected = jnp.sum(self._log_slope(nodes) * _NODE_WEIGHTS, -1)
        return super().entropy(parameters) + expected

    def _log_slope(self, u: Array) -> Array:
        # log d tanh(u)/du = 2 (log 2 - u - softplus(-2u)), without cancellation for large |u|
        half = math.log((self.space.high - self.space.low) / 2)
        return jnp.sum(half + 2 * (math.log(2) - u - jax.nn.softplus(-2 * u)), -1)


def _mean_std(parameters: Array) -> tuple[Array, Array]:
    mean, log_std = jnp.split(parameters, 2, -1)
    return mean, jnp.exp(log_std)


def distribution_for(space: Discrete | Box, *, squash: bool) -> Categorical | Gaussian:
    """The distribution that fits an action space."""
    if isinstance(space, Discrete):
        return Categorical(space.n)
    return TanhGaussian(space) if squash else Gaussian(space)
