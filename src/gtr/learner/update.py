"""Gradient steps on a batch: minibatches, losses, optimisers."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, UInt32

from gtr.learner.anchors import Kept, average_in
from gtr.learner.config import LearnerConfig, Rates
from gtr.learner.data_parallel import averaged, divides_minibatches
from gtr.learner.parallel import share, side_by_side
from gtr.learner.regularisers import Churn, Memory, Origin, Term, c_chain, l2_init, remember
from gtr.networks import cores
from gtr.networks.agent import Actor, Critic
from gtr.networks.distributions import Distribution, masked
from gtr.networks.network import Segment
from gtr.objective import Average, Evaluation, Method, diagnostics, evaluate

# Below this many rows a row's number and enough random bits for a fair shuffle fit in one word.
_PACKED_ROWS = 2**16


class Samples(NamedTuple):
    """What the losses need of each sample; leading axes (n,), or (steps, m) in minibatches.

    The anchors are one that was drawn for the sample, or all K of the method.
    """

    action: Array
    mask: Bool[Array, "n a"] | None
    behaviour_log_prob: Float[Array, " n"]
    anchor_log_probs: Float[Array, "n k"] | None
    anchor_parameters: Float[Array, "n k p"] | None
    advantage: Float[Array, " n"]
    target: Float[Array, " n"]

    @property
    def one_anchor(self) -> bool:
        """Whether each sample is compared with one anchor."""
        return self.anchor_log_probs is not None and self.anchor_log_probs.shape[-1] == 1


class Recall(NamedTuple):
    """What networks with a memory need to read a batch: its rows are (t e), and it is read whole.

    Attributes:
        begins: where an episode begins after the first step.
        actor: the actor's memory before the batch, (e, ...).
        critic: the critic's.
    """

    begins: Bool[Array, "t e"]
    actor: cores.Memory
    critic: cores.Memory


class Trained(NamedTuple):
    """What gradient steps change."""

    actor: Actor
    critic: Critic
    actor_optimiser: optax.OptState
    critic_optimiser: optax.OptState
    kept: Kept | None
    memory: Memory | None


class Descended(NamedTuple):
    """A network's parameters after its gradient steps and before the last, and what they saw.

    `means` over the steps: the loss, the gradient's norm, and the regulariser's term, if any.
    """

    weights: Float[Array, " w"]
    optimiser: optax.OptState
    kept: Kept | None
    previous: Float[Array, " w"] | None
    means: Float[Array, " n"]


class Objective(NamedTuple):
    """What the actor is to descend, as a function of it and a minibatch."""

    method: Method
    stiffness: Float[Array, ""] | None
    distribution: Distribution
    entropy: Float[Array, ""]

    def policy(
        self, actor: Actor, seen: Array | Segment, samples: Samples
    ) -> tuple[Evaluation, Float[Array, ""]]:
        """The surrogate's and the penalty's samples, and the mean entropy."""
        parameters = masked(actor(seen), samples.mask)
        divergence = None
        if samples.anchor_parameters is not None:
            divergence = self.distribution.kl(samples.anchor_parameters, parameters[:, None])
        evaluation = evaluate(
            self.method,
            log_prob=self.distribution.log_prob(parameters, samples.action),
            behaviour_log_prob=samples.behaviour_log_prob,
            anchor_log_probs=samples.anchor_log_probs,
            anchor_weights=jnp.ones(1) if samples.one_anchor else None,
            advantage=samples.advantage,
            divergence=divergence,
            stiffness=self.stiffness,
        )
        return evaluation, self.distribution.entropy(parameters).mean()

    def policy_loss(
        self, actor: Actor, seen: Array | Segment, samples: Samples
    ) -> Float[Array, ""]:
        """What the actor descends."""
        evaluation, entropy = self.policy(actor, seen, samples)
        return jnp.mean(evaluation.penalty - evaluation.surrogate) - self.entropy * entropy


def value_loss(
    critic: Critic, seen: Array | Segment, target: Float[Array, " n"]
) -> Float[Array, ""]:
    """What the critic descends."""
    return 0.5 * jnp.mean((critic(seen) - target) ** 2)


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
    recall: Recall | None = None,
    objective: Objective,
    config: LearnerConfig,
    rates: Rates,
    devices: str | None,
) -> tuple[Trained, dict[str, Float[Array, ""]]]:
    """All gradient steps of an iteration, and what they saw.

    With a `recall` a minibatch is some copies of the environment in all of their steps, in which
    networks are read anew from the memory before the batch, and `bits` are (epochs, copies).

    Actor and critic share nothing here, so where `devices`, a mesh axis, has two, each learns on
    one of them; more take their share of each minibatch, and average their gradients. Losses and
    gradient norms are means over the steps, the losses without a regulariser's term; the
    diagnostics are those of the updated policy on the last minibatch.
    """
    steps = config.epochs * config.minibatches
    order = shuffles(bits).reshape(steps, bits.shape[1] // config.minibatches)
    divided = devices if divides_minibatches(devices) else None
    descend = partial(_descend, optimiser(rates), rates.learning_rate, divided)
    if recall is not None:
        order = _all_steps(order, recall)
    anchor = objective.method.anchor
    average = partial(average_in, anchor) if isinstance(anchor, Average) else None
    memory = trained.memory

    def own(minibatches: Any) -> Any:
        """This device's share of each minibatch: of its rows, or of the copies that it holds."""
        if recall is None:
            return share(divided, minibatches, 1)
        # No length is left to be found: without an epoch there are no numbers to find it from.
        time = len(recall.begins)
        apart = (steps, time, order.shape[1] // time)
        mine = share(
            divided, jax.tree.map(lambda x: x.reshape(*apart, *x.shape[2:]), minibatches), 2
        )
        return jax.tree.map(lambda x: x.reshape(steps, time * x.shape[2], *x.shape[3:]), mine)

    def seen(rows: Array, memory: cores.Memory) -> Array | Segment:
        if recall is None:
            return observed(rows)
        copies = rows.reshape(len(recall.begins), -1)[0]
        x, begins = observed(rows), recall.begins[:, copies]
        return Segment(
            x.reshape(*begins.shape, *x.shape[1:]),
            begins,
            jax.tree.map(lambda x: x[copies], memory),
        )

    def seen_by_actor(rows: Array) -> Array | Segment:
        return seen(rows, None if recall is None else recall.actor)

    def seen_by_critic(rows: Array) -> Array | Segment:
        return seen(rows, None if recall is None else recall.critic)

    def observed(rows: Array) -> Array:
        x = observation[rows]
        if jnp.issubdtype(x.dtype, jnp.floating):
            return x
        # The barrier has whole rows of the small type copied, where a loop would turn each number.
        # The network turns them: it is to see the type, as it does when a batch is collected.
        return lax.optimization_barrier(x)

    def actor_of(weights: Float[Array, " w"]) -> Actor:
        return ravel_pytree(trained.actor)[1](weights)

    def parameters(weights: Float[Array, " w"], rows: Array) -> Float[Array, "m p"]:
        actor = actor_of(weights)
        mask = None if samples.mask is None else samples.mask[rows]
        return masked(actor(seen_by_actor(rows)), mask)

    def actor_term() -> Term | None:
        match memory:
            case Origin(actor=initial):
                return l2_init(initial, rates.regularisation)
            case Churn():
                epochs = order.reshape(config.epochs, config.minibatches, order.shape[1])
                following = jnp.roll(epochs, -1, 1).reshape(order.shape)
                return c_chain(
                    memory, rates.regularisation, objective.distribution, parameters, own(following)
                )
            case None:
                return None

    def critic_term() -> Term | None:
        return l2_init(memory.critic, rates.regularisation) if isinstance(memory, Origin) else None

    def minibatch(rows: Int[Array, "... m"]) -> Samples:
        taken = jax.tree.map(lambda x: x[rows], samples)
        if config.advantage_scale == "batch":
            advantage = taken.advantage
            centred = advantage - advantage.mean(-1, keepdims=True)
            scale = advantage.std(-1, keepdims=True) + 1e-8
            taken = taken._replace(advantage=centred / scale)
        return taken

    def learn_actor() -> Descended:
        return descend(
            lambda actor, rows, minibatch: objective.policy_loss(
                actor, seen_by_actor(rows), minibatch
            ),
            own((order, minibatch(order))),
            trained.actor,
            trained.actor_optimiser,
            actor_term(),
            trained.kept if average else None,
            average,
        )

    def learn_critic() -> Descended:
        return descend(
            lambda critic, rows, target: value_loss(critic, seen_by_critic(rows), target),
            own((order, samples.target[order])),
            trained.critic,
            trained.critic_optimiser,
            critic_term(),
        )

    beside = None if divided else devices
    actor, critic = side_by_side(beside, learn_actor, learn_critic)
    kept = actor.kept if average else trained.kept

    measures = {
        "policy_loss": actor.means[0],
        "value_loss": critic.means[0],
        "policy_grad_norm": actor.means[1],
        "value_grad_norm": critic.means[1],
    }
    if isinstance(memory, Churn):
        before_last = actor_of(actor.previous)
        memory = remember(memory, before_last, measures["policy_loss"], actor.means[2])
    done = Trained(
        actor_of(actor.weights),
        ravel_pytree(trained.critic)[1](critic.weights),
        actor.optimiser,
        critic.optimiser,
        kept,
        memory,
    )

    last = order[-1] if steps else _unshuffled(bits.shape[1] // config.minibatches, recall)
    evaluation, entropy = objective.policy(done.actor, seen_by_actor(last), minibatch(last))
    measures |= diagnostics(
        objective.method,
        evaluation.with_behaviour() if samples.one_anchor else evaluation,
        advantage=minibatch(last).advantage,
        stiffness=objective.stiffness,
    )
    measures["entropy"] = entropy
    return done, measures


def _all_steps(copies: Int[Array, "... c"], recall: Recall) -> Int[Array, "... m"]:
    """The rows of some copies in all steps, in the order of time."""
    steps, number = recall.begins.shape
    rows = number * jnp.arange(steps)[:, None] + copies[..., None, :]
    return rows.reshape(*copies.shape[:-1], steps * copies.shape[-1])


def _unshuffled(number: int, recall: Recall | None) -> Int[Array, " m"]:
    """A minibatch of the first rows, or copies."""
    first = jnp.arange(number)
    return first if recall is None else _all_steps(first, recall)


def _descend(
    tx: optax.GradientTransformation,
    learning_rate: Array | float,
    devices: str | None,
    loss: Callable[..., Float[Array, ""]],
    minibatches: tuple,
    network: Any,
    state: optax.OptState,
    term: Term | None,
    kept: Kept | None = None,
    average: Callable[[Kept, Any], Kept] | None = None,
) -> Descended:
    """One gradient step for each minibatch; `loss` is of a network and a minibatch.

    Where `devices` is a mesh axis, each device is given its share of every minibatch.
    """
    restore = ravel_pytree(network)[1]

    def step(carry: tuple, given: tuple) -> tuple[tuple, Float[Array, " n"]]:
        weights, state, kept, previous = carry
        minibatch, rows = given
        value, gradient = jax.value_and_grad(loss)(restore(weights), *minibatch)
        value, gradient = averaged(devices, (value, flat(gradient)))
        added = []
        if term is not None:
            value_added, slope = averaged(
                devices, jax.value_and_grad(term.value)(weights, previous, rows)
            )
            gradient = gradient + term.coefficient * slope
            added = [value_added]
        if previous is not None:
            previous = weights
        change: Any
        change, state = tx.update(gradient, state)
        weights = weights - learning_rate * change
        if average is not None:
            kept = average(kept, restore(weights))
        seen = jnp.stack([value, optax.tree.norm(gradient), *added])
        return (weights, state, kept, previous), seen

    previous, rows = (None, None) if term is None else (term.previous, term.rows)
    (weights, state, kept, previous), seen = lax.scan(
        step, (flat(network), state, kept, previous), (minibatches, rows)
    )
    means = seen.mean(0) if len(seen) else jnp.zeros(seen.shape[1:])
    return Descended(weights, state, kept, previous, means)
