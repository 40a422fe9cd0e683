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

from gtr.learner.anchors import Kept, Opinion, Policy
from gtr.learner.normalisation import Moments
from gtr.learner.parallel import split
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
    behaviour: Float[Array, "n p"],
    moments: Moments | None,
    observation: Array,
    begins: Bool[Array, "t e"],
    mask: Bool[Array, "n a"] | None,
    devices: str | None = None,
) -> tuple[Opinion | None, Memory]:
    """Asks the anchors about a batch, once; `anchors.consult` for policies with a memory.

    Under `Recent` each sample is compared with all anchors, weighted as the mixture is.

    The average of PPO-EWMA has a memory as the actor has one: each batch is read with the average
    of its time, and what was read before stays as it was.

    Args:
        anchor: the method's anchor.
        kept: the earlier policies.
        memory: of each at the batch's start, (k, e, ...).
        behaviour: distribution parameters under which the batch was collected.
        moments: the present normalisation.
        observation: (t, e, ...) raw.
        begins: whether an episode begins there.
        mask: allowed actions.
        devices: a mesh axis along which devices share the copies (`parallel`).

    Returns:
        What they say, and the memory of each after the last step.
    """
    if anchor is None:
        return None, None
    if kept is None:
        return Opinion(behaviour[:, None], jnp.ones(1)), None
    policies = kept.policies
    if isinstance(anchor, Average):
        policies = Policy(policies.actor, jax.tree.map(lambda x: x[None], moments))

    def read(memory: Memory, observation: Array, begins: Array) -> tuple[Memory, Array]:
        def one(given: tuple[Policy, Memory]) -> tuple[Memory, Array]:
            policy, memory = given
            return policy.read(Segment(observation, begins, memory))

        return lax.map(one, (policies, memory))

    memory, answers = split(devices, read, (1, 1, 1), (1, 2))(memory, observation, begins)
    every = jnp.moveaxis(answers.reshape(len(answers), -1, answers.shape[-1]), 0, 1)
    every = masked(every, None if mask is None else mask[:, None])
    if not isinstance(anchor, Recent):
        return Opinion(every, jnp.ones(1)), memory
    weights = jnp.asarray(anchor.weights(), jnp.float32)
    return Opinion(jnp.concatenate([behaviour[:, None], every], 1), weights), memory


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
