"""Gradient steps on a batch: minibatches, losses, optimisers."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from gtr.learner.anchors import Kept, average_in
from gtr.learner.config import LearnerConfig, Rates
from gtr.networks.agent import Actor, Critic
from gtr.networks.distributions import Distribution, masked
from gtr.objective import Method, diagnostics, evaluate

# Below this many rows a row's number and enough random bits for a fair shuffle fit in one word.
_PACKED_ROWS = 2**16


class Samples(NamedTuple):
    """What the losses need of each sample; leading axis n."""

    observation: Array
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


def optimiser(rates: Rates) -> optax.GradientTransformation:
    """Adam with the gradient's norm limited; one for the actor, one for the critic.

    One limit over both would let the critic's large error after a change starve the actor. The
    parameters are flattened into one vector: one fused loop a step where there were dozens.
    """
    return optax.flatten(
        optax.chain(
            optax.clip_by_global_norm(rates.max_grad_norm),
            optax.scale_by_adam(b1=rates.adam_b1, b2=rates.adam_b2, eps=1e-5),
        )
    )


def shuffles(key: PRNGKeyArray, epochs: int, rows: int) -> Int[Array, "epochs rows"]:
    """A random order of the rows for each epoch.

    Sorting single words whose low bits are the row's number takes a quarter of the time of
    sorting pairs.
    """
    if rows > _PACKED_ROWS:
        return jax.vmap(lambda k: jax.random.permutation(k, rows))(jax.random.split(key, epochs))
    low = jnp.uint32((1 << max(1, (rows - 1).bit_length())) - 1)
    words = (jax.random.bits(key, (epochs, rows)) & ~low) | jnp.arange(rows, dtype=jnp.uint32)
    return (lax.sort(words, dimension=1) & low).astype(jnp.int32)


def update(
    trained: Trained,
    samples: Samples,
    key: PRNGKeyArray,
    *,
    method: Method,
    stiffness: Float[Array, ""] | None,
    distribution: Distribution,
    config: LearnerConfig,
    rates: Rates,
) -> tuple[Trained, dict[str, Float[Array, " steps"]]]:
    """All gradient steps of an iteration, and what each of them saw."""
    rows = samples.advantage.shape[0]
    order = shuffles(key, config.epochs, rows)
    order = order.reshape(config.epochs * config.minibatches, rows // config.minibatches)
    tx = optimiser(rates)

    def losses(networks: tuple[Actor, Critic], batch: Samples) -> tuple[Array, dict[str, Array]]:
        actor, critic = networks
        parameters = masked(actor(batch.observation), batch.mask)
        advantage = batch.advantage
        if config.advantage_scale == "batch":
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        divergence = None
        if batch.anchor_parameters is not None:
            divergence = distribution.kl(batch.anchor_parameters, parameters[:, None])
        evaluation = evaluate(
            method,
            log_prob=distribution.log_prob(parameters, batch.action),
            behaviour_log_prob=batch.behaviour_log_prob,
            anchor_log_probs=batch.anchor_log_probs,
            advantage=advantage,
            divergence=divergence,
            stiffness=stiffness,
        )
        entropy = distribution.entropy(parameters).mean()
        policy_loss = (
            jnp.mean(evaluation.penalty) - jnp.mean(evaluation.surrogate) - rates.entropy * entropy
        )
        value_loss = 0.5 * jnp.mean((critic(batch.observation) - batch.target) ** 2)
        seen = diagnostics(method, evaluation, stiffness=stiffness)
        seen |= {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}
        return policy_loss + value_loss, seen

    def step(trained: Trained, rows: Int[Array, " m"]) -> tuple[Trained, dict[str, Array]]:
        batch = jax.tree.map(lambda x: x[rows], samples)
        networks = trained.actor, trained.critic
        (actor_gradient, critic_gradient), seen = jax.grad(losses, has_aux=True)(networks, batch)
        actor_step, actor_optimiser = tx.update(actor_gradient, trained.actor_optimiser)
        critic_step, critic_optimiser = tx.update(critic_gradient, trained.critic_optimiser)
        actor = _descend(trained.actor, actor_step, rates.learning_rate)
        seen |= {
            "policy_grad_norm": optax.global_norm(actor_gradient),
            "value_grad_norm": optax.global_norm(critic_gradient),
        }
        return Trained(
            actor,
            _descend(trained.critic, critic_step, rates.learning_rate),
            actor_optimiser,
            critic_optimiser,
            average_in(method.anchor, trained.kept, actor),
        ), seen

    return lax.scan(step, trained, order)


def _descend(parameters: Any, direction: Any, rate: Array) -> Any:
    return jax.tree.map(lambda p, u: p - rate * u, parameters, direction)
