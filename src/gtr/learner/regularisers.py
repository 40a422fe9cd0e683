"""Cures for other causes of being stuck: terms that gradient steps descend beside a method's loss.

They belong to the learner and not to a method, so that each can be given to all of them. What a
cure keeps is a part of the training state (formulas, sources and departures: docs/cures.md).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from gtr.networks.agent import Actor, Critic
from gtr.networks.distributions import Categorical, Distribution

# C-CHAIN's statistics weigh about as many iterations as the 50 of the authors' window.
_DECAY = 0.98
# Its coefficient is 1 for as long: in the authors' code a counter from 0 has to reach 10.
_CONSTANT = 11


class Origin(NamedTuple):
    """What L2-Init keeps: the networks as they began."""

    actor: Actor
    critic: Critic


class Churn(NamedTuple):
    """What C-CHAIN keeps.

    Attributes:
        previous: the actor one gradient step ago; at the beginning the actor itself.
        policy_loss: average over iterations of the policy loss, without its sign.
        regulariser: average over iterations of the term before its coefficient, nats.
        iterations: how many the averages are of.
    """

    previous: Actor
    policy_loss: Float[Array, ""]
    regulariser: Float[Array, ""]
    iterations: Int[Array, ""]


Memory = Origin | Churn


class Term(NamedTuple):
    """`coefficient * value`, to be added to the loss of one network.

    Attributes:
        coefficient: constant during an update.
        value: of the network's weights, of the weights one gradient step ago and of rows of the
            batch; differentiated by the first.
        previous: the weights one gradient step before the first; None where `value` needs none.
        rows: which rows each gradient step gives to `value`; None where it needs none.
    """

    coefficient: Float[Array, ""]
    value: Callable[..., Float[Array, ""]]
    previous: Float[Array, " w"] | None = None
    rows: Int[Array, "steps m"] | None = None


def remember_from_start(regulariser: str, actor: Actor, critic: Critic) -> Memory | None:
    """What to keep before the first batch, as host arrays; None without a regulariser."""
    match regulariser:
        case "l2-init":
            return Origin(actor, critic)
        case "c-chain":
            nothing: Any = np.float32(0)
            none: Any = np.int32(0)
            return Churn(actor, nothing, nothing, none)
        case _:
            return None


def l2_init(initial: Any, coefficient: Float[Array, ""]) -> Term:
    """The squared distance of all weights from the initial ones (arXiv:2308.11958).

    Args:
        initial: the network as it began.
        coefficient: of the squared distance.
    """
    start = ravel_pytree(initial)[0]
    return Term(coefficient, lambda weights, previous, rows: jnp.sum((weights - start) ** 2))


def c_chain(
    memory: Churn,
    target: Float[Array, ""],
    distribution: Distribution,
    parameters: Callable[[Float[Array, " w"], Array], Float[Array, "m p"]],
    rows: Int[Array, "steps m"],
) -> Term:
    """How far a gradient step moves the policy elsewhere: on rows that are not the step's own.

    Source: Tang et al. 2025, "Mitigating Plasticity Loss in Continual Reinforcement Learning by
    Reducing Churn", as in their code for classic control (bluecontra/C-CHAIN at 2f8bedf). It is the
    mean of the cross-entropy of the policy relative to the one of a gradient step ago, a constant:
    their divergence plus the entropy of the earlier. With continuous actions the divergence stands
    alone, which has the same gradient; a density's entropy passes through 0, and nothing can be
    measured in it.

    Args:
        memory: what is kept.
        target: size of the term in sizes of the policy loss.
        distribution: over actions.
        parameters: of the distribution, for weights and rows.
        rows: the other minibatch of each gradient step.
    """

    def value(
        weights: Float[Array, " w"], previous: Float[Array, " w"], rows: Array
    ) -> Float[Array, ""]:
        before = parameters(previous, rows)
        distance = distribution.kl(before, parameters(weights, rows))
        if isinstance(distribution, Categorical):
            distance = distance + distribution.entropy(before)
        return distance.mean()

    return Term(coefficient(memory, target), value, ravel_pytree(memory.previous)[0], rows)


def coefficient(memory: Churn, target: Float[Array, ""]) -> Float[Array, ""]:
    """C-CHAIN's coefficient in an iteration: `target` times policy loss over regulariser, or 1.

    It is never below 1, and is 1 until the averages are of 11 iterations.
    """
    relative = target * memory.policy_loss / (memory.regulariser + 1e-8)
    return jnp.where(memory.iterations < _CONSTANT, 1.0, jnp.maximum(relative, 1.0))


def remember(
    memory: Churn,
    previous: Actor,
    policy_loss: Float[Array, ""],
    regulariser: Float[Array, ""],
) -> Churn:
    """After an iteration's gradient steps: its mean losses taken into the averages.

    These are exponential and bias-corrected. The authors take plain averages over the last 50
    iterations and begin them anew at each change, of which this learner is not told.

    Args:
        memory: what was kept.
        previous: the actor before the last gradient step.
        policy_loss: mean over the gradient steps, without this term.
        regulariser: mean over the gradient steps of the term before its coefficient, nats.
    """
    iterations = memory.iterations + 1
    share = (1 - _DECAY) / (1 - _DECAY**iterations)

    def average(old: Float[Array, ""], new: Float[Array, ""]) -> Float[Array, ""]:
        return old + share * (new - old)

    return Churn(
        previous,
        average(memory.policy_loss, jnp.abs(policy_loss)),
        average(memory.regulariser, regulariser),
        iterations,
    )
