"""Movement and health of a policy while it trains, on a fixed set of probe states.

The probe states are observations of the first batch of a phase, and movement is counted from the
policy that collected it: a change makes the old states tell little about the new world.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from gtr.learner.anchors import Policy
from gtr.networks.distributions import Distribution
from gtr.objective import directional_efficiency

PROBES = 64
# A unit is dormant below this share of the mean activation (arXiv:2302.12902).
_DORMANT = 0.025
# Singular values cost as much as a gradient step, so health is looked at once in so many.
HEALTH_EVERY = 16


class Track(eqx.Module):
    """Probe states, and the policy's outputs on them at earlier moments."""

    probes: Array
    start: Float[Array, "s p"]
    before: Float[Array, "s p"]
    now: Float[Array, "s p"]
    path: Float[Array, ""]


def no_track(observation: jax.ShapeDtypeStruct, outputs: int) -> Track:
    """A track before the first batch, of host arrays; `begin` makes the real one."""
    blank: Any = np.zeros((PROBES, outputs), np.float32)
    probes: Any = np.zeros((PROBES, *observation.shape), observation.dtype)
    path: Any = np.float32(0)
    return Track(probes, blank, blank, blank, path)


def begin(policy: Policy, observations: Array) -> Track:
    """A track from `policy` on, with probes spread evenly over `observations` (n, ...)."""
    rows = jnp.linspace(0, observations.shape[0] - 1, PROBES).astype(jnp.int32)
    probes = observations[rows]
    outputs = policy(probes)
    return Track(probes, outputs, outputs, outputs, jnp.float32(0))


def move(
    track: Track, policy: Policy, distribution: Distribution
) -> tuple[Track, dict[str, Float[Array, ""]]]:
    """The track after one more step of the policy, and its measures."""
    after = policy(track.probes)
    step = distribution.hellinger(track.now, after)
    net = distribution.hellinger(track.start, after)
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
    return Track(track.probes, track.start, track.now, after, path), measures


def health(track: Track, policy: Policy, iteration: Array) -> dict[str, Float[Array, ""]]:
    """Effective rank exp(H(singular values)) and share of dormant units of the actor's features.

    NaN in the iterations between two looks.
    """

    def look() -> tuple[Array, Array]:
        probes = track.probes
        if policy.moments is not None:
            probes = policy.moments.normalise(probes)
        features = policy.actor.network.features(probes)
        singular = jnp.sqrt(jnp.maximum(jnp.linalg.eigvalsh(features.T @ features), 0.0))
        shares = singular / jnp.maximum(singular.sum(), 1e-12)
        entropy = -jnp.sum(jnp.where(shares > 0, shares * jnp.log(jnp.maximum(shares, 1e-12)), 0.0))
        activity = jnp.abs(features).mean(0)
        dormant = jnp.mean(activity <= _DORMANT * activity.mean())
        return jnp.exp(entropy), dormant

    unseen = (jnp.float32(jnp.nan), jnp.float32(jnp.nan))
    rank, dormant = lax.cond(iteration % HEALTH_EVERY == 0, look, lambda: unseen)
    return {"effective_rank": rank, "dormant_fraction": dormant}
