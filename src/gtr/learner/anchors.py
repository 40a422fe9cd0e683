"""The anchors' weights: what is kept of earlier policies, and what they say about a batch."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from gtr.learner.normalisation import Moments, normalised
from gtr.learner.rollout import rows_of
from gtr.networks.agent import Actor
from gtr.networks.cores import Memory
from gtr.networks.distributions import masked
from gtr.networks.network import Segment
from gtr.objective import Anchor, Average, Initial, Recent, Stale

# A batch is split into so many groups, each asking one anchor. Systematic sampling: in every
# iteration each anchor is asked by its share of the groups, give or take one.
GROUPS = 16
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


def places(copies: int) -> Int[np.ndarray, "parts groups"]:
    """A place in the order of sampling for each group of each part of the copies.

    There are as many parts as there can be, for devices to share. Neighbours are far apart in the
    order, so that devices have as many passes to make.
    """
    apart = [int(f"{group:04b}"[::-1], 2) for group in range(GROUPS)]
    return np.array(apart).reshape(math.gcd(copies, GROUPS), -1)


def consult(
    anchor: Anchor | None,
    kept: Kept | None,
    *,
    behaviour: Float[Array, "t e p"],
    moments: Moments | None,
    observation: Array,
    mask: Bool[Array, "t e a"] | None,
    iteration: Array,
    places: Int[Array, "parts groups"],
) -> Float[Array, "t e 1 p"] | None:
    """What each sample's anchor says of it: asked once a batch, one anchor a sample.

    Under `Recent` a sample's anchor is each of them with a probability of its weight. A penalty is
    linear in the anchors' kernels, so its average is the whole mixture's. The behaviour policy's
    answer is known already, so however many anchors there are, they cost less than a single pass.

    Args:
        anchor: the method's anchor.
        kept: the earlier policies.
        behaviour: distribution parameters under which the batch was collected.
        moments: the present normalisation.
        observation: (t, e, ...) raw.
        mask: allowed actions.
        iteration: number of the iteration.
        places: of `places`, those rows of it that the copies at hand belong to.
    """
    if anchor is None:
        return None
    if kept is None:
        return behaviour[:, :, None]
    if isinstance(anchor, Recent):
        answers = _ask_by_turns(anchor, kept.policies, behaviour, observation, iteration, places)
    else:
        policy = jax.tree.map(lambda x: x[0], kept.policies)
        if isinstance(anchor, Average):
            # an average of weights is no policy of the past: it sees what the present one sees
            policy = Policy(policy.actor, moments)
        answers = policy(rows_of(observation)).reshape(behaviour.shape)
    return masked(answers, mask)[:, :, None]


def _ask_by_turns(
    anchor: Recent,
    policies: Policy,
    behaviour: Float[Array, "t e p"],
    observation: Array,
    iteration: Array,
    places: Int[Array, "parts groups"],
) -> Float[Array, "t e p"]:
    """What one anchor says of each sample: a group is a stretch of time of a part of the copies.

    A last stretch that would be too short begins earlier, where it is answered anew.
    """
    (steps, copies), (parts, groups) = behaviour.shape[:2], places.shape
    numbers = _asked(anchor, places, iteration)
    size = (-(-steps // groups), copies // parts)

    def ask(i: Array, answers: Array) -> Array:
        part, group = i // groups, i % groups
        number, at = numbers[part, group], (group * size[0], part * size[1])

        def asked() -> Array:
            shape = observation.shape[2:]
            seen = lax.dynamic_slice(observation, (*at, *[0] * len(shape)), (*size, *shape))
            policy = jax.tree.map(lambda x: x[number - 1], policies)
            said = policy(rows_of(seen)).reshape(*size, -1)
            return lax.dynamic_update_slice(answers, said, (*at, 0))

        return lax.cond(number == 0, lambda: answers, asked)

    return lax.fori_loop(0, parts * groups, ask, behaviour)


def _asked(
    anchor: Recent, places: Int[Array, "parts groups"], iteration: Array
) -> Int[Array, "parts groups"]:
    """The number of the anchor that each group asks; 0 is the behaviour policy."""
    turn = (places + iteration) % GROUPS
    # The fractional parts of multiples of the golden ratio fill [0, 1) evenly.
    point = (turn + (iteration * _GOLDEN) % 1.0) / GROUPS
    share = jnp.cumsum(jnp.asarray(anchor.weights(), jnp.float32))
    found = jnp.searchsorted(share, point, side="right", method="compare_all")
    return jnp.minimum(found, anchor.count - 1)
