"""The anchors' weights: what is kept of earlier policies, and what they say about a batch."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from gtr.learner.normalisation import Moments
from gtr.networks.agent import Actor
from gtr.networks.distributions import masked
from gtr.objective import Anchor, Average, Initial, Recent, Stale

# A snapshot is asked about one row in so many. The noise that this adds to the gradient is small
# beside the advantages', since the pull of an anchor is bounded.
_SELDOM = 2


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


class Opinion(NamedTuple):
    """What the anchors say of a batch.

    `parameters` are of K distributions a sample; `weights` are None where those are the anchor's
    own, the same for all samples.
    """

    parameters: Float[Array, "n k p"]
    weights: Float[Array, "n k"] | None


def consult(
    anchor: Anchor | None,
    kept: Kept | None,
    *,
    behaviour: Float[Array, "n p"],
    moments: Moments | None,
    observation: Array,
    mask: Bool[Array, "n a"] | None,
    iteration: Array,
) -> Opinion | None:
    """Asks the anchors about the samples of a batch, once.

    Under `Recent`, the behaviour policy is asked about each sample, as its answer is known already,
    and one snapshot about every second: rows take the snapshots in turn, another way round each
    iteration, and a snapshot's weight grows by how much more seldom it is asked. A penalty is
    linear in the anchors' kernels, so its average is the whole mixture's, at the cost of half a
    pass however many anchors there are.

    Args:
        anchor: the method's anchor.
        kept: the earlier policies.
        behaviour: distribution parameters under which the batch was collected.
        moments: the present normalisation.
        observation: (n, ...) raw.
        mask: allowed actions.
        iteration: number of the iteration.
    """
    if anchor is None:
        return None
    if kept is None:
        return Opinion(behaviour[:, None], None)
    policies = kept.policies
    if not isinstance(anchor, Recent):
        policy = jax.tree.map(lambda x: x[0], policies)
        if isinstance(anchor, Average):
            # an average of weights is no policy of the past: it sees what the present one sees
            policy = Policy(policy.actor, moments)
        return Opinion(masked(policy(observation), mask)[:, None], None)

    rows, snapshots = observation.shape[0], anchor.count - 1
    turns = -(-rows // (snapshots * _SELDOM))
    whole = jnp.resize(observation, (turns * _SELDOM * snapshots, *observation.shape[1:]))
    dealt = whole.reshape(turns, _SELDOM, snapshots, *observation.shape[1:])
    asking = iteration % _SELDOM == jnp.arange(_SELDOM)
    asked = (jnp.arange(snapshots) + iteration // _SELDOM) % snapshots
    answers = lax.map(
        lambda given: jax.tree.map(lambda x: x[given[0]], policies)(given[1]),
        (asked, jnp.moveaxis(dealt[:, iteration % _SELDOM], 1, 0)),
    )
    # Rows that are not asked weigh nothing, so any answer will do for them.
    one = jnp.broadcast_to(
        jnp.moveaxis(answers, 0, 1)[:, None], (turns, _SELDOM, *answers.shape[:1], answers.shape[2])
    )
    one = masked(one.reshape(-1, answers.shape[2])[:rows], mask)
    own = jnp.asarray(anchor.weights(), jnp.float32)
    of_one = asking[:, None] * (own[1:][asked] * snapshots * _SELDOM)
    of_one = jnp.tile(of_one.reshape(-1), turns)[:rows]
    weights = jnp.stack([jnp.broadcast_to(own[0], of_one.shape), of_one], 1)
    return Opinion(jnp.stack([behaviour, one], 1), weights)
