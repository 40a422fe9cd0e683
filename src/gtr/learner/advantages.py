"""Generalised advantage estimation that tells truncation from termination."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

# Weight of the newest batch in the running scale of advantages is 1 - this.
_SCALE_DECAY = 0.99


def generalised_advantages(
    *,
    rewards: Float[Array, "t e"],
    values: Float[Array, "t e"],
    successor_values: Float[Array, "t e"],
    terminated: Bool[Array, "t e"],
    truncated: Bool[Array, "t e"],
    discount: Float[Array, ""],
    gae_lambda: Float[Array, ""],
) -> Float[Array, "t e"]:
    """Advantages by GAE (arXiv:1506.02438).

    A terminated step is worth its reward alone; a truncated one is bootstrapped from the value of
    the last observation of its own episode, which `successor_values` must hold there, and the sum
    of later errors stops at either.
    """
    live = 1.0 - terminated
    errors = rewards + discount * live * successor_values - values
    carries = discount * gae_lambda * (1.0 - (terminated | truncated))

    def accumulate(later: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        error, carry = step
        advantage = error + carry * later
        return advantage, advantage

    zero = jnp.zeros_like(errors[0])
    return lax.scan(accumulate, zero, (errors, carries), reverse=True)[1]


def update_scale(
    mean_square: Float[Array, ""], advantages: Float[Array, "..."], iteration: Array
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Running mean square of advantages, and the standard deviation to divide by.

    The average is bias-corrected for its start at 0. Where advantages are normalised in each batch
    a batch without signal becomes noise of unit size; by this scale it stays small.
    """
    mean_square = _SCALE_DECAY * mean_square + (1 - _SCALE_DECAY) * jnp.mean(advantages**2)
    corrected = mean_square / (1 - _SCALE_DECAY ** (iteration + 1.0))
    return mean_square, jnp.sqrt(corrected) + 1e-8
