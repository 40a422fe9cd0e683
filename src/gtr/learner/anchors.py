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
    steps, copies = behaviour.shape[:2]
    if isinstance(anchor, Recent):
        parts, groups = places.shape
        rows = steps * copies // parts

        def dealt(x: Array) -> Array:
            x = jnp.moveaxis(x.reshape(steps, parts, -1, *x.shape[2:]), 1, 0)
            x = x.reshape(parts, rows, *x.shape[3:])
            size = (groups, -(-rows // groups), *x.shape[2:])
            return jax.vmap(lambda part: jnp.resize(part, size))(x).reshape(-1, *size[1:])

        answers = _ask(
            kept.policies,
            _asked(anchor, places.reshape(-1), iteration),
            dealt(observation),
            dealt(behaviour),
        )
        answers = answers.reshape(parts, -1, answers.shape[-1])[:, :rows]
        answers = jnp.moveaxis(answers.reshape(parts, steps, copies // parts, -1), 0, 1)
    else:
        policy = jax.tree.map(lambda x: x[0], kept.policies)
        if isinstance(anchor, Average):
            # an average of weights is no policy of the past: it sees what the present one sees
            policy = Policy(policy.actor, moments)
        answers = policy(observation.reshape(-1, *observation.shape[2:]))
    return masked(answers.reshape(behaviour.shape), mask)[:, :, None]


def _asked(anchor: Recent, places: Int[Array, " g"], iteration: Array) -> Int[Array, " g"]:
    """The number of the anchor that each group asks; 0 is the behaviour policy."""
    turn = (places + iteration) % GROUPS
    # The fractional parts of multiples of the golden ratio fill [0, 1) evenly.
    point = (turn + (iteration * _GOLDEN) % 1.0) / GROUPS
    share = jnp.cumsum(jnp.asarray(anchor.weights(), jnp.float32))
    found = jnp.searchsorted(share, point, side="right", method="compare_all")
    return jnp.minimum(found, anchor.count - 1)


def _ask(
    policies: Policy,
    numbers: Int[Array, " g"],
    observation: Array,
    behaviour: Float[Array, "g m p"],
) -> Float[Array, "g m p"]:
    def one(given: tuple[Array, Array, Array]) -> Array:
        number, observation, behaviour = given
        return lax.cond(
            number == 0,
            lambda: behaviour,
            lambda: jax.tree.map(lambda x: x[number - 1], policies)(observation),
        )

    return lax.map(one, (numbers, observation, behaviour))
