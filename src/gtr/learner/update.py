"""Gradient steps on a batch: minibatches, losses, optimisers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, UInt32

from gtr.learner.anchors import Kept, average_in
from gtr.learner.config import LearnerConfig, Rates
from gtr.networks.agent import Actor, Critic
from gtr.networks.distributions import Distribution, masked
from gtr.objective import Evaluation, Method, diagnostics, evaluate

# Below this many rows a row's number and enough random bits for a fair shuffle fit in one word.
_PACKED_ROWS = 2**16


class Samples(NamedTuple):
    """What the losses need of each sample; leading axes (n,), or (steps, m) in minibatches."""

    action: Array
    mask: Bool[Array, "n a"] | None
    behaviour_log_prob: Float[Array, " n"]
    anchor_log_probs: Float[Array, "n k"] | None
    anchor_parameters: Float[Array, "n k p"] | None
    advantage: Float[Array, " n"]
    target: Float[Array, " n"]


class Trained(NamedTuple):
    """What gradient steps change."""

    actor: Actor
    critic: Critic
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState
    kept: Kept | None


class Objective(NamedTuple):
    """The losses of a minibatch, as functions of the networks."""

    method: Method
    anchor_weights: Float[Array, " k"] | None
    stiffness: Float[Array, ""] | None
    distribution: Distribution
    entropy: Float[Array, ""]

    def policy(
        self, actor: Actor, observation: Array, samples: Samples
    ) -> tuple[Evaluation, Float[Array, ""]]:
        """The surrogate's and the penalty's samples, and the mean entropy."""
        parameters = masked(actor(observation), samples.mask)
        divergence = None
        if samples.anchor_parameters is not None:
            divergence = self.distribution.kl(samples.anchor_parameters, parameters[:, None])
        evaluation = evaluate(
            self.method,
            log_prob=self.distribution.log_prob(parameters, samples.action),
            behaviour_log_prob=samples.behaviour_log_prob,
            anchor_log_probs=samples.anchor_log_probs,
            anchor_weights=self.anchor_weights,
            advantage=samples.advantage,
            divergence=divergence,
            stiffness=self.stiffness,
        )
        return evaluation, self.distribution.entropy(parameters).mean()

    def losses(
        self, networks: tuple[Actor, Critic], observation: Array, samples: Samples
    ) -> tuple[Array, tuple[Array, Array]]:
        """Their sum, whose gradient serves both networks, and each."""
        actor, critic = networks
        evaluation, entropy = self.policy(actor, observation, samples)
        policy_loss = (
            jnp.mean(evaluation.penalty) - jnp.mean(evaluation.surrogate) - self.entropy * entropy
        )
        value_loss = 0.5 * jnp.mean((critic(observation) - samples.target) ** 2)
        return policy_loss + value_loss, (policy_loss, value_loss)


def optimiser(rates: Rates) -> optax.GradientTransformation:
    """Adam with the gradient's norm limited; one for the actor, one for the critic.

    One limit over both would let the critic's large error after a change starve the actor.
    """
    return optax.chain(
        optax.clip_by_global_norm(rates.max_grad_norm),
        optax.scale_by_adam(b1=rates.adam_b1, b2=rates.adam_b2, eps=1e-5),
    )


def flat(network: Any) -> Float[Array, " w"]:
    """A network's parameters as one vector: an optimiser's step is one loop over it, not dozens."""
    return ravel_pytree(network)[0]


def shuffles(bits: UInt32[Array, "epochs rows"]) -> Int[Array, "epochs rows"]:
    """A random order of the rows for each epoch.

    Sorting single words whose low bits are the row's number takes a quarter of the time of
    sorting pairs.
    """
    rows = bits.shape[1]
    if rows > _PACKED_ROWS:
        return jnp.argsort(bits, 1)
    low = jnp.uint32((1 << max(1, (rows - 1).bit_length())) - 1)
    words = (bits & ~low) | jnp.arange(rows, dtype=jnp.uint32)
    return (lax.sort(words, dimension=1) & low).astype(jnp.int32)


def update(
    trained: Trained,
    observation: Array,
    samples: Samples,
    bits: UInt32[Array, "epochs rows"],
    *,
    objective: Objective,
    config: LearnerConfig,
    rates: Rates,
) -> tuple[Trained, dict[str, Float[Array, ""]]]:
    """All gradient steps of an iteration, and what they saw.

    Losses and gradient norms are means over the steps; the diagnostics are those of the updated
    policy on the last minibatch.
    """
    steps = config.epochs * config.minibatches
    order = shuffles(bits).reshape(steps, bits.shape[1] // config.minibatches)
    minibatches = jax.tree.map(lambda x: x[order], samples)
    if config.advantage_scale == "batch":
        advantage = minibatches.advantage
        centred = advantage - advantage.mean(1, keepdims=True)
        scale = advantage.std(1, keepdims=True) + 1e-8
        minibatches = minibatches._replace(advantage=centred / scale)
    tx = optimiser(rates)
    to_actor, to_critic = ravel_pytree(trained.actor)[1], ravel_pytree(trained.critic)[1]

    def step(carry: tuple, given: tuple[Array, Samples]) -> tuple[tuple, tuple[Array, ...]]:
        actor, critic, actor_optimiser, critic_optimiser, kept = carry
        rows, minibatch = given
        gradients, losses = jax.grad(objective.losses, has_aux=True)(
            (to_actor(actor), to_critic(critic)), observation[rows], minibatch
        )
        actor_gradient, critic_gradient = map(flat, gradients)
        actor_step, actor_optimiser = tx.update(actor_gradient, actor_optimiser)
        critic_step, critic_optimiser = tx.update(critic_gradient, critic_optimiser)
        actor = actor - rates.learning_rate * actor_step
        critic = critic - rates.learning_rate * critic_step
        kept = average_in(objective.method.anchor, kept, lambda: to_actor(actor))
        norms = optax.tree.norm(actor_gradient), optax.tree.norm(critic_gradient)
        return (actor, critic, actor_optimiser, critic_optimiser, kept), (*losses, *norms)

    vectors = flat(trained.actor), flat(trained.critic)
    carry, seen = lax.scan(step, (*vectors, *trained[2:]), (order, minibatches))
    actor, critic, actor_optimiser, critic_optimiser, kept = carry
    done = Trained(to_actor(actor), to_critic(critic), actor_optimiser, critic_optimiser, kept)
    names = ("policy_loss", "value_loss", "policy_grad_norm", "value_grad_norm")
    measures = {
        name: series.mean() if steps else jnp.float32(0)
        for name, series in zip(names, seen, strict=True)
    }

    last = order[-1] if steps else jnp.arange(order.shape[1])
    evaluation, entropy = objective.policy(
        done.actor, observation[last], jax.tree.map(lambda x: x[last], samples)
    )
    measures |= diagnostics(objective.method, evaluation, stiffness=objective.stiffness)
    measures["entropy"] = entropy
    return done, measures
