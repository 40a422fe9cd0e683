"""What the critic says of a batch, asked once."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from gtr.learner.normalisation import normalised
from gtr.learner.rollout import Batch, endings, rows_of, starts_of
from gtr.learner.state import RunState
from gtr.networks.cores import Memory, forget
from gtr.networks.network import Segment


def values_of(
    state: RunState, memory: Memory, batch: Batch, last: Array
) -> tuple[tuple[Array, Array], Memory]:
    """Values of the batch's observations and of their successors, each (t, e).

    A successor's value is the next observation's, but at a truncation the next observation is of
    another episode. Those are rare, so the critic looks at successors only if there are any. One
    with a memory looks with that of the moment.

    Args:
        state: the run's.
        memory: the critic's before the batch, (e, ...); None where it has none.
        batch: what was collected.
        last: the observations after it, (e, ...).

    Returns:
        The values, and the critic's memory after the batch.
    """
    if memory is not None:
        return _read(state, memory, batch, last)

    def value(observation: Array) -> Array:
        return state.trained.critic(normalised(state.moments, observation))

    shape = batch.reward.shape
    values = value(rows_of(batch.observation)).reshape(shape)
    following = jnp.concatenate([values[1:], value(last)[None]])
    at_truncation = lax.cond(
        jnp.any(batch.truncated),
        lambda: value(rows_of(batch.successor)).reshape(shape),
        lambda: jnp.zeros(shape),
    )
    return (values, jnp.where(batch.truncated, at_truncation, following)), None


def _read(
    state: RunState, memory: Memory, batch: Batch, last: Array
) -> tuple[tuple[Array, Array], Memory]:
    critic = state.trained.critic
    segment = normalised(state.moments, Segment(batch.observation, starts_of(batch), memory))
    memory, values = critic.read(segment)
    memory = forget(memory, endings(batch)[-1])
    _, after = critic.step(memory, normalised(state.moments, last))
    at_truncation = lax.cond(
        jnp.any(batch.truncated),
        lambda: critic.aside(segment, normalised(state.moments, batch.successor)),
        lambda: jnp.zeros_like(values),
    )
    following = jnp.concatenate([values[1:], after[None]])
    return (values, jnp.where(batch.truncated, at_truncation, following)), memory
