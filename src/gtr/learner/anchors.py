"""The anchors' weights: what is kept of earlier policies, and what they say about a batch."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from gtr.learner.normalisation import Moments
from gtr.networks.agent import Actor
from gtr.objective import Anchor, Average, Initial, Recent, Stale


class Policy(eqx.Module):
    """An actor with the normalisation that it saw its observations through."""

    actor: Actor
    moments: Moments | None

    def __call__(self, observation: Array) -> Float[Array, "n p"]:
        """Parameters of the distribution over actions, for raw observations (n, ...)."""
        return self.actor(
            observation if self.moments is None else self.moments.normalise(observation)
        )


class Kept(eqx.Module):
    """Earlier policies on a leading axis, newest first; `total` is the average's weight."""

    policies: Policy
    total: Float[Array, ""]


def keep_from_start(anchor: Anchor | None, policy: Policy) -> Kept | None:
    """What to keep before the first batch; None where the anchor needs nothing kept."""
    copies = snapshots(anchor)
    if copies == 0:
        return None
    stacked = jax.tree.map(lambda x: np.broadcast_to(x, (copies, *x.shape)), policy)
    return Kept(stacked, np.float32(1))


def snapshots(anchor: Anchor | None) -> int:
    """How many policies are kept; the behaviour policy is at hand and is not among them."""
    match anchor:
        case Recent(count=count):
            return count - 1
        case Stale() | Initial() | Average():
            return 1
        case _:
            return 0


def take_snapshot(
    anchor: Anchor | None, kept: Kept | None, policy: Policy, iteration: Array
) -> Kept | None:
    """After a batch was collected by `policy`: keep it, if this iteration is one to keep."""
    if kept is None or not isinstance(anchor, Recent | Stale):
        return kept

    def shift(old: Array, new: Array) -> Array:
        return jnp.concatenate([new[None], old[:-1]])

    return lax.cond(
        iteration % anchor.every == 0,
        lambda: Kept(jax.tree.map(shift, kept.policies, policy), kept.total),
        lambda: kept,
    )


def average_in(anchor: Anchor | None, kept: Kept | None, actor: Callable[[], Actor]) -> Kept | None:
    """After a gradient step: the exponential average with `actor()` taken in (PPO-EWMA)."""
    if kept is None or not isinstance(anchor, Average):
        return kept
    total = anchor.decay * kept.total + 1
    share = 1 / total
    average = jax.tree.map(
        lambda old, new: old + share * (new[None] - old), kept.policies.actor, actor()
    )
    return Kept(Policy(average, kept.policies.moments), total)


def outputs(
    kept: Kept, anchor: Anchor | None, moments: Moments | None, observation: Array
) -> Float[Array, "k n p"]:
    """Distribution parameters of every kept policy on raw observations (n, ...)."""
    policies = kept.policies
    if isinstance(anchor, Average):
        # an average of weights is no policy of the past: it sees what the present one sees
        return jax.vmap(lambda actor: Policy(actor, moments)(observation))(policies.actor)
    return jax.vmap(lambda policy: policy(observation))(policies)
