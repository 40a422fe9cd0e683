"""What earlier policies with a memory say about a batch.

A policy with a memory can be asked about a step only after it has read all of the episode before
it. So each that is kept has a memory of its own for every copy of the environment, carried from
batch to batch, and reads every batch whole: K anchors cost K - 1 passes of the actor, where
policies without a memory share one (`anchors.consult`).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from gtr.learner.anchors import Kept, Policy
from gtr.learner.normalisation import Moments
from gtr.learner.rollout import Batch, starts_of
from gtr.networks.cores import Memory, forget
from gtr.networks.distributions import masked
from gtr.networks.network import Segment
from gtr.objective import Anchor, Average, Recent, Stale


def remember_for_each(policies: int, memory: Memory) -> Memory:
    """The memories of kept policies before the first batch: `memory` for each; None for none."""
    if policies == 0:
        return None
    return jax.tree.map(lambda x: np.broadcast_to(x, (policies, *x.shape)), memory)


def consult_with_memory(
    anchor: Anchor | None,
    kept: Kept | None,
    memory: Memory,
    *,
    batch: Batch,
    moments: Moments | None,
) -> tuple[Float[Array, "t e k p"] | None, Memory]:
    """Asks the anchors about a batch, once; `anchors.consult` for policies with a memory.

    Under `Recent` each sample is compared with all K anchors, weighted as the mixture is.

    The average of PPO-EWMA has a memory as the actor has one: each batch is read with the average
    of its time, and what was read before stays as it was.

    Args:
        anchor: the method's anchor.
        kept: the earlier policies.
        memory: of each at the batch's start, (k, e, ...).
        batch: all of it, or a part of the copies.
        moments: the present normalisation.

    Returns:
        What they say, and the memory of each after the last step.
    """
    if anchor is None:
        return None, None
    behaviour = batch.parameters[:, :, None]
    if kept is None:
        return behaviour, None
    policies = kept.policies
    if isinstance(anchor, Average):
        policies = Policy(policies.actor, jax.tree.map(lambda x: x[None], moments))

    def read(given: tuple[Policy, Memory]) -> tuple[Memory, Array]:
        policy, memory = given
        return policy.read(Segment(batch.observation, starts_of(batch), memory))

    memory, answers = lax.map(read, (policies, memory))
    every = jnp.moveaxis(answers, 0, 2)
    every = masked(every, None if batch.mask is None else batch.mask[:, :, None])
    if isinstance(anchor, Recent):
        every = jnp.concatenate([behaviour, every], 2)
    return every, memory


def take_memory(anchor: Anchor | None, kept: Memory, own: Memory, iteration: Array) -> Memory:
    """`anchors.take_snapshot` for memories: a snapshot goes on from the behaviour policy's own.

    Of an episode that began earlier that holds what older weights read, as the policy's own did.

    Args:
        anchor: the method's anchor.
        kept: the memories of the kept policies after the batch, (k, e, ...).
        own: that of the policy that collected it, (e, ...).
        iteration: number of the iteration.
    """
    if kept is None or not isinstance(anchor, Recent | Stale):
        return kept

    def shift(old: Array, new: Array) -> Array:
        return jnp.concatenate([new[None], old[:-1]])

    return lax.cond(
        iteration % anchor.every == 0, lambda: jax.tree.map(shift, kept, own), lambda: kept
    )


def forget_in_each(memory: Memory, which: Bool[Array, "..."]) -> Memory:
    """The kept policies' memories of some copies set to zero; None where none is kept."""
    return None if memory is None else jax.vmap(lambda one: forget(one, which))(memory)
