"""What the critic and the anchors say of a batch, each asked once."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from gtr.learner.anchors import consult
from gtr.learner.rollout import Batch, rows_of
from gtr.learner.state import RunState
from gtr.objective import Method


class Judged(NamedTuple):
    """What a batch looks like to the critic and to the anchors.

    Attributes:
        values: of the observations.
        successor_values: of what followed them.
        anchors: parameters of the policy that each sample is compared with; None without anchors.
    """

    values: Float[Array, "t e"]
    successor_values: Float[Array, "t e"]
    anchors: Float[Array, "t e p"] | None


def judge(
    method: Method,
    state: RunState,
    batch: Batch,
    last: Array,
    places: Int[Array, "parts groups"],
    iteration: Array,
) -> Judged:
    """Asks the critic and the anchors about a batch, or a part of its copies; each once.

    A successor's value is the next observation's, but at a truncation the next observation is of
    another episode. Those are rare, so the critic looks at successors only if there are any.

    Args:
        method: whose anchors are asked.
        state: the run's, from before the batch.
        batch: all of it, or a part of the copies.
        last: (e, ...), the observations that follow the batch.
        places: (parts, groups), those of these copies (`anchors.places`).
        iteration: its number.
    """

    def value(observation: Array) -> Array:
        if state.moments is not None:
            observation = state.moments.normalise(observation)
        return state.trained.critic(observation)

    length, copies = shape = batch.reward.shape
    seen = value(jnp.concatenate([rows_of(batch.observation), last])).reshape(length + 1, copies)
    at_truncation = lax.cond(
        jnp.any(batch.truncated),
        lambda: value(rows_of(batch.successor)).reshape(shape),
        lambda: jnp.zeros(shape),
    )
    anchors = consult(
        method.anchor,
        state.trained.kept,
        behaviour=batch.parameters,
        moments=state.moments,
        observation=batch.observation,
        mask=batch.mask,
        iteration=iteration,
        places=places,
    )
    return Judged(seen[:-1], jnp.where(batch.truncated, at_truncation, seen[1:]), anchors)
