"""The anchors' weights: what is kept of earlier policies, and what they say about a batch."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from gtr.learner.normalisation import Moments, normalised
from gtr.learner.parallel import split
from gtr.networks.agent import Actor
from gtr.networks.cores import Memory
from gtr.networks.distributions import masked
from gtr.networks.network import Segment
from gtr.objective import Anchor, Average, Initial, Recent, Stale

# A batch is split into so many groups, each asking one snapshot. Systematic sampling: in every
# iteration each snapshot is asked by its share of the groups, give or take one.
_GROUPS = 16
_GOLDEN = 0.6180339887


class Policy(eqx.Module):
    """An actor with the normalisation that it saw its observations through."""

    actor: Actor
    moments: Moments | None

    def __call__(self, seen: Array | Segment) -> Float[Array, "n p"]:
        """Parameters of the distribution over actions, for raw observations.

        Args:
            seen: observations (n, ...), each the first of an episode to a policy with a memory; or
                stretches of time, whose rows are (t e).
        """
        return self.actor(self._normalised(seen))

    def step(self, memory: Memory, observation: Array) -> tuple[Memory, Float[Array, "e p"]]:
        """The memory after a step with raw observations (e, ...), and what to act by."""
        return self.actor.step(memory, self._normalised(observation))

    def read(self, segment: Segment) -> tuple[Memory, Float[Array, "t e p"]]:
        """The same for all steps of stretches of time."""
        return self.actor.read(self._normalised(segment))

    def memory(self, copies: int) -> Memory:
        """That of episodes that have not begun, (copies, ...); None where there is none."""
        return self.actor.network.memory(copies)

    def features(self, seen: Array | Segment) -> Float[Array, "n f"]:
        """What the actor's head is given, for what a call takes."""
        return self.actor.network.features(self._normalised(seen))

    def _normalised(self, seen: Any) -> Any:
        return normalised(self.moments, seen)


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
    total: Any = np.float32(1)
    return Kept(stacked, total)


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


def average_in(anchor: Average, kept: Kept, actor: Actor) -> Kept:
    """After a gradient step: the exponential average with the actor taken in (PPO-EWMA)."""
    total = anchor.decay * kept.total + 1
    share = 1 / total
    average = jax.tree.map(
        lambda old, new: old + share * (new[None] - old), kept.policies.actor, actor
    )
    return Kept(Policy(average, kept.policies.moments), total)


class Opinion(NamedTuple):
    """What the anchors say of a batch: K of them for each sample, and their weights."""

    parameters: Float[Array, "n k p"]
    weights: Float[Array, " k"]


def consult(
    anchor: Anchor | None,
    kept: Kept | None,
    *,
    behaviour: Float[Array, "n p"],
    moments: Moments | None,
    observation: Array,
    mask: Bool[Array, "n a"] | None,
    iteration: Array,
    devices: str | None = None,
) -> Opinion | None:
    """Asks the anchors about the samples of a batch, once.

    Under `Recent`, each sample is compared with the behaviour policy, whose answer is known
    already, and with one snapshot, which is each of them with a probability in proportion to its
    weight. A penalty is linear in the anchors' kernels, so its average is the whole mixture's, at
    the cost of a single pass however many anchors there are.

    Args:
        anchor: the method's anchor.
        kept: the earlier policies.
        behaviour: distribution parameters under which the batch was collected.
        moments: the present normalisation.
        observation: (n, ...) raw.
        mask: allowed actions.
        iteration: number of the iteration.
        devices: a mesh axis along which devices share the samples (`parallel`).
    """
    if anchor is None:
        return None
    if kept is None:
        return Opinion(behaviour[:, None], jnp.ones(1))
    policies = kept.policies
    if not isinstance(anchor, Recent):
        policy = jax.tree.map(lambda x: x[0], policies)
        if isinstance(anchor, Average):
            # an average of weights is no policy of the past: it sees what the present one sees
            policy = Policy(policy.actor, moments)
        (answers,) = split(devices, lambda part: (policy(part),), (0,), (0,))(observation)
        return Opinion(masked(answers, mask)[:, None], jnp.ones(1))

    own = jnp.asarray(anchor.weights(), jnp.float32)
    rows = observation.shape[0]
    # Rows are dealt to the groups one by one, so that each group is a fair share of the batch.
    each = -(-rows // _GROUPS)
    dealt = jnp.resize(observation, (each, _GROUPS, *observation.shape[1:]))
    turn = (jnp.arange(_GROUPS) + iteration) % _GROUPS
    # The fractional parts of multiples of the golden ratio fill [0, 1) evenly.
    place = (turn + (iteration * _GOLDEN) % 1.0) / _GROUPS
    share = jnp.cumsum(own[1:]) / (1 - own[0])
    asked = jnp.minimum(
        jnp.searchsorted(share, place, side="right", method="compare_all"), anchor.count - 2
    )

    def ask(snapshot: Array, group: Array) -> tuple[Array]:
        return (
            lax.map(
                lambda given: jax.tree.map(lambda x: x[given[0]], policies)(dealt[:, given[1]]),
                (snapshot, group),
            ),
        )

    (answers,) = split(devices, ask, (0, 0), (0,))(asked, jnp.arange(_GROUPS))
    one = masked(jnp.moveaxis(answers, 0, 1).reshape(each * _GROUPS, -1)[:rows], mask)
    return Opinion(jnp.stack([behaviour, one], 1), jnp.stack([own[0], 1 - own[0]]))
