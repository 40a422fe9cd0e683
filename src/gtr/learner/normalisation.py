"""Running means and variances, updated once a batch."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from gtr.networks.network import Segment


class Moments(eqx.Module):
    """Mean and variance of all rows seen, merged batch by batch (Chan et al. 1979).

    They stand still while a batch is collected and used, so that the policy that acts and the
    policy that is updated are the same function of an observation.
    """

    count: Float[Array, ""]
    mean: Float[Array, "..."]
    variance: Float[Array, "..."]

    def update(self, rows: Float[Array, "n ..."], memory: float | None = None) -> "Moments":
        """The moments with `rows` taken in.

        Args:
            rows: a batch.
            memory: the earlier rows weigh no more than so many batches; as they are where None.
        """
        if memory is not None:
            earlier = jnp.minimum(self.count, (memory - 1) * rows.shape[0])
            return Moments(earlier, self.mean, self.variance).update(rows)
        count = self.count + rows.shape[0]
        mean, variance = rows.mean(0), rows.var(0)
        share = rows.shape[0] / count
        difference = mean - self.mean
        return Moments(
            count,
            self.mean + share * difference,
            (1 - share) * self.variance
            + share * variance
            + share * (1 - share) * difference * difference,
        )

    def normalise(self, x: Array) -> Float[Array, "..."]:
        """Centred, scaled, and cut off at 10 standard deviations."""
        return jnp.clip((x - self.mean) / jnp.sqrt(self.variance + 1e-8), -10.0, 10.0)


def normalised(moments: Moments | None, seen: Any) -> Any:
    """Observations, or a `Segment` of them, as networks see them: as they are without moments.

    Args:
        moments: what to normalise by.
        seen: raw observations.
    """
    if moments is None:
        return seen
    if isinstance(seen, Segment):
        return seen._replace(observation=moments.normalise(seen.observation))
    return moments.normalise(seen)


def no_moments(shape: tuple[int, ...]) -> Moments:
    """Moments before any data: mean 0, variance 1, weight of a thousandth of a row."""
    count: Any = np.float32(1e-3)
    mean: Any = np.zeros(shape, np.float32)
    return Moments(count, mean, mean + 1)
