"""Movement and health of a policy while it trains, on a fixed set of probe states.

The probe states are observations of the first batch of a phase, and movement is counted from the
policy that collected it: a change makes the old states tell little about the new world.

A policy with a memory is no function of an observation. Its probes are whole copies of that batch,
which begins with fresh episodes, so each policy can read them from the beginning, and is looked at
in states that are spread over them with the memory that it has there.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from gtr.learner.anchors import Policy
from gtr.networks.distributions import Distribution
from gtr.networks.network import Segment
from gtr.objective import directional_efficiency

PROBES = 64
# Reading takes as many steps as a batch has, however many copies there are.
_COPIES = 4
# A unit is dormant below this share of the mean activation (arXiv:2302.12902).
_DORMANT = 0.025
# Singular values cost as much as a gradient step, so health is looked at once in so many.
HEALTH_EVERY = 16


class Passage(NamedTuple):
    """Copies of a batch from the beginning of their episodes on."""

    observation: Array
    begins: Bool[Array, "t c"]


class Track(eqx.Module):
    """Probe states, and the policy's outputs on them at earlier moments."""

    probes: Array | Passage
    start: Float[Array, "s p"]
    before: Float[Array, "s p"]
    now: Float[Array, "s p"]
    path: Float[Array, ""]


def no_track(
    observation: jax.ShapeDtypeStruct, outputs: int, read: tuple[int, int] | None
) -> Track:
    """A track before the first batch, of host arrays; `begin` makes the real one.

    Args:
        observation: shape and type of one.
        outputs: how many parameters the policy puts out.
        read: steps and copies of a batch, where the policy has a memory.
    """
    blank: Any = np.zeros((PROBES, outputs), np.float32)
    shape = (PROBES,) if read is None else (read[0], min(read[1], _COPIES))
    probes: Any = np.zeros((*shape, *observation.shape), observation.dtype)
    path: Any = np.float32(0)
    return Track(
        probes if read is None else Passage(probes, np.zeros(shape, bool)),  # pyright: ignore
        blank,
        blank,
        blank,
        path,
    )


def begin(policy: Policy, observations: Array) -> Track:
    """A track from `policy` on, with probes spread evenly over `observations` (n, ...)."""
    rows = jnp.linspace(0, observations.shape[0] - 1, PROBES).astype(jnp.int32)
    return _from_here(policy, observations[rows])


def begin_reading(policy: Policy, observations: Array, begins: Bool[Array, "t e"]) -> Track:
    """The same for a policy with a memory, from all of a batch, (t, e, ...)."""
    return _from_here(policy, Passage(observations[:, :_COPIES], begins[:, :_COPIES]))


def _from_here(policy: Policy, probes: Array | Passage) -> Track:
    outputs = policy.actor.of_features(_features(policy, probes))
    return Track(probes, outputs, outputs, outputs, jnp.float32(0))


def _features(policy: Policy, probes: Array | Passage) -> Float[Array, "s f"]:
    """What the head of a policy is given on the probe states."""
    if not isinstance(probes, Passage):
        return policy.features(probes)
    rows = jnp.linspace(0, probes.begins.size - 1, PROBES).astype(jnp.int32)
    return policy.features(Segment(*probes, policy.memory(probes.begins.shape[1])))[rows]


def move(
    track: Track, policy: Policy, distribution: Distribution, iteration: Array
) -> tuple[Track, dict[str, Float[Array, ""]]]:
    """The track after one more step of the policy, and the measures of movement and health."""
    features = _features(policy, track.probes)
    after = policy.actor.of_features(features)
    # One call for both: each of its own is compiled, and started in each iteration.
    distance = jax.vmap(distribution.hellinger, (0, None))
    step, net = distance(jnp.stack([track.now, track.start]), after)
    path = track.path + step
    measures = {
        "step_distance": step,
        "path_length": path,
        "net_displacement": net,
        "directional_efficiency": jnp.asarray(directional_efficiency(net, path)),
        # The first step of a path follows none, but rounding would give it a direction.
        "step_cosine": jnp.where(
            track.path > 0, distribution.step_cosine(track.before, track.now, after), jnp.nan
        ),
    }
    measures |= _health(features, iteration)
    return Track(track.probes, track.start, track.now, after, path), measures


def _health(features: Float[Array, "s f"], iteration: Array) -> dict[str, Float[Array, ""]]:
    """Effective rank exp(H(singular values)) and share of dormant units, of the actor's features.

    NaN in the iterations between two looks.
    """

    def look() -> tuple[Array, Array]:
        singular = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(features.T @ features), 0.0))
        shares = singular / jnp.maximum(singular.sum(), 1e-12)
        entropy = -jnp.sum(jnp.where(shares > 0, shares * jnp.log(jnp.maximum(shares, 1e-12)), 0.0))
        activity = jnp.abs(features).mean(0)
        dormant = jnp.mean(activity <= _DORMANT * activity.mean())
        return jnp.exp(entropy), dormant

    unseen = (jnp.float32(jnp.nan), jnp.float32(jnp.nan))
    rank, dormant = lax.cond(iteration % HEALTH_EVERY == 0, look, lambda: unseen)
    return {"effective_rank": rank, "dormant_fraction": dormant}
